"""Runs the suite: three servers, their provisioning, the services forked from this process, and restarts of what dies.

The supervisor has one thread, no event loop, and opens no connection that outlives a call: services are forked from
it at any time, and a fork copies only the calling thread. Work that needs more (provisioning, demo data) runs in a
forked child too. All its state is `<data>/state.json`, which scripts and the chaos tests read.

    python -m infra.supervisor up | start | stop | status     [--data DIR] [--services all|none|a,b]
"""

import argparse
import contextlib
import gc
import http.client
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

from infra.embedded import nats_server, postgres, s3_server
from infra.embedded.home import LOOPBACK, Home, StartError, data_root, is_running, open_home, read_json, write_private
from infra.embedded.process import execute, fork, kill_group
from kernel import topology

#: How long the whole suite may take to become ready before `start` and `up` say that it doesn't.
READY_SECONDS: Final = 180.0
#: A server that was just made may refuse for a moment; what fails this often at the first start won't mend itself.
FIRST_PROVISIONING_TRIES: Final = 4
#: How long services may drain before they are killed.
STOP_SECONDS: Final = 15.0
#: A process that lived this long is started again at once; one that dies sooner waits, longer each time.
STEADY_SECONDS: Final = 5.0
BACKOFF_SECONDS: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)

#: What several services import: loaded once, here, and shared with every child through copy-on-write.
PRELOAD: Final = (
    "asyncio", "google.protobuf.message", "google.protobuf.json_format", "grpc.aio", "grpc_health.v1.health_pb2_grpc",
    "nats", "nats.js", "psycopg", "psycopg_pool", "sqlalchemy", "structlog", "prometheus_client", "pydantic",
    "opentelemetry.sdk.trace", "minio", "cryptography.x509", "http.client",
)  # fmt: skip


class Server(Protocol):
    """What a module of `infra.embedded` that runs a server offers."""

    NAME: str
    PROVISION_EACH_START: bool
    DEATH_SIGNAL: int
    STOP_SIGNAL: int
    STOP_SECONDS: float

    def prepare(self, home: Home) -> None: ...
    def command(self, home: Home) -> list[str]: ...
    def is_ready(self, home: Home) -> bool: ...
    def provision(self, home: Home) -> None: ...


SERVERS: Final[tuple[Server | ModuleType, ...]] = (postgres, nats_server, s3_server)


class Phase(Enum):
    DOWN = "down"  # waiting for its next start
    STARTING = "starting"  # runs, doesn't answer yet
    PROVISIONING = "provisioning"
    UP = "up"


@dataclass
class Unit:
    """One process that is kept running, with the phase it is in."""

    name: str
    start: Callable[[], int]
    is_ready: Callable[[], bool]
    stop_signal: int
    stop_seconds: float
    ports: Mapping[str, int]
    provision: Callable[[], None] | None = None
    provision_each_start: bool = False
    phase: Phase = Phase.DOWN
    pid: int = 0
    job: int = 0
    started: float = 0.0
    next_start: float = 0.0
    next_look: float = 0.0
    quick_deaths: int = 0
    failed_jobs: int = 0
    starts: int = 0
    up_once: bool = False


def service_exists(name: str) -> bool:
    """Whether the code of a service is there (during development some may not be)."""
    return (Path(__file__).resolve().parents[1] / "services" / name / "__main__.py").exists()


def profile() -> str:
    """The profile of the suite; the embedded stack is for development unless told otherwise."""
    return os.environ.get("YUNKU_PROFILE") or "development"


