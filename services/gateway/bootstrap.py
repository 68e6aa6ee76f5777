"""The composition root."""

from kernel.service import OpsServer, Runtime
from services.gateway.app import create
from services.gateway.edge import Edge
from services.gateway.limits import PerAddress
from services.gateway.live import Live
from services.gateway.means import Means
from services.gateway.objects import Objects
from services.gateway.peers import NEEDED, services, serving
from services.gateway.protocol import protocol
from services.gateway.settings import Settings


async def build(runtime: Runtime[Settings]) -> None:
    """Puts the gateway together and opens its port."""
    settings = runtime.settings
    settings.uploads.mkdir(parents=True, exist_ok=True, mode=0o700)
    live = Live(settings.streams_at_once, settings.streams_per_session)
    await live.start(runtime.nats)
    means = Means(
        settings=settings,
        services=services(runtime.peers),
        objects=Objects(runtime.object_store()),
        live=live,
        limits=PerAddress(settings.logins_per_minute),
        readiness=runtime.readiness,
    )
    for name in NEEDED:
        runtime.add_readiness(name, serving(runtime.peers, name))
    server = OpsServer(
        Edge(create(means), settings),
        settings.bind_host,
        settings.http_port,
        http=protocol(settings.header_seconds),
        ws="none",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=max(1, int(settings.shutdown_grace_seconds)),
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        backlog=1024,
    )
    await server.start()
    # Streams end first, so that the server needn't wait for them.
    runtime.on_stop(server.stop)
    runtime.on_stop(live.stop)
