"""What the certificate service needs of others, as it needs it."""

from datetime import datetime
from typing import Protocol

from yunku.certificate.v1 import service_pb2, types_pb2


class Subjects(Protocol):
    """Knows who a subject is now."""

    async def holder(self, subject_id: str) -> types_pb2.Holder:
        """Present and former names and USCC; ``not_found`` for an unknown one."""


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