def service_environment(home: Home, name: str) -> dict[str, str]:
    """Everything a service is told; documented with the settings in docs/operations.md."""
    ports, keys = home.ports, nats_server.keyring(home)
    environment = {
        "YUNKU_SERVICE": name,
        "YUNKU_PROFILE": profile(),
        "YUNKU_DATA": str(home.root),
        "YUNKU_LOG_LEVEL": os.environ.get("YUNKU_LOG_LEVEL", "info"),
        "YUNKU_NATS_URL": home.nats_url,
        "YUNKU_NATS_CREDENTIALS": str(keys.service_credentials(name)),
        "YUNKU_S3_ENDPOINT": home.s3_endpoint,
        "YUNKU_S3_ACCESS_KEY": home.secrets["s3_access_key"],
        "YUNKU_S3_SECRET_KEY": home.secrets["s3_secret_key"],
        "YUNKU_GRPC_PORT": str(ports[f"grpc_{name}"]),
        "YUNKU_OPS_PORT": str(ports[f"ops_{name}"]),
        "YUNKU_PEERS": ",".join(f"{peer}={home.host(peer)}:{ports[f'grpc_{peer}']}" for peer in topology.LOG_SERVICES),
        "YUNKU_RPC_PRIVATE_KEY_FILE": str(home.rpc_private_keys / f"{name}.pem"),
        "YUNKU_RPC_PUBLIC_KEYS_DIR": str(home.rpc_public_keys),
        "YUNKU_HTTP_PORT": str(ports["http"]),
        "YUNKU_PRIVACY_KEY": home.secrets["privacy_key"],
    }
    if name in topology.LOG_SERVICES:
        environment["YUNKU_DATABASE_URL"] = home.database_url(name)
    if name == "certificate":
        environment["YUNKU_NATIONAL_PLATFORM_URL"] = _national_platform(home)
    if name == "push":
        environment["YUNKU_NATS_KEYS"] = str(keys.root)
        environment["YUNKU_NATS_REPLICAS"] = str(home.nats_nodes)
    if name == "signing":
        environment["YUNKU_ATTESTATION_KEY_FILE"] = str(home.attestation_key)
    return environment


def _national_platform(home: Home) -> str:
    """Where entries are taken over from: what is set, else the development profile's counterpart, else nowhere."""
    own = f"http://{home.host('national-platform')}:{home.ports['national_platform']}" if profile() == "development" else ""
    return os.environ.get("YUNKU_NATIONAL_PLATFORM_URL") or own


def run_national_platform(port: int) -> None:
    """The life of the counterpart's process, after the fork."""
    importlib.import_module("infra.national_platform").Counterpart(LOOPBACK, port).serve_forever()


