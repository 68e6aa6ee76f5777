"""The catalogue of certificate types as data: one YAML file a module, validated on load.

``load()`` gives the whole; a further type or field is a change of the files alone. docs: catalogue/README.md.
"""

from __future__ import annotations

from catalogue.loading import CatalogueError, load, load_from
from catalogue.model import (
    AtMost,
    Catalogue,
    CertificateType,
    ChangeItem,
    DocumentSpec,
    Field,
    Module,
    Owner,
    PerformanceCategory,
    Performances,
    PrintedBy,
    Role,
    Rule,
    Severity,
)

__all__ = [
    "AtMost",
    "Catalogue",
    "CatalogueError",
    "CertificateType",
    "ChangeItem",
    "DocumentSpec",
    "Field",
    "Module",
    "Owner",
    "PerformanceCategory",
    "Performances",
    "PrintedBy",
    "Role",
    "Rule",
    "Severity",
    "load",
    "load_from",
]
