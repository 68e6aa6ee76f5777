"""The connector against the counterpart, over real HTTP: what both agree on, and every way in which an answer can fail."""

import asyncio
import hashlib
import threading
import time
from collections.abc import Iterator

import pytest

import catalogue
from infra import devca
from infra.national_platform import FAULTS, Counterpart
from kernel.errors import YunkuError
from services.certificate import takeover
from services.certificate.national_platform import HttpPlatform
from services.certificate.settings import Settings
from services.certificate.takeover import Answer

NAME, USCC = devca.DEMO_COMPANY
SECONDS, ATTEMPTS = 1.5, 3
#: fault -> (code, how often it is asked)
TOLD = {
    "slow": ("national_platform_unavailable", ATTEMPTS),
    "drip": ("national_platform_unavailable", ATTEMPTS),
    "error": ("national_platform_unavailable", ATTEMPTS),
    "busy": ("national_platform_unavailable", ATTEMPTS),
    "cut": ("national_platform_unavailable", ATTEMPTS),
    "garbage": ("national_platform_unusable", 1),
    "too_large": ("national_platform_unusable", 1),
    "redirect": ("national_platform_unusable", 1),
    "other_format": ("national_platform_unusable", 1),
    "too_many": ("national_platform_unusable", 1),
    "refused": ("national_platform_unusable", 1),
}


@pytest.fixture
def counterpart() -> Iterator[Counterpart]:
    server = Counterpart()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.socket.close()  # not server_close(): it would wait for the slow answers


def ask(url: str, *, registrations: bool = False) -> Answer:
    async def run() -> Answer:
        platform = HttpPlatform(url, seconds=SECONDS, attempts=ATTEMPTS, answer_bytes=1024 * 1024, pause_seconds=0.02)
        try:
            if registrations:
                return await platform.registrations("王建国", "210102198001010011", NAME)
            return await platform.qualifications(USCC, NAME)
        finally:
            await platform.close()

    return asyncio.run(run())


def test_both_agree_on_the_format(counterpart: Counterpart) -> None:
    answer = ask(counterpart.url)
    again = ask(counterpart.url + "/")
    assert answer.rows == again.rows
    assert answer.sha256 == again.sha256
    assert len(answer.sha256) == len(hashlib.sha256().hexdigest())
    listing = takeover.qualifications(answer, catalogue.load(), USCC)
    assert listing.rows
    assert not listing.faults
    found = takeover.registrations(ask(counterpart.url, registrations=True), catalogue.load(), "王建国")
    assert found.rows
    assert not found.faults


def test_every_fault_is_told() -> None:
    assert {*TOLD, "wrong_rows"} == set(FAULTS)


@pytest.mark.parametrize("fault", TOLD)
def test_a_fault_ends_in_time_with_its_code(counterpart: Counterpart, fault: str) -> None:
    counterpart.fail(fault)
    began = time.monotonic()
    with pytest.raises(YunkuError) as refused:
        ask(counterpart.url)
    code, asked = TOLD[fault]
    assert (refused.value.code, counterpart.asked) == (code, asked)
    assert time.monotonic() - began < ATTEMPTS * SECONDS + 3
    if fault == "busy":
        assert refused.value.params == {"retry_after": "77"}


@pytest.mark.parametrize("fault", [fault for fault, (_, asked) in TOLD.items() if asked == ATTEMPTS])
def test_what_passes_is_tried_again(counterpart: Counterpart, fault: str) -> None:
    counterpart.fail(fault, ATTEMPTS - 1)
    assert ask(counterpart.url).rows
    assert counterpart.asked == ATTEMPTS


def test_wrong_rows_take_nothing_from_the_good_ones(counterpart: Counterpart) -> None:
    good = takeover.qualifications(ask(counterpart.url), catalogue.load(), USCC).rows
    counterpart.fail("wrong_rows")
    listing = takeover.qualifications(ask(counterpart.url), catalogue.load(), USCC)
    assert listing.rows == good
    assert [fault.reason for fault in listing.faults] == [
        "row_malformed",
        "row_malformed",
        "row_repeated",
        "not_holders",
        "certificate_unknown",
        "row_malformed",
        "value_unusable",
    ]


def test_nobody_there_and_nobody_named(counterpart: Counterpart) -> None:
    with pytest.raises(YunkuError, match="national_platform_unavailable"):
        ask("http://127.0.0.1:1")
    with pytest.raises(YunkuError, match="national_platform_not_set"):
        ask("")


def test_a_slow_platform_can_hold_a_bounded_number_of_calls(counterpart: Counterpart) -> None:
    counterpart.fail("slow")

    async def run() -> list[str]:
        platform = HttpPlatform(counterpart.url, seconds=SECONDS, attempts=1, answer_bytes=1024)
        began = time.monotonic()

        async def one() -> tuple[str, float]:
            try:
                await platform.qualifications(USCC, NAME)
            except YunkuError as refused:
                return refused.code, time.monotonic() - began
            return "answered", 0.0

        told = await asyncio.gather(*(one() for _ in range(40)))
        await platform.close()
        # Those that found no room were refused long before the others gave up, however loaded the machine is.
        ends = sorted(after for _, after in told)
        assert ends[-1] - ends[19] > SECONDS / 2
        return [code for code, _ in told]

    assert set(asyncio.run(run())) == {"national_platform_unavailable"}


def test_numbers_travel_in_the_open_in_development_alone() -> None:
    plain = {"YUNKU_NATIONAL_PLATFORM_URL": "http://platform.example"}
    assert Settings.load({**plain, "YUNKU_PROFILE": "development"}, service="certificate").national_platform_url
    with pytest.raises(Exception, match="YUNKU_NATIONAL_PLATFORM_URL"):
        Settings.load(plain, service="certificate")
    assert Settings.load({"YUNKU_NATIONAL_PLATFORM_URL": "https://platform.example"}, service="certificate").national_platform_url
    assert Settings.load({}, service="certificate").national_platform_url == ""