def run_service(name: str, environment: Mapping[str, str]) -> int | None:
    """The life of a service's process, after the fork."""
    os.environ.update(environment)
    sys.argv = [f"services.{name}"]
    code = importlib.import_module(f"services.{name}.__main__").main()
    return code if isinstance(code, int) else None


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@dataclass
class Supervisor:
    """Brings the units of one home up, in order, and keeps them up until told to stop."""

    home: Home
    services: Sequence[str]
    say: Callable[[str], None]
    units: dict[str, Unit] = field(default_factory=dict)
    stopping: bool = False
    services_begun: bool = False
    demo_job: int = 0
    demo_done: bool = False
    ready: bool = False
    began: float = field(default_factory=time.monotonic)

    # -- building the units

    def _server(self, server: Any) -> Unit:
        home = self.home

        def start() -> int:
            server.prepare(home)
            return execute(
                server.command(home),
                name=server.NAME,
                log=home.logs / f"{server.NAME}.log",
                death_signal=server.DEATH_SIGNAL,
                env={"PATH": os.environ.get("PATH", ""), "TZ": "UTC", "HOME": str(home.root)},
            )

        prefixes = {"s3": ("s3", "weed_"), "nats": ("nats",), "postgres": ("postgres",)}[server.NAME]
        return Unit(
            server.NAME,
            start,
            lambda: bool(server.is_ready(home)),
            server.STOP_SIGNAL,
            server.STOP_SECONDS,
            {name: port for name, port in home.ports.items() if name.startswith(prefixes)},
            lambda: server.provision(home),
            server.PROVISION_EACH_START,
        )

    def _service(self, name: str) -> Unit:
        home = self.home

        def start() -> int:
            environment = service_environment(home, name)
            return fork(lambda: run_service(name, environment), name=name, log=home.logs / f"{name}.log")

        ports = {"grpc": home.ports[f"grpc_{name}"], "ops": home.ports[f"ops_{name}"]}
        if name == "gateway":
            ports["http"] = home.ports["http"]
        return Unit(name, start, lambda: _answers(home.ports[f"ops_{name}"], "/readyz"), signal.SIGTERM, STOP_SECONDS, ports)

    def _counterpart(self) -> Unit:
        """The national platform as far as development needs it."""
        port, name = self.home.ports["national_platform"], "national-platform"
        log = self.home.logs / f"{name}.log"

        def start() -> int:
            return fork(lambda: run_national_platform(port), name=name, log=log)

        return Unit(name, start, lambda: _answers(port, "/healthz"), signal.SIGTERM, STOP_SECONDS, {"national_platform": port})

    # -- one turn of the loop

    def _advance(self, unit: Unit, now: float) -> None:
        """Take a unit one step towards UP."""
        if unit.phase is Phase.DOWN and now >= unit.next_start:
            unit.pid, unit.started, unit.phase = unit.start(), time.monotonic(), Phase.STARTING
            unit.starts += 1
            unit.next_look = now + 0.02
            self._write_state()
        elif unit.phase is Phase.STARTING and now >= unit.next_look:
            if unit.is_ready():
                if unit.provision is not None and (unit.provision_each_start or not unit.up_once):
                    unit.phase = Phase.PROVISIONING
                    provision = unit.provision
                    unit.job = fork(provision, name="provision", log=self.home.logs / f"provision-{unit.name}.log")
                else:
                    self._is_up(unit)
            else:
                # A look costs a connection; one that takes long to start is looked at less often.
                unit.next_look = time.monotonic() + min(0.5, 0.03 + (now - unit.started) / 20)

    def _is_up(self, unit: Unit) -> None:
        unit.phase = Phase.UP
        if unit.up_once:
            self.say(f"{unit.name} is up again")
        unit.up_once = True
        self._write_state()

    def _ended(self, pid: int, status: int) -> None:
        """A child is gone: a job that is done, or a unit to be started again."""
        code = os.waitstatus_to_exitcode(status)
        if pid == self.demo_job:
            self.demo_job, self.demo_done = 0, True
            if code:
                self.say(f"demo data failed (code {code}); see {self.home.logs / 'demo-data.log'}")
            return
        for unit in self.units.values():
            if pid == unit.job:
                unit.job = 0
                if unit.phase is not Phase.PROVISIONING:
                    return
                if code == 0:
                    self._is_up(unit)
                elif not self.stopping:
                    log = self.home.logs / f"provision-{unit.name}.log"
                    unit.failed_jobs += 1
                    if not unit.up_once and unit.failed_jobs >= FIRST_PROVISIONING_TRIES:
                        end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                        raise StartError(f"provisioning {unit.name} failed {unit.failed_jobs} times; see {log}\n{end}")
                    self.say(f"provisioning {unit.name} failed; again in a moment (see {log})")
                    unit.phase, unit.next_look = Phase.STARTING, time.monotonic() + 0.5
                return
            if pid == unit.pid:
                kill_group(pid, signal.SIGKILL)  # what it started must not outlive it
                lived = time.monotonic() - unit.started
                unit.pid, unit.phase = 0, Phase.DOWN
                if not self.stopping:
                    unit.quick_deaths = 0 if lived >= STEADY_SECONDS else unit.quick_deaths + 1
                    delay = BACKOFF_SECONDS[min(max(unit.quick_deaths - 1, 0), len(BACKOFF_SECONDS) - 1)]
                    unit.next_start = time.monotonic() + delay
                    how = f"signal {-code}" if code < 0 else f"code {code}"
                    self.say(f"{unit.name} ended ({how}) after {lived:.1f} s; starting it again in {delay:g} s")
                self._write_state()
                return

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._ended(pid, status)

    def _next_stage(self) -> None:
        """Services begin when all servers are up; demo data when all services are; then the suite is ready."""
        if not all(unit.phase is Phase.UP for unit in self.units.values()):
            return
        if not self.services_begun:
            self.services_begun = True
            for name in self.services:
                if service_exists(name):
                    self.units[name] = self._service(name)
                else:
                    self.say(f"service {name} does not exist yet: left out")
            if profile() == "development" and "certificate" in self.units and not os.environ.get("YUNKU_NATIONAL_PLATFORM_URL"):
                counterpart = self._counterpart()
                self.units[counterpart.name] = counterpart
            return
        if not self.demo_done:
            has_demo = profile() == "development" and set(topology.SERVICES) <= set(self.units)
            if has_demo and not self.demo_job:
                self.demo_job = fork(self._demo_data, name="demo-data", log=self.home.logs / "demo-data.log")
            self.demo_done = not has_demo
            if not self.demo_done:
                return
        self.ready = True
        self._write_state()

    def _demo_data(self) -> None:
        """Accounts, companies and domains to try the suite with, in the development profile; idempotent."""
        importlib.import_module("infra.demo_data").ensure(self.home)

    # -- what others read

    def _write_state(self) -> None:
        home = self.home
        state = {
            "supervisor": os.getpid(),
            "ready": self.ready,
            "data": str(home.root),
            "urls": {
                "http": home.http_url,
                "nats": home.nats_url,
                "nats_monitor": f"http://{LOOPBACK}:{home.ports['nats_monitor']}",
                "s3": home.s3_endpoint,
                "postgres": f"{LOOPBACK}:{home.ports['postgres']}",
                **{f"ops_{name}": f"http://{LOOPBACK}:{home.ports[f'ops_{name}']}" for name in self.services},
            },
            "processes": {
                unit.name: {
                    "pid": unit.pid,
                    "phase": unit.phase.value,
                    "starts": unit.starts,
                    "ports": dict(unit.ports),
                    "log": str(home.logs / f"{unit.name}.log"),
                }
                for unit in self.units.values()
            },
        }
        write_private(home.state_file, json.dumps(state, indent=1))

    # -- the whole life

    def run(self, when_ready: Callable[[], None]) -> int:
        """Until SIGTERM or SIGINT; returns the exit code. Signals are taken from the queue, never as interruptions."""
        watched = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
        signal.pthread_sigmask(signal.SIG_BLOCK, watched)
        try:
            for server in SERVERS:
                unit = self._server(server)
                self.units[unit.name] = unit
                self._advance(unit, time.monotonic())
            loading = self._preload()
            while True:
                waiting = not self.ready or any(unit.phase is not Phase.UP for unit in self.units.values())
                loaded = next(loading, True)
                received = signal.sigtimedwait(watched, 0 if not loaded else 0.03 if waiting else 5.0)
                if received is not None and received.si_signo != signal.SIGCHLD:
                    return 0
                self._reap()
                now = time.monotonic()
                for unit in list(self.units.values()):
                    self._advance(unit, now)
                if loaded and not self.ready:
                    self._next_stage()
                    if self.ready:
                        when_ready()
                if not self.ready and now - self.began > READY_SECONDS:
                    late = ", ".join(u.name for u in self.units.values() if u.phase is not Phase.UP)
                    raise StartError(f"not ready after {READY_SECONDS:.0f} s: {late}; see {self.home.logs}")
        finally:
            self._stop()

    def _preload(self) -> Iterator[bool]:
        """Import what the services share, a module a step (False), while the servers start and are provisioned.

        Raises StartError if an import started a thread: a process with threads can't be forked from.
        """
        if not self.services:
            return
        names = [*PRELOAD, *(f"services.{name}.__main__" for name in self.services if service_exists(name))]
        for name in names:
            yield False
            try:
                importlib.import_module(name)
            except Exception as error:
                # The service itself will fail with the same error and its traceback in its own log.
                self.say(f"preloading {name} failed: {type(error).__name__}: {error}")
        threads = len(list(Path("/proc/self/task").iterdir())) if Path("/proc/self/task").exists() else 1
        if threads != 1:
            raise StartError(f"{threads} threads run in the supervisor after loading {names}: it can't fork services")
        if profile() == "development":
            yield False
            importlib.import_module("infra.devca").ensure(self.home.root)
        gc.collect()
        gc.freeze()  # keeps the shared pages of children shared

    def _stop(self) -> None:
        """Services first, so that they can finish what they do; then the servers. Then nothing is left."""
        self.stopping = True
        servers = [unit for unit in self.units.values() if unit.provision is not None]
        services = [unit for unit in self.units.values() if unit.provision is None]
        if self.demo_job:
            kill_group(self.demo_job, signal.SIGKILL)
        for unit in servers:
            if unit.job:
                kill_group(unit.job, signal.SIGKILL)
        for group in (services, servers):
            self._end(group)
        with contextlib.suppress(FileNotFoundError):
            self.home.state_file.unlink()

    def _end(self, units: Iterable[Unit]) -> None:
        units = list(units)
        for unit in units:
            if unit.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(unit.pid, unit.stop_signal)
        began, killed = time.monotonic(), set[str]()
        while any(unit.pid for unit in units):
            for unit in units:
                if unit.pid and unit.name not in killed and time.monotonic() - began > unit.stop_seconds:
                    self.say(f"{unit.name} did not stop in {unit.stop_seconds:g} s: killed")
                    kill_group(unit.pid, signal.SIGKILL)
                    killed.add(unit.name)
            signal.sigtimedwait({signal.SIGCHLD}, 0.2)
            self._reap()


