"""The supervisor as an operator and as a crashing process meet it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.embedded.home import StartError, is_running, open_home, read_json
from infra.testing import RunningSuite, running_suite

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def small_suite() -> Iterator[RunningSuite]:
    """The servers and one service that needs no other."""
    with running_suite("subject") as suite:
        yield suite


def _killed_and_back(suite: RunningSuite, name: str) -> None:
    starts = suite.state["processes"][name]["starts"]
    suite.kill_process(name)
    while suite.state["processes"][name]["starts"] == starts:  # pytest's time limit bounds this
        pass
    suite.wait_ready()


def test_a_killed_service_is_started_again_with_the_same_addresses(small_suite: RunningSuite) -> None:
    before = small_suite.state["processes"]["subject"]
    _killed_and_back(small_suite, "subject")
    after = small_suite.state["processes"]["subject"]
    assert after["pid"] != before["pid"]
    assert after["ports"] == before["ports"]


def test_a_service_outlives_the_loss_of_every_server(small_suite: RunningSuite) -> None:
    pid = small_suite.pid("subject")
    for server in ("postgres", "nats", "s3"):
        _killed_and_back(small_suite, server)
    assert small_suite.pid("subject") == pid


def test_services_are_forked_from_the_supervisor_into_sessions_of_their_own(small_suite: RunningSuite) -> None:
    pid, supervisor = small_suite.pid("subject"), small_suite.state["supervisor"]
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    parent, group, session = (int(fields[i]) for i in (1, 2, 3))
    assert (parent, group, session) == (supervisor, pid, pid)  # a terminal's Ctrl-C does not reach it
    assert len(list(Path(f"/proc/{supervisor}/task").iterdir())) == 1


def test_secrets_are_readable_by_their_owner_only(small_suite: RunningSuite) -> None:
    home = small_suite.home
    secret = [small_suite.root / "secrets.json", small_suite.root / "state.json", small_suite.root / "s3.json"]
    secret += [*home.rpc_private_keys.iterdir(), *(home.nats_dir / "keys").rglob("*.nk")]
    secret += [*(home.nats_dir / "keys").rglob("*.creds"), *home.logs.iterdir()]
    assert len(secret) > 20
    for path in secret:
        assert path.stat().st_mode & 0o077 == 0, path
    assert small_suite.root.stat().st_mode & 0o077 == 0


def test_only_loopback_is_listened_on(small_suite: RunningSuite) -> None:
    """Every listening socket of the suite's processes, from the kernel's own table."""
    pids = [process["pid"] for process in small_suite.state["processes"].values()]
    inodes = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(descriptor) if descriptor.is_symlink() else ""
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    listening = 0
    for table, loopback in (
        ("tcp", {"0100007F"}),
        ("tcp6", {"00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}),
    ):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                listening += 1
                assert fields[1].partition(":")[0] in loopback, line
    assert listening >= 10


def test_a_second_supervisor_is_refused_and_disturbs_nothing(small_suite: RunningSuite) -> None:
    before = small_suite.state
    with pytest.raises(StartError, match="already runs"), open_home(small_suite.root):
        pass
    assert small_suite.state == before


def _command(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("YUNKU_")}
    return subprocess.run(
        [sys.executable, "-m", "infra.supervisor", *words, "--data", str(root)],
        env={**inherited, "YUNKU_PORT_BASE": "0", "YUNKU_HTTP_PORT": "0"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_start_status_ctrl_c_start_stop(tmp_path: Path) -> None:
    root = tmp_path / "data"
    assert _command(root, "status").returncode == 3
    started = _command(root, "start", "--services", "none")
    assert started.returncode == 0, started.stderr
    ports, state = read_json(root / "ports.json"), read_json(root / "state.json")
    try:
        assert f"http://127.0.0.1:{ports['http']}" in started.stdout
        assert _command(root, "status").returncode == 0
        assert "already running" in _command(root, "start", "--services", "none").stdout
    finally:
        os.kill(state["supervisor"], signal.SIGINT)
    while is_running(root):  # pytest's time limit bounds this
        time.sleep(0.05)
    assert not any(Path(f"/proc/{process['pid']}").exists() for process in state["processes"].values())
    assert not (root / "state.json").exists()
    assert _command(root, "status").returncode == 3

    assert _command(root, "start", "--services", "none").returncode == 0
    try:
        assert read_json(root / "ports.json") == ports  # a second start answers at the same addresses
    finally:
        stopped = _command(root, "stop")
    assert stopped.returncode == 0, stopped.stderr
    assert _command(root, "status").returncode == 3
