"""The thin edge: gRPC in, errors out. For services only."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from yunku.certificate.v1 import types_pb2
from yunku.ocr.v1 import service_pb2, service_pb2_grpc

from kernel import context
from kernel.errors import YunkuError
from kernel.sandbox import SandboxUnavailable
from services.ocr.handlers import box_of
from services.ocr.objects import ObjectMissing, Objects, StoreUnavailable
from services.ocr.parsing import DocumentParser
from services.ocr.process.pool import EngineFailed, JobRefused
from services.ocr.recogniser import Question, Recogniser, RegionRead

MAX_REGIONS: Final = 200
MAX_CANDIDATES: Final = 64
MAX_CANDIDATE_LENGTH: Final = 2000


class OcrService(service_pb2_grpc.OcrServiceServicer):
    """Answers ``yunku.ocr.v1.OcrService``."""

    def __init__(self, objects: Objects, parser: DocumentParser, recogniser: Recogniser) -> None:
        self._objects = objects
        self._parser = parser
        self._recogniser = recogniser

    async def Inspect(self, request: service_pb2.InspectRequest, _: Any) -> service_pb2.InspectResponse:
        _require_service()
        _require_sha256(request.sha256)
        limit = self._parser.limits.max_bytes
        if request.size > limit:
            raise YunkuError("document_too_large", max=str(limit))
        self._recogniser.warm()
        async with _told():
            data = await self._objects.document(request.sha256, limit)
            found = await self._parser.inspect(data)
        document = types_pb2.Document(
            sha256=request.sha256,
            size=len(data),
            media_type=found.media_type,
            born_digital=found.born_digital,
            pages=[types_pb2.Page(number=p.number, width=p.width, height=p.height) for p in found.pages],
        )
        return service_pb2.InspectResponse(document=document)

    async def RecogniseRegions(self, request: service_pb2.RecogniseRegionsRequest, _: Any) -> service_pb2.RecogniseRegionsResponse:
        _require_service()
        _require_sha256(request.document.sha256)
        questions = [_question(request.document, region) for region in request.regions]
        if len(questions) > MAX_REGIONS or len({region.key for region in request.regions}) != len(questions):
            raise YunkuError("request_malformed")
        async with _told():
            engine, version = await self._recogniser.identity()
            read = await self._recogniser.regions(request.document, questions, urgent=True)
        results = [_result(region.key, one) for region, one in zip(request.regions, read, strict=True)]
        return service_pb2.RecogniseRegionsResponse(results=results, engine=engine, engine_version=version)


def _require_service() -> None:
    if context.current().caller.kind != "service":
        raise YunkuError("role_missing", role="service")


def _require_sha256(text: str) -> None:
    if len(text) != 64 or any(c not in "0123456789abcdef" for c in text):
        raise YunkuError("request_malformed")


def _question(document: types_pb2.Document, region: service_pb2.Region) -> Question:
    if region.page not in {page.number for page in document.pages}:
        raise YunkuError("page_unknown")
    box = box_of(region.box)
    x0, y0, x1, y1 = box
    if not all(math.isfinite(v) for v in box) or not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise YunkuError("box_outside_page")
    candidates = tuple(region.candidates)
    if len(candidates) > MAX_CANDIDATES or any(len(text) > MAX_CANDIDATE_LENGTH for text in candidates):
        raise YunkuError("request_malformed")
    return Question(region.page, box, candidates)


def _result(key: str, one: RegionRead) -> service_pb2.RegionResult:
    return service_pb2.RegionResult(
        key=key,
        readings=[service_pb2.Reading(text=r.text, confidence=r.confidence, log_probability=r.log_probability) for r in one.readings],
        candidates=[
            service_pb2.CandidateScore(
                text=s.text,
                log_probability=s.log_probability,
                log_ratio=s.log_ratio,
                lookalike_margin=s.lookalike_margin,
            )
            for s in one.scores
        ],
        text_layer=one.text_layer or "",
        has_text_layer=one.text_layer is not None,
    )


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """What recognition can't do, in the words of the error codes."""
    try:
        yield
    except EngineFailed as failure:
        code = "deadline_exceeded" if failure.reason == "recognition_timeout" else "service_unavailable"
        raise YunkuError(code) from failure
    except (SandboxUnavailable, StoreUnavailable) as failure:
        raise YunkuError("service_unavailable") from failure
    except ObjectMissing as failure:
        raise YunkuError("not_found") from failure
    except JobRefused as failure:
        raise YunkuError("box_outside_page") from failure