# ---- commands -------------------------------------------------------------------------------------------------------


def _say(message: str) -> None:
    print(time.strftime("%H:%M:%S"), message, flush=True)


def _announce(home: Home) -> None:
    print(f"\nYunku is ready: {home.http_url}    (data: {home.root})")
    demo = read_json(home.root / "demo.json")  # written by infra/demo_data.py, in the development profile
    for role in ("operator", "reviewer", "administrator"):
        who = demo.get(role, {})
        if who:
            extra = f"  key {who['key_file']} ({who.get('key_password', '')})" if who.get("key_file") else ""
            print(f"  {role:13} {who.get('phone')} / {who.get('password')}{extra}")
    for domain in demo.get("domains", []):
        where = f"{domain.get('push_subject')}, {domain.get('credentials_file')}"
        print(f"  domain        {domain.get('id')} {domain.get('name')}: {where}")
    print("Ctrl-C or `make stop` stops it; `make demo` runs the main job.\n", flush=True)


def up(root: Path, services: Sequence[str]) -> int:
    """Run in the foreground."""
    with open_home(root) as home:
        supervisor = Supervisor(home, services, _say)

        def when_ready() -> None:
            _say(f"ready after {time.monotonic() - supervisor.began:.1f} s")
            _announce(home)

        return supervisor.run(when_ready)


