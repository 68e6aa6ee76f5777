"""Keys, configurations and provisioning of a containerised suite (compose.yaml).

    python -m infra.containers.state init         before anything starts: secrets, keys, server configurations
    python -m infra.containers.state provision    once the servers run: databases, streams, accounts, buckets

`init` writes below YUNKU_STATE what each container mounts, and nothing else: a service sees its own password, NATS
credentials and RPC key, not those of others. Both commands are idempotent; they run at each `compose up`.

    services/<name>/   environment, nats.creds, rpc.pem (push also: nats-keys/, with which it makes domains' accounts)
    public-keys/       every service's public RPC key
    pki/               trusted CAs and their revocation lists: the operator's to fill, the development CA's otherwise
    nats/              nats-<n>.conf for each node
    s3/  postgres/     s3.json, password
    suite/             everything together; only init and provision mount it
"""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import nats.errors

from infra import devca, nats_accounts
from infra.embedded import s3_server
from infra.embedded.home import (
    LOOPBACK,
    PORT_OFFSETS,
    Home,
    StartError,
    ensure_keys,
    ensure_secrets,
    write_private,
)
from infra.supervisor import SERVERS, service_environment
from kernel import topology

#: The user that services run as in the image, and who may read their files.
SERVICE_USER: Final = 10001

#: Who judges company certificates, and mounts the trusted CAs.
TRUSTING: Final = ("identity", "signing")

_SERVER_PORTS: Final = {
    "http": 8080,
    "postgres": 5432,
    "nats": 4222,
    "nats_monitor": 8222,
    "s3": 8333,
    "weed_master": 9333,
    "weed_volume": 9340,
    "weed_filer": 8888,
    "weed_admin": 23646,
    "national_platform": 7155,
}
#: How long provisioning waits for a server.
PATIENCE_SECONDS: Final = 120.0

_NATS_CONFIG: Final = """\
# Written by infra/containers/state.py.
server_name: "{name}"
listen: "{bind}:{port}"
http: "{bind}:{monitor}"
operator: "/etc/nats/operator.jwt"
resolver: {{ type: full, dir: "/data/accounts", allow_delete: false, interval: "2m" }}
resolver_preload: {{
{accounts}
}}
jetstream {{ store_dir: "/data", sync_interval: always, max_memory_store: 16777216, max_file_store: {store} }}
max_payload: 1048576
lame_duck_grace_period: "1s"
lame_duck_duration: "30s"
{cluster}"""

_NATS_CLUSTER: Final = """\
cluster {{
  name: yunku
  listen: "{bind}:{port}"
  routes: [{routes}]
}}
"""


def open_home(root: Path, environ: Mapping[str, str]) -> Home:
    """The suite as its containers see each other.

    ``YUNKU_NETWORK=host``: all on one host's loopback, each with ports of its own (offsets as in the embedded stack).
    Otherwise every container has its name as host, and services use the same two ports each. ``YUNKU_NATS_NODES`` is
    1 or 3, and stays what it was at the first start: JetStream's data belong to their cluster.
    """
    nodes = int(environ.get("YUNKU_NATS_NODES") or 1)
    if nodes not in (1, 3):
        raise StartError("YUNKU_NATS_NODES is 1, or 3 with the profile `cluster`")
    on_host = environ.get("YUNKU_NETWORK") == "host"
    ports, hosts = dict(_SERVER_PORTS), dict[str, str]()
    for n in range(1, nodes + 1):
        node = _node(n)
        step = 10 * (n - 1) if on_host else 0
        ports |= {node: 4222 + step, f"{node}_monitor": 8222 + step, f"{node}_cluster": 6222 + step}
    for service in topology.SERVICES:
        for kind, fixed in (("grpc", 7000), ("ops", 7001)):
            name = f"{kind}_{service}"
            ports[name] = 7100 + PORT_OFFSETS[name] if on_host else fixed
    if not on_host:
        hosts = {name: name for name in ("postgres", "s3", "national-platform", *topology.SERVICES, *map(_node, range(1, nodes + 1)))}
    return Home(root / "suite", ports, ensure_secrets(root / "suite"), hosts, nodes)


def _node(number: int) -> str:
    return "nats" if number == 1 else f"nats-{number}"


def _readable_by_service(path: Path) -> None:
    """Hand a file or a tree to the services' user."""
    for item in (path, *(path.rglob("*") if path.is_dir() else ())):
        os.chown(item, SERVICE_USER, SERVICE_USER)


def _write_nats(root: Path, home: Home, keys: nats_accounts.Keyring) -> None:
    directory = root / "nats"
    directory.mkdir(exist_ok=True)
    shutil.copyfile(keys.operator_jwt, directory / "operator.jwt")
    bind = "0.0.0.0" if home.hosts else LOOPBACK  # noqa: S104 (inside the containers' own network)
    nodes = [_node(n) for n in range(1, home.nats_nodes + 1)]
    for node in nodes:
        cluster = ""
        if home.nats_nodes > 1:
            routes = ", ".join(f'"nats-route://{home.host(peer)}:{home.ports[f"{peer}_cluster"]}"' for peer in nodes)
            cluster = _NATS_CLUSTER.format(bind=bind, port=home.ports[f"{node}_cluster"], routes=routes)
        config = _NATS_CONFIG.format(
            name=node,
            bind=bind,
            port=home.ports[node],
            monitor=home.ports[f"{node}_monitor"],
            accounts="\n".join(f"  {account}: {token}" for account, token in keys.account_jwts().items()),
            store=200 * 1024**3,
            cluster=cluster,
        )
        (directory / f"{node}.conf").write_text(config)


