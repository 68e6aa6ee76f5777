"""The gateway dies and is stopped: streams end, and clients come again and miss nothing."""

from __future__ import annotations

import json
import signal
import threading

import httpx
import pytest

from infra.testing import RunningSuite
from tests.e2e.http_world import Api, World, eventually


@pytest.fixture(scope="module")
def world(suite: RunningSuite) -> World:
    return World(suite)


class Listener:
    """Follows a session's stream from a position until it ends, or until ``enough`` events were heard."""

    def __init__(self, api: Api, since: int, enough: int = 1000) -> None:
        self.heard: list[tuple[int, str]] = []
        self.orderly: bool | None = None
        self._enough = enough
        self._arguments = {"headers": {"Authorization": f"Bearer {api.token}"}, "params": {"since": str(since)}}
        self._url = f"{api.url}/api/v1/events"
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with httpx.Client(timeout=httpx.Timeout(10, read=60), trust_env=False) as client:
            try:
                with client.stream("GET", self._url, **self._arguments) as stream:  # type: ignore[arg-type]
                    for line in stream.iter_lines():
                        if line.startswith("data: "):
                            told = json.loads(line[6:])
                            self.heard.append((told["position"], told["certificate_id"]))
                            if len(self.heard) >= self._enough:
                                break
                self.orderly = True
            except httpx.HTTPError:
                self.orderly = False


@pytest.mark.parametrize(("number", "orderly"), [(signal.SIGTERM, True), (signal.SIGKILL, False)])
def test_a_stream_ends_with_the_gateway_and_goes_on_with_the_next(
    world: World, suite: RunningSuite, number: signal.Signals, orderly: bool
) -> None:
    api = world.company()
    drafts = [world.draft(api)["id"] for _ in range(2)]
    listener = Listener(api, since=1)
    eventually(lambda: drafts[-1] in [certificate for _, certificate in listener.heard])
    killed = suite.kill_process("gateway", number)
    listener.thread.join(60)
    assert listener.orderly is orderly
    eventually(lambda: suite.pid("gateway") not in (0, killed))
    suite.wait_ready()
    last = listener.heard[-1][0]
    again = Api(world.url, api.token)  # connections of the former gateway are dead
    made = [world.draft(again)["id"] for _ in range(3)]
    resumed = Listener(again, since=last, enough=3)
    resumed.thread.join(60)
    assert [certificate for _, certificate in resumed.heard] == made
    assert resumed.heard[0][0] > last


def test_calls_wait_for_a_service_that_is_being_started_again(world: World, suite: RunningSuite) -> None:
    """A peer that was killed is back in a second: its callers wait for it rather than fail."""
    api = world.company()
    killed = suite.kill_process("subject")
    assert api.ask("GET", f"/api/v1/subjects/{api.subject_id}")["id"] == api.subject_id
    eventually(lambda: suite.pid("subject") not in (0, killed))
    suite.wait_ready()
    assert api.ask("GET", "/readyz")["ready"]
