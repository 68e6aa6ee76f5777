"""The composition root."""

from yunku.subject.v1 import service_pb2_grpc

from kernel.eventlog.rebuild import declared
from kernel.eventlog.runtime import attach
from kernel.eventlog.store import utc_now
from kernel.privacy import Keyring
from kernel.service import Runtime
from services.subject import rpc
from services.subject.adapters import RemoteCertificates
from services.subject.person_handlers import Means
from services.subject.settings import Settings


async def build(runtime: Runtime[Settings]) -> None:
    """Puts the service on its log and serves it."""
    log = await attach(runtime, declared("subject"))
    people = Means(log, Keyring(runtime.pool, runtime.settings.privacy_key), utc_now)
    service = rpc.SubjectService(log, RemoteCertificates(runtime.peers), people)
    # Registering a further company is nothing that the session's own company does.
    runtime.rpc.register(service_pb2_grpc.add_SubjectServiceServicer_to_server, service, open_to_readers=("RegisterSubject",))
