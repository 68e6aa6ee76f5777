"""One chaos run: a suite of its own, load, kills at random points over every process, rest, and all invariants."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from infra.testing import RunningSuite
from kernel.topology import SERVICES
from ops.access import Access
from ops.check import Checker, Report
from tests.chaos.load import Company, Ledger, Refused, domain_system

#: Every process of a suite: the services and the servers under them.
VICTIMS = (*SERVICES, "postgres", "nats", "s3")


@dataclass
class Outcome:
    """What a run did and found."""

    ledger: Ledger
    report: Report
    kills: Counter[str]
    seconds: float

    @property
    def problems(self) -> list[str]:
        return [str(finding) for finding in self.report.findings] + self.ledger.broken


async def chaos(suite: RunningSuite, *, kills: int, workers: int, seed: int, say: Callable[[str], None] = print) -> Outcome:
    """Kills ``kills`` processes one after the other under load, lets everything finish, and checks."""
    started = time.monotonic()
    chance = random.Random(seed)
    ledger = Ledger()
    async with httpx.AsyncClient(base_url=suite.http_url, timeout=30) as visitor:
        demo: dict[str, Any] = (await visitor.get("/api/v1/demo")).json()
    domain = next(d for d in demo["domains"] if d["id"] == "ln-bidding")
    stop = asyncio.Event()
    companies = [Company(suite.http_url, ledger, seed * 100 + number) for number in range(workers)]
    system = asyncio.create_task(domain_system(domain))
    working = [asyncio.create_task(_work(company, domain["id"], stop, ledger)) for company in companies]
    killed: Counter[str] = Counter()
    try:
        # Every process at least once when there are enough kills, then at random.
        order = list(VICTIMS) * (kills // (2 * len(VICTIMS)))
        order += [chance.choice(VICTIMS) for _ in range(kills - len(order))]
        chance.shuffle(order)
        for number, victim in enumerate(order, 1):
            await _progress(ledger, chance.randint(1, 6))
            await asyncio.sleep(chance.uniform(0.0, 0.5))
            if any(task.done() for task in working):
                break
            try:
                pid = suite.kill_process(victim)
            except (KeyError, ProcessLookupError):
                continue  # it is just being started again: killed enough
            killed[victim] += 1
            at, done = time.monotonic() - started, sum(ledger.acknowledged.values())
            say(f"{at:6.1f} s  kill {number}/{kills}: {victim} ({pid})  acknowledged {done}")
        stop.set()
        await asyncio.gather(*working)
        await asyncio.to_thread(suite.wait_ready, 60)
        await _rest(suite, companies[0], ledger, say)
    finally:
        stop.set()
        for task in (*working, system):
            task.cancel()
        await asyncio.gather(*working, system, return_exceptions=True)
    await _histories(companies[0], ledger)
    for company in companies:
        await company.close()
    report = await Checker(Access.find(suite.root)).run()
    return Outcome(ledger, report, killed, time.monotonic() - started)


async def _work(company: Company, domain: str, stop: asyncio.Event, ledger: Ledger) -> None:
    while not stop.is_set():
        try:
            await company.job(domain)
        except Refused as refused:
            ledger.broken.append(f"a job was refused for good: {refused}")
            return


async def _progress(ledger: Ledger, calls: int) -> None:
    """Waits until the jobs got on by so many calls (or 8 s): kills are to hit work, not a suite that is still coming up."""
    wanted = ledger.answered + calls
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(8):
            while ledger.answered < wanted:  # noqa: ASYNC110 - a counter of another task
                await asyncio.sleep(0.05)


async def _rest(suite: RunningSuite, company: Company, ledger: Ledger, say: Callable[[str], None]) -> None:
    """Waits until every push is decided and every consumer stands at the end of its producer's log."""
    async with asyncio.timeout(180):
        while not await company.approved():  # noqa: ASYNC110 - it asks over HTTP
            await asyncio.sleep(0.5)
        say("all pushes decided; waiting for rest")
        events = -1
        while True:
            report = await Checker(Access.find(suite.root)).run()
            behind = any(finding.invariant in (5, 6) for finding in report.findings)
            if not behind and not report.counts["objects without lock yet"] and report.counts["events"] == events:
                return
            events = report.counts["events"]
            await asyncio.sleep(2)


async def _histories(company: Company, ledger: Ledger) -> None:
    """Invariant 1, from the client's side: what was acknowledged happened, once."""
    once = ("CertificateDrafted", "CertificateUploaded", "FieldsStated", "FieldsMarked", "Submitted", "PushRequested")
    for certificate_id, record in ledger.certificates.items():
        items = await company.history(certificate_id)
        if [item["number"] for item in items] != list(range(1, len(items) + 1)):
            ledger.broken.append(f"{certificate_id}: the operation record has gaps")
        counts = Counter(item["type"] for item in items)
        complete = "push" in record["steps"]
        for kind in once:
            if counts[kind] > 1 or (complete and counts[kind] != 1):
                ledger.broken.append(f"{certificate_id}: {counts[kind]} times {kind}")
        if complete and not record.get("decided"):
            ledger.broken.append(f"{certificate_id}: pushed and never decided")


def wipe_jetstream(suite: RunningSuite) -> None:
    """Stops the suite, destroys JetStream's whole directory, and starts again."""
    import shutil

    suite.stop()
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(suite.root / "nats" / "jetstream")
    suite.start()
