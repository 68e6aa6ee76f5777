"""The composition root."""

from yunku.verify.v1 import service_pb2_grpc

import catalogue
from kernel.eventlog.rebuild import declared
from kernel.eventlog.runtime import attach
from kernel.jobs import POLL, waking
from kernel.service import Runtime
from services.verify import consumers, rpc
from services.verify.adapters import OcrRecogniser, RemotePersons
from services.verify.settings import Settings
from services.verify.worker import Worker


async def build(runtime: Runtime[Settings]) -> None:
    """Puts the service on its log, starts its worker and serves it. Raises catalogue.CatalogueError for a wrong catalogue."""
    catalogue.load()
    settings = runtime.settings
    log = await attach(runtime, declared("verify"), consumers.subscriptions)
    recogniser = OcrRecogniser(runtime.peers, settings.recognition_timeout_seconds)
    worker = Worker(
        log, recogniser, RemotePersons(runtime.peers), concurrency=settings.verify_concurrency, longest_pause=settings.verify_retry_seconds
    )
    log.on_append = waking(log, worker)
    runtime.add_background("verifications", worker.run, max_silence=30 * POLL)
    runtime.rpc.register(service_pb2_grpc.add_VerifyServiceServicer_to_server, rpc.VerifyService(log))
