"""The embedded nats-server: operator mode (accounts by JWT), JetStream on disk with a sync after every write."""

import asyncio
import signal
import urllib.error
import urllib.request
from typing import Final

from infra import nats_accounts
from infra.embedded.home import LOOPBACK, Home, venv_binary, write_private

NAME: Final = "nats"
#: JetStream's directory may have been wiped while the server was down.
PROVISION_EACH_START: Final = True
DEATH_SIGNAL: Final = signal.SIGTERM
STOP_SECONDS: Final = 15.0
STOP_SIGNAL: Final = signal.SIGTERM

#: Bound of all JetStream storage; domains' accounts reserve their share of it.
MAX_STORE_BYTES: Final = 200 * 1024**3

_CONFIG: Final = """\
# Written at each start by infra/embedded/nats_server.py.
server_name: yunku
listen: "{host}:{port}"
http: "{host}:{monitor}"
operator: "{operator_jwt}"
resolver: {{ type: full, dir: "{accounts}", allow_delete: false, interval: "2m" }}
jetstream {{ store_dir: "{store}", sync_interval: always, max_memory_store: 16777216, max_file_store: {max_store} }}
max_payload: 1048576
lame_duck_grace_period: "1s"
lame_duck_duration: "30s"
logtime: true
"""


def keyring(home: Home) -> nats_accounts.Keyring:
    """The suite's NATS keys and credentials files."""
    return nats_accounts.Keyring(home.nats_dir / "keys")


def prepare(home: Home) -> None:
    """Write configuration, keys and the resolver directory; JetStream's own directory may be wiped at any time."""
    keys = nats_accounts.ensure_keyring(keyring(home).root)
    for domain in keys.domains():
        nats_accounts.ensure_domain_files(keys, domain)
    accounts = home.nats_dir / "accounts"
    accounts.mkdir(parents=True, exist_ok=True, mode=0o700)
    for public_key, token in keys.account_jwts().items():
        write_private(accounts / f"{public_key}.jwt", token)
    config = _CONFIG.format(
        host=LOOPBACK,
        port=home.ports["nats"],
        monitor=home.ports["nats_monitor"],
        operator_jwt=keys.operator_jwt,
        accounts=accounts,
        store=home.nats_dir,  # the server adds /jetstream
        max_store=MAX_STORE_BYTES,
    )
    write_private(home.nats_dir / "nats.conf", config)


def command(home: Home) -> list[str]:
    return [str(venv_binary("nats-server")), "-c", str(home.nats_dir / "nats.conf")]


def is_ready(home: Home) -> bool:
    """The server's own answer: listening and JetStream recovered."""
    try:
        with urllib.request.urlopen(f"http://{home.host('nats')}:{home.ports['nats_monitor']}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def provision(home: Home) -> None:
    """Streams and consumers of the services and of every domain that has an account."""

    async def run() -> None:
        keys = keyring(home)
        url, replicas = home.nats_url, home.nats_nodes
        await nats_accounts.ensure_service_streams(url, keys, replicas=replicas)
        for domain in keys.domains():
            await nats_accounts.create_domain_account(domain, keyring=keys, url=url, replicas=replicas)

    asyncio.run(run())