def _environment(home: Home, service: str) -> dict[str, str]:
    """What a service's container is told: the supervisor's variables, with the container's own paths."""
    mounted = Path("/run/yunku")
    environment = service_environment(home, service) | {
        "YUNKU_PROFILE": _profile(),
        "YUNKU_BIND_HOST": "0.0.0.0" if home.hosts else LOOPBACK,  # noqa: S104
        "YUNKU_DATA": "/var/lib/yunku",
        "YUNKU_NATS_CREDENTIALS": str(mounted / "nats.creds"),
        "YUNKU_RPC_PRIVATE_KEY_FILE": str(mounted / "rpc.pem"),
        "YUNKU_RPC_PUBLIC_KEYS_DIR": "/run/yunku-public-keys",
    }
    if service in TRUSTING:
        environment["YUNKU_PKI_DIR"] = "/run/yunku-pki"
    if service in ("ocr", "signing"):
        # Engines' default profile forbids user namespaces, so workers get no network namespace of their own. Their other
        # layers hold, seccomp among them, which refuses every socket; the log says at start which layer is missing.
        environment[f"YUNKU_{service.upper()}_SANDBOX_REQUIRE_ALL"] = "false"
    if "YUNKU_ATTESTATION_KEY_FILE" in environment:
        environment["YUNKU_ATTESTATION_KEY_FILE"] = str(mounted / "attestation.pem")
    if "YUNKU_NATS_KEYS" in environment:
        environment["YUNKU_NATS_KEYS"] = str(mounted / "nats-keys")
    return environment


def init(root: Path, environ: Mapping[str, str]) -> None:
    """Write everything that containers mount. Runs as root, before them."""
    home = open_home(root, environ)
    ensure_keys(home)
    keys = nats_accounts.ensure_keyring(home.nats_dir / "keys")
    _write_nats(root, home, keys)
    s3_server.prepare(home)
    write_private(root / "s3" / "s3.json", (home.root / "s3.json").read_text())
    write_private(root / "postgres" / "password", home.secrets["postgres_postgres"])
    for directory, mode in ((root / "s3", 0o755), (root / "postgres", 0o755)):
        directory.chmod(mode)
    for path in (root / "s3" / "s3.json", root / "postgres" / "password"):
        path.chmod(0o644)  # their containers' users differ from image to image; nobody else mounts the directory

    trusted = root / "pki"
    trusted.mkdir(exist_ok=True)
    if _profile() == "development":
        _trust_development_ca(home, trusted)
    _readable_by_service(trusted)
    public = root / "public-keys"
    shutil.copytree(home.rpc_public_keys, public, dirs_exist_ok=True)
    _readable_by_service(public)
    for service in topology.SERVICES:
        directory = root / "services" / service
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lines = (f"{name}='{value}'\n" for name, value in sorted(_environment(home, service).items()))
        write_private(directory / "environment", "".join(lines))
        write_private(directory / "nats.creds", keys.service_credentials(service).read_bytes())
        write_private(directory / "rpc.pem", (home.rpc_private_keys / f"{service}.pem").read_bytes())
        if service == "signing":
            write_private(directory / "attestation.pem", home.attestation_key.read_bytes())
        if service == "push":
            domains = _push_keyring(root)
            write_private(domains.signing_key, keys.signing_key.read_bytes())
            write_private(domains.system_credentials, keys.system_credentials.read_bytes())
        _readable_by_service(directory)


def _profile() -> str:
    return os.environ.get("YUNKU_PROFILE") or "production"


def _trust_development_ca(home: Home, trusted: Path) -> None:
    """What services need of the development CA, its private keys left out (its timestamping key is the services' own)."""
    made = devca.ensure(home.root).directory
    shutil.copytree(made / "crls", trusted / "crls", dirs_exist_ok=True)
    for name in ("roots.pem", "intermediates.pem", "tsa.p12", "tsa.password"):
        shutil.copyfile(made / name, trusted / name)


def _push_keyring(root: Path) -> nats_accounts.Keyring:
    """The part of the keys that the push service holds: it signs domains' accounts, nothing else."""
    return nats_accounts.Keyring(root / "services" / "push" / "nats-keys")


def provision(root: Path, environ: Mapping[str, str]) -> None:
    """Wait for each server, then make what the services expect of it. Raises StartError if one doesn't come."""
    home = open_home(root, environ)
    for server in SERVERS:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not server.is_ready(home):
            if time.monotonic() > deadline:
                raise StartError(f"{server.NAME} does not answer")
            time.sleep(0.2)
        while True:
            try:
                server.provision(home)
                break
            except (nats_accounts.AccountError, nats.errors.Error, TimeoutError) as error:
                # A cluster answers before it has elected who leads, and refuses streams until then.
                if time.monotonic() > deadline:
                    raise StartError(f"{server.NAME} can't be provisioned: {error}") from error
                time.sleep(1)
        print(f"{server.NAME}: provisioned", flush=True)
    asyncio.run(_provision_domains(root, home))


async def _provision_domains(root: Path, home: Home) -> None:
    """The accounts that the push service has made, in case JetStream or the resolver directory was wiped."""
    keys = _push_keyring(root)
    for domain in keys.domains():
        await nats_accounts.create_domain_account(domain, keyring=keys, url=home.nats_url, replicas=home.nats_nodes)
    _readable_by_service(keys.root)


def main() -> int:
    """The command line."""
    root = Path(os.environ.get("YUNKU_STATE", "/state"))
    commands = {"init": init, "provision": provision}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        commands[sys.argv[1]](root, os.environ)
    except StartError as error:
        print(f"yunku: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
