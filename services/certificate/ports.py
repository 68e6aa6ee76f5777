"""What the certificate service needs of others, as it needs it."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import BinaryIO, Protocol
from uuid import UUID

from yunku.certificate.v1 import service_pb2, types_pb2
from yunku.kernel.v1 import kernel_pb2
from yunku.subject.v1 import persons_pb2
from yunku.subject.v1 import service_pb2 as subject_pb2

from services.certificate.takeover import Answer


class Subjects(Protocol):
    """Knows who a subject is now."""

    async def holder(self, subject_id: str) -> types_pb2.Holder:
        """Present and former names and USCC; ``not_found`` for an unknown one."""


class Persons(Protocol):
    """Knows whom a subject employs."""

    async def bound(self, person_id: str, subject_id: str) -> bool:
        """Whether the subject employs the person now."""

    async def agreeing(self, person_id: str, subject_id: str, names: Sequence[str]) -> set[str]:
        """Those of ``names`` that are the person's, as far as the subject employs the person now."""

    async def named(self, subject_id: str, name: str) -> dict[str, bool]:
        """The subject's persons of exactly this name, by id: whether it employs them now."""

    async def numbered(self, subject_id: str, number: str) -> list[str]:
        """The ids of the persons whom the subject employs now and whose ID document has this number, as somebody typed it."""

    async def identity(self, person_id: str) -> tuple[str, str]:
        """Name and ID number of a person whom the caller's subject employs now; ``person_unknown`` of anybody else."""


class Inspector(Protocol):
    """Looks into uploaded objects without trusting them."""

    async def inspect(self, sha256: str, size: int) -> types_pb2.Document:
        """What the object is; refuses with ``document_*``."""


class Sealer(Protocol):
    """Prepares and completes seals."""

    async def prepare(
        self, view: service_pb2.Certificate, statement: bytes, request: service_pb2.PrepareSealRequest
    ) -> service_pb2.PrepareSealResponse: ...

    async def complete(self, certificate_id: str, preparation_id: str, signature: bytes) -> types_pb2.Seal: ...


class Domains(Protocol):
    """Knows the domains that use the register."""

    async def require(self, domain_id: str) -> None:
        """Returns where the domain exists; ``domain_unknown`` otherwise."""


class Vault(Protocol):
    """Puts stored documents under retention."""

    async def lock(self, sha256: str, retain_until: datetime) -> None:
        """Locks the object against deletion; repeating it does no harm."""


class Platform(Protocol):
    """The national platform 全国建筑市场监管公共服务平台.

    Raises ``national_platform_unavailable`` when it can't be reached in time, ``national_platform_unusable`` when what it answers is no
    answer, ``national_platform_not_set`` where the register isn't connected to one.
    """

    async def qualifications(self, uscc: str, name: str) -> Answer:
        """A company's qualifications, by its USCC; the name is sent for the platform to check."""

    async def registrations(self, name: str, id_no: str, employer: str) -> Answer:
        """A person's registrations, by name and ID number; the employer is sent for the platform to check."""


class Transfers(Protocol):
    """Archives on their way in and out, and the objects that they take along."""

    async def fetch_import(self, subject_id: str, sha256: str, file: BinaryIO) -> None:
        """Writes an uploaded archive into ``file``; ``archive_gone`` where it isn't there, or has other bytes than its name says."""

    async def put_document(self, sha256: str, data: bytes, media_type: str) -> None:
        """Stores a document under its hash, unless it is there."""

    def pieces(self, bucket: str, key: str) -> AsyncIterator[bytes]:
        """An object's bytes, piece by piece; ``not_found`` where it isn't there."""

    async def put_export(self, export_id: str, sha256: str, file: BinaryIO, size: int) -> None:
        """Stores an export's archive."""

    async def drop_older(self, moment: datetime) -> int:
        """Drops the archives that came before ``moment``; how many."""


class Records(Protocol):
    """What other services hold of a company."""

    async def subject(self, subject_id: str) -> subject_pb2.Subject:
        """The company as its service shows it."""

    async def profile_versions(self, subject_id: str) -> list[subject_pb2.ProfileVersion]:
        """Every submission of its basic information, newest first."""

    async def person_ids(self) -> list[str]:
        """The persons whom the caller's subject employs or employed."""

    async def person(self, person_id: str) -> tuple[persons_pb2.Person, list[subject_pb2.PersonHistoryItem]]:
        """A person as the caller's subject sees them, and what happened between the two; ``not_found`` of anybody else."""

    async def stream(self, service: str, stream_id: UUID) -> list[kernel_pb2.EventRecord]:
        """A stream as it is stored, from its beginning; empty where there is none."""

    async def head(self, service: str) -> tuple[int, bytes]:
        """Where a service's log stands: its highest position and the rolling hash there."""
