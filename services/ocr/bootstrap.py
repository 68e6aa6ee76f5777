"""The composition root."""

from yunku.ocr.v1 import service_pb2_grpc

import catalogue
from kernel.eventlog.rebuild import declared
from kernel.eventlog.runtime import attach
from kernel.jobs import POLL, waking
from kernel.sandbox import Sandbox
from kernel.service import Runtime
from services.ocr import consumers, rpc
from services.ocr.documents import Documents
from services.ocr.objects import Objects
from services.ocr.parsing import OPERATIONS, DocumentParser
from services.ocr.process.pool import RecognitionPool
from services.ocr.recogniser import Recogniser
from services.ocr.settings import Settings
from services.ocr.worker import Worker


async def build(runtime: Runtime[Settings]) -> None:
    """Puts the service on its log, its sandbox, its recognition processes and the object store, and serves it.

    Raises catalogue.CatalogueError for a wrong catalogue."""
    catalogue.load()
    settings = runtime.settings
    log = await attach(runtime, declared("ocr"), consumers.subscriptions)
    objects = Objects(runtime.object_store())
    sandbox = Sandbox(OPERATIONS, concurrency=settings.ocr_sandbox_concurrency, require_all=settings.ocr_sandbox_require_all)
    runtime.on_stop(sandbox.stop)
    # Its imports take a second or two: the service is ready when they are done, but serves the rest before.
    runtime.add_background("sandbox", sandbox.start)
    parser = DocumentParser(sandbox)
    pool = RecognitionPool(
        settings.recognition_engine,
        processes=settings.processes,
        idle_seconds=settings.recognition_idle_seconds,
        job_seconds=settings.recognition_job_seconds,
    )
    runtime.add_background("recognition", pool.run)
    recogniser = Recogniser(log, Documents(objects, parser, settings.render_dpi), pool, settings.recognition_pages)
    worker = Worker(
        log,
        recogniser,
        concurrency=settings.recognition_jobs,
        longest_pause=settings.recognition_retry_seconds,
    )
    log.on_append = waking(log, worker)
    runtime.add_background("jobs", worker.run, max_silence=30 * POLL)

    runtime.add_readiness("sandbox", sandbox.check)
    runtime.rpc.register(service_pb2_grpc.add_OcrServiceServicer_to_server, rpc.OcrService(objects, parser, recogniser))
