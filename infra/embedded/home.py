"""The data directory of one suite: where everything lives, which ports it uses, and its generated secrets.

One directory (``YUNKU_DATA``, default ``.yunku/``) holds all state; copying it away and back moves the suite.
Ports and secrets are chosen once and remembered there, so a second start finds the same addresses and keys.
"""

import base64
import contextlib
import fcntl
import json
import os
import random
import secrets
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from kernel import topology

DEFAULT_HTTP_PORT: Final = 8080
DEFAULT_PORT_BASE: Final = 7100

#: Distance of a port from YUNKU_PORT_BASE. SeaweedFS adds 10000 to each of its HTTP ports for gRPC by itself.
PORT_OFFSETS: Final[Mapping[str, int]] = {
    **{f"grpc_{service}": 1 + i for i, service in enumerate(topology.SERVICES)},
    **{f"ops_{service}": 21 + i for i, service in enumerate(topology.SERVICES)},
    "postgres": 40,
    "nats": 41,
    "nats_monitor": 42,
    "s3": 50,
    "weed_master": 51,
    "weed_volume": 52,
    "weed_filer": 53,
    "weed_admin": 54,
    "national_platform": 55,
}
_WITH_GRPC_TWIN: Final = frozenset({"s3", "weed_master", "weed_volume", "weed_filer", "weed_admin"})
_TWIN_DISTANCE: Final = 10_000

#: Free ports come from below the kernel's ephemeral range (32768 up): an outgoing connection must not be able to take
#: the port of a server that is just being restarted. With its twin a port stays below it as well.
_FREE_RANGE: Final = (10_100, 22_700)

LOOPBACK: Final = "127.0.0.1"


class StartError(Exception):
    """The suite cannot start; the message tells the operator why and what to do."""


def write_private(path: Path, content: str | bytes) -> None:
    """Write a file that only its owner may read, all of it or nothing (rename), surviving a crash (fsync)."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now (a lingering TIME_WAIT doesn't count as taken)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _usable(name: str, port: int, taken: set[int]) -> bool:
    wanted = (port, port + _TWIN_DISTANCE) if name in _WITH_GRPC_TWIN else (port,)
    return all(p <= 65535 and p not in taken and port_is_free(p) for p in wanted)


def choose_ports(remembered: Mapping[str, int], environ: Mapping[str, str]) -> dict[str, int]:
    """Every listener's port: set by itself (``YUNKU_<NAME>_PORT``), else remembered, else base + offset, else free.

    ``YUNKU_PORT_BASE=0`` asks for free ports throughout, ``YUNKU_HTTP_PORT=0`` for a free HTTP port. Raises StartError
    if a port that was asked for by number is taken: clients were told that number, so another one would be wrong.
    """
    base = int(environ.get("YUNKU_PORT_BASE", DEFAULT_PORT_BASE))
    picker = random.SystemRandom()
    ports: dict[str, int] = {}
    taken: set[int] = set()

    def take(name: str, port: int) -> None:
        ports[name] = port
        taken.update({port, port + _TWIN_DISTANCE} if name in _WITH_GRPC_TWIN else {port})

    def free(name: str) -> int:
        for _ in range(1000):
            port = picker.randrange(*_FREE_RANGE)
            if _usable(name, port, taken):
                return port
        raise StartError("no free loopback port found")

    def exactly(name: str, setting: str, port: int) -> int:
        if not _usable(name, port, taken):
            raise StartError(f"port {port} is in use; stop what uses it or set {setting} to another (0: any free one)")
        return port

    http = environ.get("YUNKU_HTTP_PORT")
    if http is not None and int(http) == 0:
        old = remembered.get("http")
        take("http", old if old and _usable("http", old, taken) else free("http"))
    else:
        take("http", exactly("http", "YUNKU_HTTP_PORT", int(http or DEFAULT_HTTP_PORT)))

    for name, offset in PORT_OFFSETS.items():
        setting = f"YUNKU_{name.upper()}_PORT"
        own = environ.get(setting)
        if own is not None and int(own):
            take(name, exactly(name, setting, int(own)))
            continue
        wishes = [remembered.get(name), base + offset if base else None]
        take(name, next((p for p in wishes if p and _usable(name, p, taken)), None) or free(name))
    return ports


@dataclass(frozen=True)
class Home:
    """One suite's data directory with its ports and secrets. Make it with `open_home`."""

    root: Path
    ports: Mapping[str, int]
    secrets: Mapping[str, str] = field(repr=False)
    #: Where a process answers, by name; loopback for those that aren't named (the embedded stack names none).
    hosts: Mapping[str, str] = field(default_factory=dict)
    #: Nodes of the NATS cluster; each keeps a replica of every stream.
    nats_nodes: int = 1

    def host(self, process: str) -> str:
        """The host of a server or a service."""
        return self.hosts.get(process, LOOPBACK)

    @property
    def logs(self) -> Path:
        """One log file a process, ``<name>.log``."""
        return self.root / "logs"

    @property
    def state_file(self) -> Path:
        """What runs now: pids, ports and addresses by process name; rewritten at each change."""
        return self.root / "state.json"

    @property
    def nats_dir(self) -> Path:
        return self.root / "nats"

    @property
    def nats_url(self) -> str:
        """All nodes; clients go on with another when one is lost."""
        nodes = ["nats", *(f"nats-{n}" for n in range(2, self.nats_nodes + 1))]
        return ",".join(f"nats://{self.host(node)}:{self.ports[node]}" for node in nodes)

    @property
    def s3_endpoint(self) -> str:
        return f"http://{self.host('s3')}:{self.ports['s3']}"

    @property
    def http_url(self) -> str:
        """The gateway: the only address that outsiders need."""
        return f"http://{LOOPBACK}:{self.ports['http']}"

    @property
    def rpc_private_keys(self) -> Path:
        """``<service>.pem``: each service's own Ed25519 key, with which it signs the identity it calls under."""
        return self.root / "rpc" / "private"

    @property
    def rpc_public_keys(self) -> Path:
        """``<service>.pem`` of all services, by which a callee checks its caller."""
        return self.root / "rpc" / "public"

    @property
    def attestation_key(self) -> Path:
        """The register's own key under digital certificates (EC, P-256); only the signing service gets it."""
        return self.root / "attestation.pem"

    def database_url(self, service: str, *, owner: bool = False) -> str:
        """libpq address of a service's database, as its runtime role or as the role that owns the tables (DDL)."""
        role = database_role(service, owner=owner)
        return self.postgres_url(role, self.secrets[f"postgres_{role}"], f"yunku_{service}")

    def postgres_url(self, role: str, password: str, database: str) -> str:
        return f"postgresql://{role}:{password}@{self.host('postgres')}:{self.ports['postgres']}/{database}"

    @property
    def superuser_url(self) -> str:
        """For provisioning only; no service gets it."""
        return self.postgres_url("postgres", self.secrets["postgres_postgres"], "postgres")


