"""The real ones: other services over gRPC, and the object store."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from io import BytesIO
from typing import Any, BinaryIO, Final
from uuid import UUID

from minio import Minio
from minio.commonconfig import COMPLIANCE
from minio.error import S3Error
from minio.retention import Retention
from yunku.certificate.v1 import service_pb2, types_pb2
from yunku.kernel.v1 import kernel_pb2, kernel_pb2_grpc
from yunku.ocr.v1 import service_pb2 as ocr_pb2
from yunku.ocr.v1 import service_pb2_grpc as ocr_grpc
from yunku.push.v1 import service_pb2 as push_pb2
from yunku.push.v1 import service_pb2_grpc as push_grpc
from yunku.signing.v1 import service_pb2 as signing_pb2
from yunku.signing.v1 import service_pb2_grpc as signing_grpc
from yunku.subject.v1 import persons_pb2
from yunku.subject.v1 import service_pb2 as subject_pb2
from yunku.subject.v1 import service_pb2_grpc as subject_grpc

from kernel.errors import YunkuError
from kernel.rpc.client import Peers
from kernel.service import DOCUMENTS_BUCKET

#: Inspection has its own wall limit in the sandbox, sealing parses and validates a whole document. Seconds.
_INSPECT = 30
_SEAL = 40


class RemoteSubjects:
    """The subject service."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def holder(self, subject_id: str) -> types_pb2.Holder:
        stub = self._peers.stub(subject_grpc.SubjectServiceStub, "subject")
        subject = (await stub.GetSubject(subject_pb2.GetSubjectRequest(subject_id=subject_id))).subject
        return types_pb2.Holder(subject_id=subject.id, uscc=subject.uscc, name=subject.name, former_names=subject.former_names)


class RemotePersons:
    """The subject service, which knows the persons too."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def bound(self, person_id: str, subject_id: str) -> bool:
        stub = self._peers.stub(subject_grpc.SubjectServiceStub, "subject")
        answer = await stub.CheckPerson(subject_pb2.CheckPersonRequest(person_id=person_id, subject_id=subject_id))
        return bool(answer.bound)

    async def agreeing(self, person_id: str, subject_id: str, names: Sequence[str]) -> set[str]:
        stub = self._peers.stub(subject_grpc.SubjectServiceStub, "subject")
        statements = [subject_pb2.PersonStatement(field=name, kind="person_name", value=name) for name in names]
        answer = await stub.CheckPerson(subject_pb2.CheckPersonRequest(person_id=person_id, subject_id=subject_id, statements=statements))
        return set(answer.agreeing) if answer.bound else set()

    async def named(self, subject_id: str, name: str) -> dict[str, bool]:
        stub = self._peers.stub(subject_grpc.SubjectServiceStub, "subject")
        answer = await stub.FindPersons(subject_pb2.FindPersonsRequest(subject_id=subject_id, name=name))
        return {one.person_id: one.bound for one in answer.persons}

    async def numbered(self, subject_id: str, number: str) -> list[str]:
        stub = self._peers.stub(subject_grpc.SubjectServiceStub, "subject")
        answer = await stub.FindPersons(subject_pb2.FindPersonsRequest(subject_id=subject_id, number=number))
        return [one.person_id for one in answer.persons if one.bound]

    async def identity(self, person_id: str) -> tuple[str, str]:
        stub = self._peers.stub(subject_grpc.SubjectServiceStub, "subject")
        try:
            person = (await stub.GetPerson(subject_pb2.GetPersonRequest(person_id=person_id))).person
        except YunkuError as refused:
            if refused.code == "not_found":
                raise YunkuError("person_unknown", field="/person_id") from None
            raise
        # Of whom it employs no more, a company is told masked numbers: nothing to ask the platform with.
        if person.state != "bound":
            raise YunkuError("person_unknown", field="/person_id")
        return person.name, person.number


class RemoteInspector:
    """The ocr service's sandbox."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def inspect(self, sha256: str, size: int) -> types_pb2.Document:
        stub = self._peers.stub(ocr_grpc.OcrServiceStub, "ocr")
        answer = await stub.Inspect(ocr_pb2.InspectRequest(sha256=sha256, size=size), timeout=_INSPECT)
        return answer.document


class RemoteSealer:
    """The signing service."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    def _stub(self) -> Any:
        return self._peers.stub(signing_grpc.SigningServiceStub, "signing")

    async def prepare(
        self, view: service_pb2.Certificate, statement: bytes, request: service_pb2.PrepareSealRequest
    ) -> service_pb2.PrepareSealResponse:
        answer = await self._stub().Prepare(
            signing_pb2.PrepareRequest(
                certificate_id=view.id,
                version=view.version,
                holder=view.holder,
                document=view.document,
                statement=statement,
                certificate_pem=request.certificate_pem,
                seal_page=request.seal_page,
                seal_box=request.seal_box if request.HasField("seal_box") else None,
            ),
            timeout=_SEAL,
        )
        return service_pb2.PrepareSealResponse(
            preparation_id=answer.preparation_id,
            to_sign=answer.to_sign,
            digest_algorithm=answer.digest_algorithm,
            expires_at=answer.expires_at,
        )

    async def complete(self, certificate_id: str, preparation_id: str, signature: bytes) -> types_pb2.Seal:
        answer = await self._stub().Complete(
            signing_pb2.CompleteRequest(preparation_id=preparation_id, signature=signature, certificate_id=certificate_id),
            timeout=_SEAL,
        )
        seal: types_pb2.Seal = answer.seal
        return seal


class RemoteDomains:
    """The push service."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def require(self, domain_id: str) -> None:
        stub = self._peers.stub(push_grpc.PushServiceStub, "push")
        try:
            answer = await stub.GetDomain(push_pb2.GetDomainRequest(domain_id=domain_id))
        except YunkuError as refused:
            if refused.code in ("not_found", "domain_unknown"):
                raise YunkuError("domain_unknown", field="/domain") from None
            raise
        if answer.domain.closed:
            raise YunkuError("domain_closed", field="/domain")


