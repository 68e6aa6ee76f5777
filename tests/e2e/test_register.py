"""A small part of the demo company's register: every entry ends as planned, and a second run makes nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from demo.console import Console
from demo.register import Register, run
from infra.testing import RunningSuite, running_suite
from tests.e2e.http_world import World

#: A draft, a submitted one whose push is rejected and appealed, an open supplement, a superseded one with its successor, one that has
#: expired; and one scan, verified GREEN and sealed.
PART = (
    "case-labour",
    "case-goods",
    "works-road",
    "rules-quality",
    "rules-quality-anew",
    "entry-report-old",
    "shareholder-b",
)


@pytest.fixture(scope="module")
def suite() -> Iterator[RunningSuite]:
    """One of its own: the demo company begins with nothing."""
    with running_suite("all") as running:
        yield running


def seen(world: World, register: Register) -> dict[str, tuple[str, str, str, int]]:
    """Each entry's id, state and light, and how much ever happened to it."""
    api = world.operator()
    found = {}
    for slug, number in register.ids.items():
        now: Any = api.ask("GET", f"/api/v1/certificates/{number}")
        found[slug] = (number, now["state"], now["light"], now["version"])
    return found


def test_a_part_of_the_register_is_made_once(suite: RunningSuite, capsys: Any) -> None:
    world = World(suite)
    first = run(Console(), suite.http_url, PART)
    made = seen(world, first)
    assert {slug: one[1:3] for slug, one in made.items()} == {
        "case-labour": ("draft", "NONE"),
        "case-goods": ("submitted", "NONE"),
        "works-road": ("submitted", "NONE"),
        "rules-quality": ("superseded", "NONE"),
        "rules-quality-anew": ("submitted", "NONE"),
        "entry-report-old": ("draft", "NONE"),
        "shareholder-b": ("submitted", "GREEN"),
    }
    assert "7 certificates, 0 performances, 0 persons; pushes: 1 rejected and appealed" in capsys.readouterr().out
    assert seen(world, run(Console(), suite.http_url, PART)) == made
    assert len(world.operator().ask("GET", "/api/v1/certificates", params={"limit": 200})["items"]) == len(PART)