def start(root: Path, services: Sequence[str]) -> int:
    """Run in the background; return when ready, or 1 with the log's end when it isn't."""
    if is_running(root):
        print(f"already running on {root}")
        return 0
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = root / "supervisor.log"
    log.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "infra.supervisor", "up", "--data", str(root)]
    argv += ["--services", ",".join(services) or "none"]
    output = os.open(log, os.O_WRONLY | os.O_CREAT, 0o600)
    pid = os.posix_spawn(
        sys.executable,
        argv,
        os.environ,
        setsid=True,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ],
    )
    deadline = time.monotonic() + READY_SECONDS + 10
    while time.monotonic() < deadline:
        ended, _ = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        state = read_json(root / "state.json")
        if state.get("supervisor") == pid and state.get("ready"):
            time.sleep(0.1)  # it prints its addresses just then
            print(log.read_text(), end="")
            return 0
        time.sleep(0.05)
    print(log.read_text(), end="", file=sys.stderr)
    return 1


def stop(root: Path) -> int:
    """Stop a suite, wherever it was started, and wait until it is gone."""
    if not is_running(root):
        print("not running")
        return 0
    pid = read_json(root / "state.json").get("supervisor")
    if not pid:
        print(f"a suite is starting or stopping on {root}; try again", file=sys.stderr)
        return 1
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 3 * STOP_SECONDS
    while is_running(root):
        if time.monotonic() > deadline:
            print(f"supervisor {pid} does not end", file=sys.stderr)
            return 1
        time.sleep(0.05)
    print("stopped")
    return 0


def status(root: Path) -> int:
    """Print a line a process; 0 if the suite is ready and every process up, 3 if nothing runs, else 1."""
    if not is_running(root):
        print(f"not running ({root})")
        return 3
    state = read_json(root / "state.json")
    good = bool(state.get("ready"))
    print(f"{'ready' if good else 'starting'}  {state.get('urls', {}).get('http')}  data {root}")
    for name, process in state.get("processes", {}).items():
        phase = process["phase"]
        if "ops" in process["ports"] and phase == "up" and not _answers(process["ports"]["ops"], "/readyz"):
            phase = "not ready"
        good = good and phase == "up"
        ports = " ".join(f"{label}={port}" for label, port in process["ports"].items())
        print(f"  {name:12} {phase:12} pid {process['pid']:<8} starts {process['starts']:<3} {ports}")
    return 0 if good else 1


def _services(text: str) -> list[str]:
    if text == "none":
        return []
    if text == "all":
        return list(topology.SERVICES)
    names = text.split(",")
    unknown = set(names) - set(topology.SERVICES)
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown services: {', '.join(sorted(unknown))}")
    return [name for name in topology.SERVICES if name in names]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="infra.supervisor", description="Run the Yunku suite on the embedded stack.")
    parser.add_argument("command", choices=["up", "start", "stop", "status"])
    parser.add_argument("--data", type=Path, default=data_root(), help="data directory (YUNKU_DATA, default .yunku)")
    parser.add_argument("--services", type=_services, default=list(topology.SERVICES), help="all, none, or names")
    arguments = parser.parse_args()
    root = arguments.data.absolute()
    # Imported math libraries would start a pool of threads each; one is right for workers, and none may run at a fork.
    for pool in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(pool, "1")
    try:
        match arguments.command:
            case "up":
                return up(root, arguments.services)
            case "start":
                return start(root, arguments.services)
            case "stop":
                return stop(root)
            case _:
                return status(root)
    except StartError as error:
        print(f"yunku: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