class ObjectVault:
    """S3 object lock."""

    def __init__(self, store: Minio) -> None:
        self._store = store

    async def lock(self, sha256: str, retain_until: datetime) -> None:
        await asyncio.to_thread(self._store.set_object_retention, DOCUMENTS_BUCKET, sha256, Retention(COMPLIANCE, retain_until))


TRANSFERS: Final = "transfers"
_PIECE: Final = 256 * 1024
#: Persons on a page: the most that the subject service gives.
_PERSONS: Final = 200
_MISSING: Final = frozenset({"NoSuchKey", "NoSuchObject"})


class ObjectTransfers:
    """Archives and objects in the object store, whose blocking calls run on threads."""

    def __init__(self, store: Minio) -> None:
        self._store = store

    async def fetch_import(self, subject_id: str, sha256: str, file: BinaryIO) -> None:
        digest = hashlib.sha256()
        try:
            async for piece in self.pieces(TRANSFERS, f"imports/{subject_id}/{sha256}"):
                digest.update(piece)
                file.write(piece)
        except YunkuError as refused:
            if refused.code == "not_found":
                raise YunkuError("archive_gone") from None
            raise
        if digest.hexdigest() != sha256:
            raise YunkuError("archive_gone")

    async def put_document(self, sha256: str, data: bytes, media_type: str) -> None:
        await asyncio.to_thread(self._put_document, sha256, data, media_type)

    def _put_document(self, sha256: str, data: bytes, media_type: str) -> None:
        try:
            if self._store.stat_object(DOCUMENTS_BUCKET, sha256).size == len(data):
                return
        except S3Error as error:
            if error.code not in _MISSING:
                raise
        self._store.put_object(DOCUMENTS_BUCKET, sha256, BytesIO(data), len(data), media_type)

    async def pieces(self, bucket: str, key: str) -> AsyncIterator[bytes]:
        try:
            source = await asyncio.to_thread(self._store.get_object, bucket, key)
        except S3Error as error:
            if error.code in _MISSING:
                raise YunkuError("not_found") from None
            raise
        try:
            while piece := await asyncio.to_thread(source.read, _PIECE):
                yield piece
        finally:
            source.close()
            source.release_conn()

    async def put_export(self, export_id: str, sha256: str, file: BinaryIO, size: int) -> None:
        file.seek(0)
        key = f"exports/{export_id}/{sha256}"
        await asyncio.to_thread(self._store.put_object, TRANSFERS, key, file, size, "application/zip")

    async def drop_older(self, moment: datetime) -> int:
        return await asyncio.to_thread(self._drop_older, moment)

    def _drop_older(self, moment: datetime) -> int:
        dropped = 0
        for found in self._store.list_objects(TRANSFERS, recursive=True):
            if found.last_modified is not None and found.last_modified < moment and found.object_name:
                self._store.remove_object(TRANSFERS, found.object_name)
                dropped += 1
        return dropped


class RemoteRecords:
    """The other services and their logs."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    def _subjects(self) -> Any:
        return self._peers.stub(subject_grpc.SubjectServiceStub, "subject")

    async def subject(self, subject_id: str) -> subject_pb2.Subject:
        shown: subject_pb2.Subject = (await self._subjects().GetSubject(subject_pb2.GetSubjectRequest(subject_id=subject_id))).subject
        return shown

    async def profile_versions(self, subject_id: str) -> list[subject_pb2.ProfileVersion]:
        answer = await self._subjects().ListProfileVersions(subject_pb2.ListProfileVersionsRequest(subject_id=subject_id))
        return list(answer.items)

    async def person_ids(self) -> list[str]:
        found: list[str] = []
        cursor = ""
        while True:
            page = await self._subjects().ListPersons(subject_pb2.ListPersonsRequest(limit=_PERSONS, cursor=cursor))
            found.extend(one.id for one in page.items)
            cursor = page.next_cursor
            if not cursor:
                return found

    async def person(self, person_id: str) -> tuple[persons_pb2.Person, list[subject_pb2.PersonHistoryItem]]:
        shown = (await self._subjects().GetPerson(subject_pb2.GetPersonRequest(person_id=person_id))).person
        told = await self._subjects().GetPersonHistory(subject_pb2.GetPersonHistoryRequest(person_id=person_id))
        return shown, list(told.items)

    async def stream(self, service: str, stream_id: UUID) -> list[kernel_pb2.EventRecord]:
        stub = self._peers.stub(kernel_pb2_grpc.EventLogServiceStub, service)
        records: list[kernel_pb2.EventRecord] = []
        while True:
            asked = kernel_pb2.ReadStreamRequest(stream_id=str(stream_id), from_version=len(records) + 1)
            answer = await stub.ReadStream(asked)
            if not answer.events:
                return records
            records.extend(answer.events)

    async def head(self, service: str) -> tuple[int, bytes]:
        stub = self._peers.stub(kernel_pb2_grpc.EventLogServiceStub, service)
        last = (await stub.ReadLog(kernel_pb2.ReadLogRequest(from_position=1, limit=1))).last_position
        if not last:
            return 0, b""
        (event,) = (await stub.ReadLog(kernel_pb2.ReadLogRequest(from_position=last, limit=1))).events
        return last, event.log_hash
