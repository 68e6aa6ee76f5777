"""Reading regions and pages: from the cache, or by the recognition processes. What is asked twice at once is done once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from yunku.certificate.v1 import types_pb2
from yunku.ocr.v1 import events_pb2

import catalogue
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog
from services.ocr.documents import Box, Documents, PagePixels, text_in
from services.ocr.process import record
from services.ocr.process.pool import LATER, SOON, URGENT, RecognitionPool
from services.ocr.tables import readings

T = TypeVar("T")

#: Surroundings of a region that the engine gets to see, in heights of the region.
MARGIN: Final = 0.5


@dataclass(frozen=True, slots=True)
class ScoredText:
    """A candidate spelling with its scores (see ``services.ocr.scoring.Score``)."""

    text: str
    log_probability: float
    log_ratio: float
    lookalike_margin: float


@dataclass(frozen=True, slots=True)
class Read:
    """One way in which a region was read."""

    text: str
    confidence: float
    log_probability: float


@dataclass(frozen=True, slots=True)
class RegionRead:
    """What a region says: its readings (best first, distinct, legible), scores, and the text layer where there is one."""

    readings: tuple[Read, ...]
    scores: tuple[ScoredText, ...]
    text_layer: str | None


@dataclass(frozen=True, slots=True)
class Question:
    """A region to be read; ``number`` is its page, from 1."""

    number: int
    box: Box
    candidates: tuple[str, ...] = ()


class Recogniser:
    """Everything that turns pictures into text. Raises ``EngineFailed``, ``JobRefused`` and what `Documents` raises."""

    def __init__(self, log: EventLog, documents: Documents, pool: RecognitionPool, pages_read: int) -> None:
        self._log = log
        self._documents = documents
        self._pool = pool
        self._pages_read = pages_read
        self._reading: dict[str, asyncio.Task[bytes]] = {}

    async def identity(self) -> tuple[str, str]:
        """The engine's name and version."""
        return await self._pool.identity()

    def warm(self) -> None:
        """A document is being looked at: recognition will soon be wanted, and its processes take a second to start."""
        self._pool.warm()

    # -- regions -------------------------------------------------------------------------------------------------

    async def regions(self, document: types_pb2.Document, questions: Sequence[Question], *, urgent: bool) -> list[RegionRead]:
        """Reads and scores regions of a document, in their order."""
        priority = URGENT if urgent else SOON
        return await _all([self._region(document, one, priority) for one in questions])

    async def _region(self, document: types_pb2.Document, question: Question, priority: int) -> RegionRead:
        _, version = await self._pool.identity()
        key = reading_key(document.sha256, question.number, question.box, version)
        kept = await self._kept(key)
        if kept is None:
            kept = await self._shared(key, document, question, version, priority)
        scores: tuple[ScoredText, ...] = ()
        if question.candidates:
            header = {"operation": "score", "candidates": list(question.candidates)}
            answer, _blobs = await self._pool.ask(header, [kept], priority=priority)
            scores = tuple(ScoredText(t, *s) for t, s in zip(question.candidates, answer["scores"], strict=True))
        seen: dict[str, Read] = {}
        for text, confidence, log_probability in sorted(record.words(kept), key=lambda w: -w[1]):
            if text:
                seen.setdefault(text, Read(text, confidence, log_probability))
        layer = await self._documents.text_layer(document, question.number)
        return RegionRead(tuple(seen.values()), scores, text_in(layer, question.box) if layer else None)

    async def _shared(self, key: str, document: types_pb2.Document, question: Question, version: str, priority: int) -> bytes:
        """Reads a region that nobody reads yet, or waits for who does."""
        task = self._reading.get(key)
        if task is None:
            task = asyncio.create_task(self._read(key, document, question, version, priority))
            self._reading[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    def _forget(self, key: str, task: asyncio.Task[bytes]) -> None:
        del self._reading[key]
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody waiting is no defect

    async def _read(self, key: str, document: types_pb2.Document, question: Question, version: str, priority: int) -> bytes:
        page = await self._documents.page(document, question.number)
        crop, place = page.crop(question.box, MARGIN)
        header = {**_size(crop), "operation": "region", "box": place, "candidates": []}
        _, (reading,) = await self._pool.ask(header, [crop.pixels], priority=priority)
        await self._keep(key, document.sha256, version, reading)
        return reading

    async def _kept(self, key: str) -> bytes | None:
        query = select(readings.c.reading).where(readings.c.key == key)
        async with self._log.pool.connection() as connection:
            row = await (await connection.execute(*render(query))).fetchone()
        return bytes(row[0]) if row else None

    async def _keep(self, key: str, sha256: str, version: str, reading: bytes) -> None:
        row = {"key": key, "document_sha256": sha256, "engine_version": version, "reading": reading}
        async with self._log.pool.connection() as connection:
            await connection.execute(*render(insert(readings).values(row).on_conflict_do_nothing()))

    # -- documents -----------------------------------------------------------------------------------------------

    async def extract(self, type_code: str, document: types_pb2.Document) -> list[types_pb2.RecognisedField]:
        """Makes the pictures of all pages, and reads the fields of a certificate from the first ones."""
        try:
            async with self._documents.rendered(document):
                return await self.fields(type_code, document)
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def fields(self, type_code: str, document: types_pb2.Document) -> list[types_pb2.RecognisedField]:
        """SMART mode: the fields of a certificate that its first pages show."""
        if not catalogue.load().has_type(type_code):
            return []
        kind = catalogue.load().type(type_code)
        if "SMART" not in kind.modes or not any(field.takes_mark for field in kind.fields):
            return []
        numbers = [page.number for page in document.pages][: self._pages_read]
        pages = await _all([self._page(document, number) for number in numbers])
        header = {"operation": "extract", "type": type_code, "pages": pages}
        answer, _ = await self._pool.ask(header, priority=LATER)
        digital = {page["number"] for page in pages if page["characters"]}
        again = [self._again(type_code, document, one, answer["sure"], digital) for one in answer["fields"]]
        return [_recognised(one) for one in await _all(again)]

    async def _page(self, document: types_pb2.Document, number: int) -> dict[str, Any]:
        """What stands on a page: the characters of its text layer if it has one, else its lines as read."""
        layer = await self._documents.text_layer(document, number)
        page = await self._documents.page(document, number)
        aspect = page.width / page.height
        if layer:
            characters = [[c.text, *c.box] for c in layer]
            return {"number": number, "aspect": aspect, "characters": characters, "lines": [], "turns": 0}
        answer, _ = await self._pool.ask({**_size(page), "operation": "page"}, [page.pixels], priority=LATER)
        return {
            "number": number,
            "aspect": aspect,
            "characters": [],
            "lines": answer["lines"],
            "turns": answer["turns"],
        }

    async def _again(
        self, type_code: str, document: types_pb2.Document, one: dict[str, Any], sure: float, digital: set[int]
    ) -> dict[str, Any]:
        """A doubtful value, read again alone."""
        if one["confidence"] >= sure or one["page"] in digital:
            return one
        page = await self._documents.page(document, one["page"])
        crop, place = page.crop(tuple(one["box"]), MARGIN)
        header = {**_size(crop), "operation": "reread", "type": type_code, "field": one, "box": place}
        answer, _ = await self._pool.ask(header, [crop.pixels], priority=LATER)
        field: dict[str, Any] = answer["field"]
        return field


def reading_key(sha256: str, page: int, box: Box, engine_version: str) -> str:
    """The name of a reading in the cache: the same picture, place and engine give the same reading."""
    place = ",".join(f"{v:.5f}" for v in box)
    return hashlib.sha256(f"{sha256}|{page}|{place}|{engine_version}".encode()).hexdigest()


def region_readings(marks: Sequence[types_pb2.Mark], regions: Sequence[RegionRead]) -> list[events_pb2.RegionReading]:
    """The best reading of each mark, as the event records it."""
    answers = []
    for mark, region in zip(marks, regions, strict=True):
        best = region.readings[0] if region.readings else Read("", 0.0, 0.0)
        answers.append(events_pb2.RegionReading(field=mark.field, page=mark.page, box=mark.box, text=best.text, confidence=best.confidence))
    return answers


async def _all(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All results, in order; the first failure ends the rest and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def _size(page: PagePixels) -> dict[str, Any]:
    return {"width": page.width, "height": page.height}


def _recognised(one: dict[str, Any]) -> types_pb2.RecognisedField:
    x0, y0, x1, y1 = one["box"]
    return types_pb2.RecognisedField(
        field=one["field"],
        value=one["value"],
        confidence=min(max(one["confidence"], 0.0), 1.0),
        page=one["page"],
        box=types_pb2.Box(x0=x0, y0=y0, x1=x1, y1=y1),
    )
