"""What verification needs from outside: somebody who reads marked regions, and somebody who knows the persons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from yunku.certificate.v1 import types_pb2

from services.verify.light import Evidence


@dataclass(frozen=True, slots=True)
class Region:
    """A marked rectangle to be read, and the spellings to be scored against what is seen there."""

    key: str
    page: int
    box: types_pb2.Box
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recognised:
    """What was seen, by the regions' keys, and by which engine."""

    engine: str
    engine_version: str
    evidence: Mapping[str, Evidence]


class Recogniser(Protocol):
    """Reads regions of a document. The same document, box and engine version give the same answer again."""

    async def read(self, document: types_pb2.Document, regions: Sequence[Region]) -> Recognised:
        """Every region's evidence. Raises YunkuError (service_unavailable, deadline_exceeded, …) where it can't be had now."""


class Persons(Protocol):
    """Knows the persons whom subjects employ."""

    async def agreeing(self, person_id: str, subject_id: str, statements: Mapping[str, tuple[str, str]]) -> frozenset[str]:
        """The statements (of ``light.person_statements``) that are the person's. Raises YunkuError where it can't be had now."""
