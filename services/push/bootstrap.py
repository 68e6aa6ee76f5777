"""The composition root."""

from yunku.push.v1 import service_pb2_grpc

import catalogue
from kernel.eventlog.rebuild import declared
from kernel.eventlog.runtime import attach
from kernel.nats_accounts import Keyring
from kernel.service import Runtime
from services.push import consumers, rpc
from services.push.link import Link
from services.push.settings import Settings
from services.push.worker import POLL, Worker, waking


async def build(runtime: Runtime[Settings]) -> None:
    """Puts the service on its log, links it to the domains and serves it. Raises catalogue.CatalogueError for a wrong catalogue."""
    catalogue.load()
    settings = runtime.settings
    keyring = Keyring(settings.nats_keys)
    log = await attach(runtime, declared("push"), consumers.subscriptions)

    def make_link(domain_id: str) -> Link:
        return Link(
            log,
            domain_id,
            url=settings.nats_url,
            keyring=keyring,
            replicas=settings.nats_replicas,
            look=settings.domain_look_seconds,
            longest_pause=settings.domain_retry_seconds,
        )

    worker = Worker(log, make_link)
    log.on_append = waking(log, worker)
    runtime.add_background("domains", worker.run, max_silence=30 * POLL)
    runtime.rpc.register(service_pb2_grpc.add_PushServiceServicer_to_server, rpc.PushService(log, keyring, worker))
