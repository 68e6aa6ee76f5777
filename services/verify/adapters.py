"""The recogniser as the ocr service answers it, the persons as the subject service does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from yunku.certificate.v1 import types_pb2
from yunku.ocr.v1 import service_pb2, service_pb2_grpc
from yunku.subject.v1 import service_pb2 as subject_pb2
from yunku.subject.v1 import service_pb2_grpc as subject_grpc

from kernel.rpc.client import Peers
from services.verify.light import Candidate, Evidence, Reading
from services.verify.ports import Recognised, Region


class OcrRecogniser:
    """Asks ocr's RecogniseRegions, within ``timeout`` seconds."""

    def __init__(self, peers: Peers, timeout: float) -> None:
        self._peers = peers
        self._timeout = timeout

    async def read(self, document: types_pb2.Document, regions: Sequence[Region]) -> Recognised:
        stub = self._peers.stub(service_pb2_grpc.OcrServiceStub, "ocr")
        request = service_pb2.RecogniseRegionsRequest(
            document=document,
            regions=[service_pb2.Region(key=one.key, page=one.page, box=one.box, candidates=one.candidates) for one in regions],
        )
        answer = await stub.RecogniseRegions(request, timeout=self._timeout)
        return Recognised(answer.engine, answer.engine_version, {result.key: _evidence(result) for result in answer.results})


class RemotePersons:
    """Asks subject's CheckPerson: what the person's number and name are is not told, only what agrees."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def agreeing(self, person_id: str, subject_id: str, statements: Mapping[str, tuple[str, str]]) -> frozenset[str]:
        stub = self._peers.stub(subject_grpc.SubjectServiceStub, "subject")
        request = subject_pb2.CheckPersonRequest(
            person_id=person_id,
            subject_id=subject_id,
            statements=[
                subject_pb2.PersonStatement(field=field, kind=kind, value=value) for field, (kind, value) in sorted(statements.items())
            ],
        )
        return frozenset((await stub.CheckPerson(request)).agreeing)


def _evidence(result: service_pb2.RegionResult) -> Evidence:
    return Evidence(
        tuple(Reading(one.text, one.confidence, one.log_probability) for one in result.readings),
        tuple(Candidate(one.text, one.log_probability, one.log_ratio, one.lookalike_margin) for one in result.candidates),
        result.text_layer if result.has_text_layer else None,
    )