def database_role(service: str, *, owner: bool = False) -> str:
    """The Postgres role of a service: ``yunku_<service>`` at run time, ``yunku_<service>_owner`` for DDL."""
    return f"yunku_{service}_owner" if owner else f"yunku_{service}"


def data_root(environ: Mapping[str, str] = os.environ) -> Path:
    """The data directory that the environment names (``YUNKU_DATA``), else ``.yunku`` beside the code."""
    return Path(environ.get("YUNKU_DATA") or Path(__file__).resolve().parents[2] / ".yunku").absolute()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty if there is no such file."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    if not isinstance(content, dict):
        raise StartError(f"{path} does not hold a JSON object")
    return content


def ensure_secrets(root: Path) -> dict[str, str]:
    """Make what is missing and keep what is there: a service that joins later gets its password then."""
    path = root / "secrets.json"
    known: dict[str, str] = read_json(path)
    wanted: dict[str, Callable[[], str]] = {
        "postgres_postgres": lambda: secrets.token_urlsafe(24),
        **{
            f"postgres_{database_role(service, owner=owner)}": lambda: secrets.token_urlsafe(24)
            for service in topology.LOG_SERVICES
            for owner in (False, True)
        },
        "s3_access_key": lambda: "yunku" + secrets.token_hex(8),
        "s3_secret_key": lambda: secrets.token_urlsafe(30),
        "privacy_key": lambda: base64.b64encode(secrets.token_bytes(32)).decode(),
    }
    missing = {name: make() for name, make in wanted.items() if name not in known}
    if missing:
        known |= missing
        write_private(path, json.dumps(known, indent=1))
    return known


def ensure_keys(home: Home) -> None:
    """Give every service its Ed25519 key pair, and the register its key under digital certificates; keys that exist are kept."""
    if not home.attestation_key.exists():
        attestation = ec.generate_private_key(ec.SECP256R1())
        write_private(home.attestation_key, attestation.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    for service in topology.SERVICES:
        private, public = home.rpc_private_keys / f"{service}.pem", home.rpc_public_keys / f"{service}.pem"
        if private.exists() and public.exists():
            continue
        key = Ed25519PrivateKey.generate()
        write_private(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        write_private(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


@contextlib.contextmanager
def open_home(root: Path, environ: Mapping[str, str] = os.environ) -> Iterator[Home]:
    """Open (and first make) a data directory for exclusive use: ports chosen, secrets and keys present.

    Raises StartError if another supervisor uses it.
    """
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    root.chmod(0o700)
    with open(root / "supervisor.lock", "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"a suite already runs on {root} (make status, make stop)") from None
        home = Home(root, choose_ports(read_json(root / "ports.json"), environ), ensure_secrets(root))
        write_private(root / "ports.json", json.dumps(home.ports, indent=1))
        home.logs.mkdir(exist_ok=True)
        ensure_keys(home)
        yield home


def is_running(root: Path) -> bool:
    """Whether a supervisor holds this data directory now."""
    try:
        with open(root / "supervisor.lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False
    except FileNotFoundError:
        return False


def venv_binary(name: str) -> Path:
    """An executable that a wheel put beside this interpreter."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise StartError(f"{path} is missing: run `make setup`")
    return path
