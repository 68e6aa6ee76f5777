"""Killing any process with -9 at any step and starting it again loses nothing, and the job goes on."""

import asyncio
import os

import pytest

from infra.testing import running_suite
from ops.access import Access
from ops.check import check
from tests.chaos.run import chaos, wipe_jetstream

KILLS = int(os.environ.get("YUNKU_CHAOS_KILLS", "60"))


@pytest.mark.timeout(900)
def test_kills_at_random_points_over_every_process_lose_nothing() -> None:
    with running_suite("all") as suite:
        outcome = asyncio.run(chaos(suite, kills=KILLS, workers=2, seed=KILLS))
        assert outcome.problems == []
        assert sum(outcome.kills.values()) >= KILLS * 0.9
        assert outcome.ledger.acknowledged["push"] > 0
        assert outcome.report.counts["reviews"] > 0

        # Then the broker loses everything: it is filled again from the logs, and nothing is applied twice.
        wipe_jetstream(suite)
        lines: list[str] = []

        async def settled() -> int:
            for _ in range(60):
                lines.clear()
                if await check(Access.find(suite.root), lines.append) == 0:
                    return 0
                await asyncio.sleep(1)
            return 1

        assert asyncio.run(settled()) == 0, "\n".join(lines)
