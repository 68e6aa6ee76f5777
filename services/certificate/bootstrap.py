"""The composition root."""

from datetime import timedelta

from yunku.certificate.v1 import performance_pb2_grpc, service_pb2_grpc, transfer_pb2_grpc

import catalogue
from kernel.eventlog.rebuild import declared
from kernel.eventlog.runtime import attach
from kernel.eventlog.store import utc_now
from kernel.jobs import POLL, JobWorker, waking
from kernel.service import Runtime
from services.certificate import adapters, consumers, rpc
from services.certificate.handlers import Handlers
from services.certificate.locker import Locker
from services.certificate.national_platform import HttpPlatform
from services.certificate.performances import handlers as performance_handlers
from services.certificate.performances import rpc as performance_rpc
from services.certificate.reminders import Reminder
from services.certificate.settings import Settings
from services.certificate.tables import exports, imports
from services.certificate.takeover_handlers import TakeOvers
from services.certificate.transfers import handlers as transfer_handlers
from services.certificate.transfers import rpc as transfer_rpc
from services.certificate.transfers.archive import Limits
from services.certificate.transfers.exports import Exporter
from services.certificate.transfers.imports import Importer, Remembering
from services.certificate.transfers.sweeper import Sweeper


async def build(runtime: Runtime[Settings]) -> None:
    """Puts the service on its log and serves it. Raises catalogue.CatalogueError for a wrong catalogue."""
    catalogue.load()
    log = await attach(runtime, declared("certificate"), consumers.subscriptions)
    subjects, domains = adapters.RemoteSubjects(runtime.peers), adapters.RemoteDomains(runtime.peers)
    persons = adapters.RemotePersons(runtime.peers)
    handlers = Handlers(
        log,
        subjects,
        persons,
        adapters.RemoteInspector(runtime.peers),
        adapters.RemoteSealer(runtime.peers),
        domains,
    )
    performances = performance_handlers.Handlers(log, subjects, domains)
    settings = runtime.settings
    platform = HttpPlatform(
        settings.national_platform_url,
        seconds=settings.national_platform_seconds,
        attempts=settings.national_platform_attempts,
        answer_bytes=settings.national_platform_answer_bytes,
    )
    runtime.on_stop(platform.close)
    take_overs = TakeOvers(log, subjects, persons, platform)
    locker = Locker(log, adapters.ObjectVault(runtime.object_store()), timedelta(days=runtime.settings.document_retention_days))
    runtime.add_background("locker", locker.run)
    reminder = Reminder(log, settings.expiry_notice_days, settings.expiry_look_seconds, utc_now)
    runtime.add_background("reminder", reminder.run, max_silence=60 + settings.expiry_look_seconds)
    runtime.rpc.register(service_pb2_grpc.add_CertificateServiceServicer_to_server, rpc.CertificateService(log, handlers, take_overs))
    runtime.rpc.register(
        performance_pb2_grpc.add_PerformanceServiceServicer_to_server, performance_rpc.PerformanceService(log, performances, persons)
    )

    transfers = adapters.ObjectTransfers(runtime.object_store())
    limits, kept = Limits(unpacked=settings.import_unpacked_bytes), timedelta(days=settings.transfer_days)
    inspector = Remembering(adapters.RemoteInspector(runtime.peers))
    commands = Handlers(log, subjects, persons, inspector, adapters.RemoteSealer(runtime.peers), domains)
    importer = Importer(log, commands, persons, inspector, transfers, limits)
    importing = JobWorker(log, imports, importer.carry_out, kind="import", passing=(), concurrency=1)
    log.on_append = waking(log, importing)
    exporter = Exporter(log, adapters.RemoteRecords(runtime.peers), transfers)
    exporting = JobWorker(log, exports, exporter.carry_out, kind="export", passing=(), concurrency=2)
    log.on_append = waking(log, exporting)
    runtime.add_background("exports", exporting.run, max_silence=30 * POLL)
    runtime.add_background("imports", importing.run, max_silence=30 * POLL)
    runtime.add_background("sweeper", Sweeper(transfers, kept).run)
    runtime.rpc.register(
        transfer_pb2_grpc.add_TransferServiceServicer_to_server,
        transfer_rpc.TransferService(log, transfer_handlers.Handlers(log, transfers, limits), kept),
    )
