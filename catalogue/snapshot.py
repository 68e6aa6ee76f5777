"""The rules of one certificate type as text, so that a verdict can carry the rules by which it was reached."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from catalogue.model import AtMost, CertificateType, DocumentSpec, Field, Owner, PrintedBy, Role, Rule, Severity


def dump(rules: CertificateType) -> str:
    """One canonical JSON text for one set of rules."""
    return json.dumps(dataclasses.asdict(rules), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def restore(text: str) -> CertificateType:
    """The rules that ``dump`` wrote; what later versions added has its default. Raises ValueError or TypeError for other texts."""
    document: dict[str, Any] = json.loads(text)
    return CertificateType(
        **{
            **_tuples(document),
            "owner": Owner(document["owner"]),
            "fields": tuple(_field(one) for one in document["fields"]),
            "plausibility": tuple(_rule(one) for one in document["plausibility"]),
            "at_most": AtMost(**document["at_most"]) if document.get("at_most") else None,
            "documents": tuple(DocumentSpec(**_tuples(one)) for one in document["documents"]),
        }
    )


def _field(document: dict[str, Any]) -> Field:
    choices = {value: tuple(aliases) for value, aliases in document["choices"].items()}
    enums = {"role": Role(document["role"]), "printed_by": PrintedBy(document["printed_by"])}
    return Field(**{**_tuples(document), **enums, "choices": choices})


def _rule(document: dict[str, Any]) -> Rule:
    allowed = {pattern: tuple(values) for pattern, values in document.get("allowed", {}).items()}
    return Rule(**{**_tuples(document), "severity": Severity(document["severity"]), "allowed": allowed})


def _tuples(document: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists where the dataclasses have tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in document.items()}
