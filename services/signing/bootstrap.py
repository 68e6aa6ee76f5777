"""The composition root."""

import asyncio

from yunku.signing.v1 import service_pb2_grpc

from kernel import pki
from kernel.eventlog.rebuild import declared
from kernel.eventlog.runtime import attach
from kernel.observability.logging import get_logger
from kernel.sandbox import Sandbox
from kernel.service import Runtime
from services.signing import adapters, consumers, rpc
from services.signing.attestation import Attestor
from services.signing.handlers import Desk
from services.signing.locker import SealLocker
from services.signing.objects import Objects
from services.signing.ports import Timestamper
from services.signing.settings import Settings

_log = get_logger(__name__)


async def build(runtime: Runtime[Settings]) -> None:
    """Puts the service on its log, its sandbox and the object store, and serves it."""
    settings = runtime.settings
    attestor = Attestor(settings.attestation_key, settings.attestation_issuer)
    log = await attach(runtime, declared("signing"), lambda log_: consumers.subscriptions(log_, attestor))
    objects = Objects(runtime.object_store())
    sandbox = Sandbox(
        adapters.OPERATIONS,
        concurrency=settings.signing_sandbox_concurrency,
        require_all=settings.signing_sandbox_require_all,
    )
    runtime.on_stop(sandbox.stop)
    # Its imports take a second or two: the service is ready when they are done, but serves the rest before.
    runtime.add_background("sandbox", sandbox.start)
    locker = SealLocker(log, objects, settings.seal_retention_days)
    runtime.add_background("locker", locker.run, max_silence=120)

    async def trust() -> None:
        await asyncio.to_thread(pki.load_trust, settings.pki)

    runtime.add_readiness("sandbox", sandbox.check)
    runtime.add_readiness("trust", trust)

    async def attestation_key() -> None:
        await asyncio.to_thread(attestor.key)

    runtime.add_readiness("attestation_key", attestation_key)
    desk = Desk(
        log=log,
        objects=objects,
        pdf=adapters.SandboxedPdf(sandbox),
        trust=lambda: pki.load_trust(settings.pki),
        timestamper=timestamps(runtime),
        preparation_seconds=settings.seal_preparation_seconds,
        wake_locker=locker.wake,
    )
    runtime.rpc.register(service_pb2_grpc.add_SigningServiceServicer_to_server, rpc.SigningService(desk))
    runtime.rpc.register(
        service_pb2_grpc.add_DigitalCertificateServiceServicer_to_server, rpc.DigitalCertificateService(log, attestor)
    )


def timestamps(runtime: Runtime[Settings]) -> adapters.TimestamperSource:
    """Where seals get their timestamp: the authority of the settings; in the development profile one inside the
    process, if its key is there; else none."""
    settings = runtime.settings
    if settings.tsa_url:
        authority = adapters.HttpTimestamper(settings.tsa_url)
        runtime.on_stop(authority.close)
        return lambda: authority
    if settings.profile == "development":
        key, password = settings.pki / "tsa.p12", settings.pki / "tsa.password"

        def of_development() -> Timestamper | None:
            if not key.exists():
                return None
            return adapters.DevelopmentTimestamper(key.read_bytes(), password.read_text().strip())

        return of_development
    _log.warning("seals_without_timestamp", hint="set YUNKU_TSA_URL")
    return lambda: None
