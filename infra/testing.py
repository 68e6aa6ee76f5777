"""Suites for tests: the embedded stack, or the whole suite, each in a temporary data directory with free ports.

A suite under test is started exactly as an operator starts it, by the supervisor in a process of its own, and dies
with the process that started it. Everything a test may want to know is in its `state` and `home`.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
from minio import Minio
from psycopg import sql

from infra import nats_accounts
from infra.embedded import nats_server, s3_server
from infra.embedded.home import Home, database_role, read_json
from infra.supervisor import READY_SECONDS, service_environment


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)


class SuiteError(Exception):
    """The suite under test did not start, stop or recover; the message holds the end of its log."""


class RunningSuite:
    """A suite that a test started; it can be stopped, started again, and its processes killed."""

    _command = (sys.executable, "-m", "infra.supervisor", "up")

    def __init__(self, root: Path, services: str, settings: Mapping[str, str]) -> None:
        self.root = root
        self._services = services
        self._settings = dict(settings)
        self._process: subprocess.Popen[bytes] | None = None

    # -- life

    def start(self, timeout: float = READY_SECONDS) -> None:
        """Start and wait until ready; on the same directory again, everything is found as it was left."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("YUNKU_")}
        environment = {**inherited, "YUNKU_PORT_BASE": "0", "YUNKU_HTTP_PORT": "0", **self._settings}
        with open(self.root.with_suffix(".log"), "ab") as log:
            # The supervisor ends with the thread that starts it (a fixture's: pytest's main thread).
            self._process = subprocess.Popen(
                [*self._command, "--data", str(self.root), "--services", self._services],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=Path(__file__).resolve().parents[1],
                preexec_fn=_die_with_parent,
                start_new_session=True,
            )
        self.wait_ready(timeout)

    def wait_ready(self, timeout: float = READY_SECONDS) -> None:
        """Wait until every process is up (again) and the suite says that it is ready."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise SuiteError(f"the supervisor ended\n{self.log()}")
            state = self.state
            phases = [process["phase"] for process in state.get("processes", {}).values()]
            if state.get("supervisor") == self._process.pid and state.get("ready") and set(phases) <= {"up"}:
                return
            time.sleep(0.03)
        raise SuiteError(f"not ready after {timeout:g} s: {self.state.get('processes')}\n{self.log()}")

    def stop(self) -> None:
        """Stop in order, as Ctrl-C does. Raises SuiteError if it doesn't end, or ends with an error."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            code = self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise SuiteError(f"the supervisor did not stop\n{self.log()}") from None
        self._process = None
        if code:
            raise SuiteError(f"the supervisor ended with {code}\n{self.log()}")

    def kill(self) -> None:
        """kill -9 of the supervisor: takes everything along."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def kill_process(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal (kill -9) to one process by its name in the state file; returns the pid that it had."""
        pid = self.pid(name)
        if pid <= 0:  # between two lives; 0 would mean the tests' own process group
            raise ProcessLookupError(name)
        os.kill(pid, number)
        return pid

    # -- what tests look at

    @property
    def state(self) -> dict[str, Any]:
        """`state.json` as it is now; empty when stopped."""
        return read_json(self.root / "state.json")

    def pid(self, name: str) -> int:
        """The pid of a process (a service's name, ``postgres``, ``nats`` or ``s3``)."""
        return int(self.state["processes"][name]["pid"])

    @property
    def home(self) -> Home:
        """The suite's ports and secrets."""
        ports = read_json(self.root / "ports.json")
        return Home(self.root, ports, read_json(self.root / "secrets.json"))

    @property
    def http_url(self) -> str:
        return self.home.http_url

    @property
    def nats_url(self) -> str:
        return self.home.nats_url

    @property
    def nats_keys(self) -> nats_accounts.Keyring:
        """Credentials files of every user, and what makes domain accounts."""
        return nats_server.keyring(self.home)

    def s3(self) -> Minio:
        """An S3 client with the services' rights."""
        return s3_server.client(self.home)

    def environment(self, service: str) -> dict[str, str]:
        """What the supervisor tells a service: start one by hand with it, or read addresses from it."""
        return service_environment(self.home, service)

    def log(self, name: str | None = None, lines: int = 40) -> str:
        """The end of a process's log, or of the supervisor's."""
        path = self.root.with_suffix(".log") if name is None else self.home.logs / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    @contextlib.contextmanager
    def scratch_database(self, service: str) -> Iterator[tuple[str, str]]:
        """A new, empty event-log database for one test: (runtime url, owner url) with the roles of ``service``."""
        from kernel.eventlog import schema

        home, name = self.home, f"scratch_{os.urandom(6).hex()}"
        owner, runtime = database_role(service, owner=True), database_role(service)
        database = sql.Identifier(name)
        with psycopg.connect(home.superuser_url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, sql.Identifier(owner)))
            try:
                urls = [home.postgres_url(role, home.secrets[f"postgres_{role}"], name) for role in (runtime, owner)]
                schema.install(urls[1], service, runtime)
                yield urls[0], urls[1]
            finally:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))


@contextlib.contextmanager
def running_suite(services: str = "all", **settings: str) -> Iterator[RunningSuite]:
    """A suite in a temporary directory.

    ``services`` is ``all``, ``none`` (the servers only) or names with commas; ``settings`` are YUNKU_* variables.
    """
    directory = Path(tempfile.mkdtemp(prefix="yunku-test-"))
    suite = RunningSuite(directory / "data", services, settings)
    try:
        suite.start()
        yield suite
        suite.stop()
    finally:
        with contextlib.suppress(SuiteError):
            suite.stop()
        if os.environ.get("YUNKU_TEST_KEEP"):
            print(f"kept {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
