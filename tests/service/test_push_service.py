"""Pushes on the running services: domains' systems are ordinary NATS clients with their own credentials and nothing else."""

import asyncio
import json
import os
import shutil
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any

import nats
import nats.js.errors
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool
from yunku.push.v1 import events_pb2, service_pb2

from infra.testing import RunningSuite, running_suite
from kernel.context import Caller, system_context
from kernel.errors import YunkuError
from kernel.eventlog.store import EventLog
from kernel.ids import derived, uuid7
from kernel.nats_accounts import load_key
from services.push.projections import DOMAIN, TYPES
from tests.service import identity_kit
from tests.service.push_kit import (
    GREEN,
    ID_NUMBER,
    PHONE,
    YELLOW,
    Connected,
    DomainSystem,
    Pushed,
    Registry,
    administrator,
    eventually,
    reviewer,
)

SERVICES = "subject,identity,certificate,push"


@pytest.fixture(scope="module")
def suite() -> Iterator[RunningSuite]:
    """The services that pushing takes; tests may kill them and must leave them running."""
    with running_suite(SERVICES) as running:
        yield running


@pytest.fixture
async def registry(suite: RunningSuite) -> AsyncIterator[Registry]:
    async with Registry(suite) as made:
        yield made


def refused(code: str, pointer: str = "") -> Any:
    def matches(error: YunkuError) -> bool:
        return error.code == code and (not pointer or [one.pointer for one in error.errors] == [pointer])

    return pytest.raises(YunkuError, check=matches)


async def refusal(system: Connected) -> tuple[str, str | None]:
    """(code, push id) of the next refusal that the domain is told."""
    told = await system.receive_of("review.refused")
    return told["data"]["code"], told["data"]["push_id"]


def reviewed(registry: Registry, push_id: str) -> events_pb2.Reviewed:
    [payload] = [payload for name, payload in registry.rows_of(push_id) if name == "Reviewed"]
    return events_pb2.Reviewed.FromString(payload)


async def recorded_by_certificate(suite: RunningSuite, pushed: Pushed, last: str) -> list[str]:
    """Waits until the certificate's own history has ``last``, and answers what followed the request."""

    async def look() -> list[str] | None:
        with psycopg.connect(suite.home.database_url("certificate")) as connection:
            rows = connection.execute("SELECT type FROM events WHERE stream_id = %s ORDER BY version", (pushed.certificate_id,)).fetchall()
        names = [name.rsplit(".", 1)[-1] for (name,) in rows]
        return names[3:] if last in names else None

    found: list[str] = await eventually(f"{last} of the certificate", look)
    return found


# ---- there and back -------------------------------------------------------------------------------------------------


async def test_a_push_reaches_the_domains_system_and_its_review_the_certificate(registry: Registry, suite: RunningSuite) -> None:
    domain = await registry.domain()
    async with domain.connected() as system:
        pushed = await registry.push(domain.domain_id, certificate_no=f"T{ID_NUMBER}", phone=PHONE)
        message = await system.receive_message()
        assert message.headers is not None
        assert (message.subject, message.headers["Nats-Msg-Id"]) == (f"push.{domain.domain_id}", pushed.push_id)
        event = json.loads(message.data)
        assert (event["type"], event["id"], event["subject"]) == ("yunku.push.requested", pushed.push_id, pushed.unique_code)
        assert event["data"]["fields"]["company_name"] == {"label": "企业名称", "value": "沈阳鑫恒建设工程有限公司"}
        await registry.until(pushed.push_id, "PushDelivered")
        look = await registry.look(reviewer(domain.domain_id), pushed.push_id)
        assert (look.state, look.delivery) == ("pending", "delivered")
        assert look.waiting_seconds > 0

        await message.ack_sync(timeout=5)
        await registry.until(pushed.push_id, "PushAcknowledged")
        look = await registry.look(reviewer(domain.domain_id), pushed.push_id)
        assert (look.delivery, look.waiting_seconds) == ("acknowledged", 0)

        await system.answer("push.reviewed", push_id=pushed.push_id, decision="rejected", opinion="发证日期不一致")
        events = await registry.until(pushed.push_id, "Reviewed")
        assert events == ["PushOpened", "PushDelivered", "PushAcknowledged", "Reviewed"]
        review = reviewed(registry, pushed.push_id)
        assert (review.decision, review.opinion, review.version) == ("rejected", "发证日期不一致", 3)
        assert (review.channel, review.reviewer_id) == (events_pb2.REVIEW_CHANNEL_SYSTEM, domain.domain_id)
        assert review.subject_id == pushed.subject_id
    names = await recorded_by_certificate(suite, pushed, "ReviewRecorded")
    assert names == ["PushProgressRecorded", "PushProgressRecorded", "ReviewRecorded"]
    # Whole personal numbers are nowhere but in the certificate's own log.
    everything = b"".join(payload for _, payload in registry.rows_of(pushed.push_id)) + message.data + suite.log("push", 10**6).encode()
    assert ID_NUMBER.encode() not in everything
    assert PHONE.encode() not in everything


async def test_the_domains_system_may_acknowledge_by_event_and_answer_with_the_data_alone(registry: Registry) -> None:
    domain = await registry.domain()
    async with domain.connected() as system:
        live = await system.client.subscribe(f"push.{domain.domain_id}")  # no durable: nothing is ever acknowledged on the stream
        await system.client.flush()
        pushed = await registry.push(domain.domain_id)
        assert json.loads((await live.next_msg(timeout=30)).data)["id"] == pushed.push_id
        await system.answer("push.acknowledged", push_id=pushed.push_id)
        await registry.until(pushed.push_id, "PushAcknowledged")
        await system.publish(json.dumps({"push_id": pushed.push_id, "decision": "approved"}).encode())
        await registry.until(pushed.push_id, "Reviewed")
        assert reviewed(registry, pushed.push_id).decision == "approved"
        # Who decides has it, also without having said so.
        silent = await registry.push(domain.domain_id)
        await live.next_msg(timeout=30)
        await registry.until(silent.push_id, "PushDelivered")
        await system.answer("push.reviewed", push_id=silent.push_id, decision="approved")
        events = await registry.until(silent.push_id, "Reviewed")
        assert events == ["PushOpened", "PushDelivered", "PushAcknowledged", "Reviewed"]


async def test_green_of_an_automatic_type_is_approved_by_rule_and_nothing_else(registry: Registry) -> None:
    domain = await registry.domain(automatic=("business_license",))
    async with domain.connected() as system:
        green = await registry.push(domain.domain_id, light=GREEN)
        yellow = await registry.push(domain.domain_id, light=YELLOW)
        other = await registry.push(domain.domain_id, light=GREEN, type_code="construction_qualification")
        assert await registry.until(green.push_id, "Reviewed") == ["PushOpened", "PushDelivered", "Reviewed"]
        review = reviewed(registry, green.push_id)
        assert (review.decision, review.channel, review.version) == ("approved", events_pb2.REVIEW_CHANNEL_RULE, 3)
        told = {}
        for _ in range(4):
            event = await system.receive()
            told[event["data"]["push_id"], event["type"]] = event["data"]
        assert told[green.push_id, "yunku.push.requested"]["review"] == "automatic"
        assert told[green.push_id, "yunku.push.decided"]["channel"] == "RULE"
        for one in (yellow, other):
            assert told[one.push_id, "yunku.push.requested"]["review"] == "manual"
            assert "Reviewed" not in await registry.until(one.push_id, "PushDelivered")


async def test_a_change_of_a_domains_rules_is_for_later_pushes(registry: Registry) -> None:
    domain = await registry.domain()
    before = await registry.push(domain.domain_id, light=GREEN)
    await registry.until(before.push_id, "PushOpened")
    with registry.calling(administrator()):
        changed = await registry.stub.ChangeDomain(
            service_pb2.ChangeDomainRequest(id=domain.domain_id, name="测试领域", automatic_types=["business_license"], expected_version=1)
        )
    assert (changed.domain.version, list(changed.domain.automatic_types)) == (2, ["business_license"])
    after = await registry.push(domain.domain_id, light=GREEN)
    await registry.until(after.push_id, "Reviewed")
    assert reviewed(registry, after.push_id).channel == events_pb2.REVIEW_CHANNEL_RULE
    assert "Reviewed" not in await registry.until(before.push_id, "PushDelivered")
    for nobody in (reviewer(domain.domain_id), Caller("account", "a", roles=(("AUDITOR", ""),)), Caller("service", "gateway")):
        with registry.calling(nobody), refused("role_missing"):
            await registry.stub.ChangeDomain(service_pb2.ChangeDomainRequest(id=domain.domain_id, name="x"))


# ---- what a domain may not do ----------------------------------------------------------------------------------------


async def test_a_domains_system_sees_and_changes_nothing_but_its_own(registry: Registry) -> None:
    east, west = await registry.domain(), await registry.domain()
    async with east.connected() as system, west.connected() as neighbour:
        for subject in (">", "yunku.>", f"push.{west.domain_id}", f"review.{east.domain_id}", "$SYS.>"):
            east.refusals.clear()
            await system.client.subscribe(subject)
            await system.client.flush()
            await _refusal_said(east, subject)
        own, others = f"push.{east.domain_id}", f"review.{west.domain_id}"
        for subject in (own, others, "$JS.API.STREAM.PURGE.PUSHES", "$JS.API.STREAM.DELETE.REVIEWS"):
            east.refusals.clear()
            await system.client.publish(subject, b"{}")
            await system.client.flush()
            await _refusal_said(east, subject)
        pushed = await registry.push(west.domain_id)
        assert (await neighbour.receive())["id"] == pushed.push_id
        assert await system.nothing_waits()


async def _refusal_said(system: DomainSystem, subject: str) -> None:
    async def said() -> bool:
        return any("permissions violation" in one.lower() and subject.lower() in one.lower() for one in system.refusals)

    await eventually(f"refusal of {subject}", said)


async def test_a_review_of_another_domains_push_changes_nothing_and_is_told_to_the_forger(registry: Registry) -> None:
    east, west = await registry.domain(), await registry.domain()
    async with east.connected() as owner, west.connected() as forger:
        pushed = await registry.push(east.domain_id)
        await owner.receive()
        before = registry.events_of(pushed.push_id)
        await forger.answer("push.reviewed", push_id=pushed.push_id, decision="approved", opinion="")
        assert await refusal(forger) == ("not_found", pushed.push_id)
        await forger.answer("push.acknowledged", push_id=pushed.push_id)
        assert await refusal(forger) == ("not_found", pushed.push_id)
        # Nor can it reach other streams of the log, such as its neighbour's registration.
        await forger.answer("push.reviewed", push_id=str(derived("domain", east.domain_id)), decision="approved")
        assert (await refusal(forger))[0] == "not_found"
        assert "Reviewed" not in registry.events_of(pushed.push_id)
        assert set(before) >= {"PushOpened"}
        await owner.answer("push.reviewed", push_id=pushed.push_id, decision="approved")
        await registry.until(pushed.push_id, "Reviewed")
        assert reviewed(registry, pushed.push_id).reviewer_id == east.domain_id


async def test_an_answer_takes_effect_once_and_a_second_decision_is_refused(registry: Registry) -> None:
    domain = await registry.domain()
    async with domain.connected() as system:
        pushed = await registry.push(domain.domain_id)
        await system.receive()
        for _ in range(3):
            await system.answer("push.reviewed", event_id="answer-1", push_id=pushed.push_id, decision="approved", opinion="同意")
        await system.answer("push.reviewed", event_id="answer-1", push_id=pushed.push_id, decision="rejected", opinion="改主意了")
        assert await refusal(system) == ("idempotency_key_reused", pushed.push_id)
        await system.answer("push.reviewed", event_id="answer-2", push_id=pushed.push_id, decision="rejected", opinion="改主意了")
        assert await refusal(system) == ("push_not_pending", pushed.push_id)
        with refused("push_not_pending"):
            await registry.review(reviewer(domain.domain_id), pushed.push_id, "rejected", "也晚了")
        assert registry.events_of(pushed.push_id).count("Reviewed") == 1
        assert reviewed(registry, pushed.push_id).decision == "approved"
        assert await system.nothing_waits()


async def test_answers_that_are_none_are_refused_visibly_and_block_nothing(registry: Registry, suite: RunningSuite) -> None:
    domain = await registry.domain()
    async with domain.connected() as system:
        pushed = await registry.push(domain.domain_id)
        await system.receive()
        bad: list[tuple[bytes, str]] = [
            (b"not json", "request_malformed"),
            (b"[" * 30_000 + b"]" * 30_000, "request_malformed"),
            (b"\xff\x00\xfe", "request_malformed"),
            (b'{"specversion":"1.0","type":"yunku.push.reviewed"}', "request_malformed"),
            (b" " * (64 * 1024 + 1), "too_large"),
            (b"x" * 1_000_000, "too_large"),
            (_review(pushed.push_id, decision="maybe"), "decision_invalid"),
            (_review(pushed.push_id, decision="rejected"), "opinion_required"),
            (_review(pushed.push_id, opinion="x" * 2001), "value_too_long"),
            (_review(pushed.push_id, opinion="a\x00b"), "value_invalid"),
            (_review("x" * 20), "not_found"),
            (_review(str(uuid7())), "not_found"),
        ]
        for body, _ in bad:
            await system.publish(body)
        await system.publish(_review(pushed.push_id, opinion="好"))
        await registry.until(pushed.push_id, "Reviewed")
        assert reviewed(registry, pushed.push_id).opinion == "好"
        told = [(await refusal(system))[0] for _ in bad]
        assert sorted(told) == sorted(code for _, code in bad)
        metrics = await asyncio.to_thread(_metrics, suite)
        assert f'yunku_domain_answers_total{{domain="{domain.domain_id}",outcome="too_large"}} 2.0' in metrics
        assert f'yunku_domain_answers_total{{domain="{domain.domain_id}",outcome="taken"}} 1.0' in metrics
    look = await registry.look(reviewer(domain.domain_id), pushed.push_id)
    assert (look.state, look.opinion, look.channel) == ("approved", "好", "SYSTEM")


def _review(push_id: str, decision: str = "approved", opinion: str = "") -> bytes:
    return json.dumps({"push_id": push_id, "decision": decision, "opinion": opinion}).encode()


def _metrics(suite: RunningSuite) -> str:
    with urllib.request.urlopen(suite.state["urls"]["ops_push"] + "/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


# ---- reviewers -------------------------------------------------------------------------------------------------------


async def test_a_reviewer_decides_for_its_domain_only(registry: Registry) -> None:
    east, west = await registry.domain(), await registry.domain()
    pushed = await registry.push(east.domain_id)
    await registry.until(pushed.push_id, "PushDelivered")
    strangers = [reviewer(west.domain_id), reviewer("")]
    for caller in strangers:
        with refused("not_found"):
            await registry.review(caller, pushed.push_id, "approved")
        with refused("not_found"):
            await registry.look(caller, pushed.push_id)
    for caller in (Caller("account", str(uuid7())), administrator(), Caller("account", "a", roles=(("AUDITOR", ""),))):
        with refused("role_missing"):
            await registry.review(caller, pushed.push_id, "approved")
    for nothing in ("", "x", str(uuid7()), str(derived("domain", east.domain_id))):
        with refused("not_found"):
            await registry.review(reviewer(east.domain_id), nothing, "approved")
    with refused("opinion_required", "/opinion"):
        await registry.review(reviewer(east.domain_id), pushed.push_id, "rejected")
    with refused("decision_invalid", "/decision"):
        await registry.review(reviewer(east.domain_id), pushed.push_id, "yes")
    person, key = reviewer(east.domain_id), str(uuid7())
    push = await registry.review(person, pushed.push_id, "rejected", "不符", key)
    assert (push.state, push.opinion, push.reviewer_id, push.channel, push.version) == ("rejected", "不符", person.id, "REVIEWER", 3)
    assert await registry.review(person, pushed.push_id, "rejected", "不符", key) == push
    with refused("push_not_pending"):
        await registry.review(person, pushed.push_id, "approved")
    assert registry.events_of(pushed.push_id).count("Reviewed") == 1
    async with east.connected() as system:
        told = await system.receive_of("push.decided", pushed.push_id)
    assert (told["data"]["decision"], told["data"]["channel"]) == ("rejected", "REVIEWER")


async def test_nobody_reviews_a_company_of_his_own(registry: Registry, suite: RunningSuite) -> None:
    domain = await registry.domain()
    identity = identity_kit.Client(suite)
    try:
        account = await identity.register(identity_kit.fresh_phone())
        company = await identity.register_subject(Caller("account", account), identity_kit.fresh_uscc())
    finally:
        await identity.close()

    async def known() -> bool:
        with psycopg.connect(suite.home.database_url("push")) as connection:
            rows = connection.execute("SELECT subject_id FROM memberships WHERE account_id = %s", (account,)).fetchall()
        return rows == [(company.id,)]

    await eventually("the membership", known)
    pushed = await registry.push(domain.domain_id, subject_id=company.id)
    await registry.until(pushed.push_id, "PushDelivered")
    # As member, acting for nobody at the moment; and acting for the company, however that came about.
    for caller in (Caller("account", account, roles=(("REVIEWER", domain.domain_id),)), reviewer(domain.domain_id, subject_id=company.id)):
        with refused("reviewer_of_company"):
            await registry.review(caller, pushed.push_id, "approved")
    await registry.review(reviewer(domain.domain_id), pushed.push_id, "approved")


async def test_two_deciding_at_once_leave_one_decision(registry: Registry) -> None:
    domain = await registry.domain()
    pushed = await registry.push(domain.domain_id)
    await registry.until(pushed.push_id, "PushDelivered")
    async with domain.connected() as system:
        people = [registry.review(reviewer(domain.domain_id), pushed.push_id, "rejected", f"意见{n}") for n in range(8)]
        answers = await asyncio.gather(
            *people,
            *(system.answer("push.reviewed", push_id=pushed.push_id, decision="approved") for _ in range(4)),
            return_exceptions=True,
        )
        codes = {answer.code for answer in answers if isinstance(answer, YunkuError)}
        assert codes <= {"push_not_pending"}
        refused_systems = 4 - (reviewed(registry, pushed.push_id).channel == events_pb2.REVIEW_CHANNEL_SYSTEM)
        for _ in range(refused_systems):
            assert await refusal(system) == ("push_not_pending", pushed.push_id)
    assert registry.events_of(pushed.push_id).count("Reviewed") == 1


async def test_lists_show_a_domains_pushes_page_by_page(registry: Registry) -> None:
    domain, other = await registry.domain(), await registry.domain()
    made = [(await registry.push(domain.domain_id)).push_id for _ in range(5)]
    elsewhere = (await registry.push(other.domain_id)).push_id
    for push_id in (*made, elsewhere):
        await registry.until(push_id, "PushOpened")
    await registry.review(reviewer(domain.domain_id), made[2], "approved")

    async def listed(caller: Caller, state: str = "", limit: int = 2) -> list[str]:
        found, cursor = [], ""
        while True:
            with registry.calling(caller):
                page = await registry.stub.ListReviews(service_pb2.ListReviewsRequest(state=state, limit=limit, cursor=cursor))
            assert len(page.items) <= limit
            found += [item.id for item in page.items]
            cursor = page.next_cursor
            if not cursor:
                return found

    person = reviewer(domain.domain_id)
    assert await listed(person, "pending") == [one for one in made if one != made[2]]
    assert await listed(person) == made[::-1]
    assert await listed(person, "approved") == [made[2]]
    assert await listed(person, "withdrawn") == []
    assert sorted(await listed(reviewer(domain.domain_id, other.domain_id), "pending", 100)) == sorted({*made, elsewhere} - {made[2]})
    assert {*made, elsewhere} <= set(await listed(Caller("account", "a", roles=(("AUDITOR", ""),)), limit=200))
    for state, cursor, code in (("x", "", "value_invalid"), ("", "x", "cursor_invalid")):
        with registry.calling(person), refused(code):
            await registry.stub.ListReviews(service_pb2.ListReviewsRequest(state=state, cursor=cursor))
    for nobody in (Caller("account", "a"), Caller("service", "gateway")):
        with registry.calling(nobody), refused("role_missing"):
            await registry.stub.ListReviews(service_pb2.ListReviewsRequest())


# ---- reasons and appeals ---------------------------------------------------------------------------------------------


async def test_a_rejection_with_reasons_is_appealed_and_overturned_by_another(registry: Registry, suite: RunningSuite) -> None:
    domain = await registry.domain()
    pushed = await registry.push(domain.domain_id)
    await registry.until(pushed.push_id, "PushDelivered")
    first, second, stranger = reviewer(domain.domain_id), reviewer(domain.domain_id), reviewer("another")
    with refused("push_not_rejected"):
        await registry.appeal(pushed)
    with refused("field_unknown", "/reasons/0/field"):
        await registry.review(first, pushed.push_id, "rejected", "不符", reasons={"no_such_field": "x"})
    push = await registry.review(first, pushed.push_id, "rejected", "不符", reasons={"company_name": "与章不一致"})
    assert [(one.field, one.text) for one in push.reasons] == [("company_name", "与章不一致")]
    with refused("appeal_not_pending"):
        await registry.answer_appeal(second, pushed.push_id, "overturned")
    with refused("not_found"):
        await registry.appeal(pushed, subject_id=str(uuid7()))
    push = await registry.appeal(pushed, f"公章清晰，电话{PHONE}")
    assert (push.state, push.appeal.state, push.appeal.grounds) == ("rejected", "pending", "公章清晰，电话139****5678")
    with refused("appeal_exists"):
        await registry.appeal(pushed)
    with refused("appeal_same_reviewer"):
        await registry.answer_appeal(first, pushed.push_id, "upheld")
    with refused("not_found"):
        await registry.answer_appeal(stranger, pushed.push_id, "upheld")
    own = Caller("account", str(uuid7()), roles=second.roles, subject_id=pushed.subject_id)
    with refused("reviewer_of_company"):
        await registry.answer_appeal(own, pushed.push_id, "overturned")
    push = await registry.answer_appeal(second, pushed.push_id, "overturned", "属实")
    assert (push.state, push.appeal.state, push.appeal.opinion, push.appeal.reviewer_id) == ("approved", "overturned", "属实", second.id)
    assert await registry.look(first, pushed.push_id) == push
    with refused("appeal_not_pending"):
        await registry.answer_appeal(second, pushed.push_id, "upheld")
    names = await recorded_by_certificate(suite, pushed, "AppealAnswerRecorded")
    assert names[-3:] == ["ReviewRecorded", "AppealRecorded", "AppealAnswerRecorded"]
    async with domain.connected() as system:
        told = await system.receive_of("push.decided", pushed.push_id)
        assert told["data"]["reasons"] == [{"field": "company_name", "text": "与章不一致"}]
        told = await system.receive_of("push.appealed", pushed.push_id)
        assert (told["data"]["opinion"], told["data"]["rejected_by"]) == ("不符", "REVIEWER")
        told = await system.receive_of("push.appeal_decided", pushed.push_id)
        assert (told["data"]["decision"], told["data"]["opinion"]) == ("overturned", "属实")


async def test_a_domains_system_gives_reasons_and_answers_appeals_by_another_of_its_people(registry: Registry) -> None:
    domain = await registry.domain()
    async with domain.connected() as system:
        pushed = await registry.push(domain.domain_id)
        await system.receive()
        rejection: dict[str, Any] = {"push_id": pushed.push_id, "decision": "rejected", "opinion": "不符", "reviewer": "0472"}
        await system.answer("push.reviewed", **rejection, reasons=[{"field": "nothing", "text": "x"}])
        assert await refusal(system) == ("field_unknown", pushed.push_id)
        await system.answer("push.reviewed", **rejection, reasons=[{"field": "uscc"}])
        assert await refusal(system) == ("request_malformed", pushed.push_id)
        await system.answer("push.reviewed", **rejection, reasons=[{"field": "uscc", "text": "模糊"}])
        await registry.until(pushed.push_id, "Reviewed")
        assert [(one.field, one.text) for one in reviewed(registry, pushed.push_id).reasons] == [("uscc", "模糊")]
        await registry.appeal(pushed, "请复核")
        told = await system.receive_of("push.appealed", pushed.push_id)
        assert (told["data"]["grounds"], told["data"]["rejected_by"]) == ("请复核", "SYSTEM")
        answer = {"push_id": pushed.push_id, "decision": "upheld", "opinion": "维持"}
        for same in ({}, {"reviewer": "0472"}):
            await system.answer("push.appeal_answered", **answer, **same)
            assert await refusal(system) == ("appeal_same_reviewer", pushed.push_id)
        await system.answer("push.appeal_answered", **answer, reviewer="0999")
        await registry.until(pushed.push_id, "AppealAnswered")
        push = await registry.look(reviewer(domain.domain_id), pushed.push_id)
        assert (push.state, push.appeal.state, push.appeal.opinion, push.appeal.channel) == ("rejected", "upheld", "维持", "SYSTEM")


# ---- withdrawal ------------------------------------------------------------------------------------------------------


async def test_a_withdrawn_push_is_told_and_can_no_longer_be_reviewed(registry: Registry, suite: RunningSuite) -> None:
    domain = await registry.domain()
    async with domain.connected() as system:
        pushed = await registry.push(domain.domain_id)
        await system.receive()
        await registry.withdraw(pushed)
        told = await system.receive()
        assert (told["type"], told["data"]["push_id"]) == ("yunku.push.withdrawn", pushed.push_id)
        await system.answer("push.reviewed", push_id=pushed.push_id, decision="approved")
        assert await refusal(system) == ("push_not_pending", pushed.push_id)
        with refused("push_not_pending"):
            await registry.review(reviewer(domain.domain_id), pushed.push_id, "approved")
    assert "PushProgressRecorded" in await recorded_by_certificate(suite, pushed, "PushWithdrawalRequested")
    assert (await registry.look(reviewer(domain.domain_id), pushed.push_id)).state == "withdrawn"


async def test_a_withdrawal_after_the_decision_changes_nothing(registry: Registry) -> None:
    domain = await registry.domain()
    decided, marker = await registry.push(domain.domain_id), await registry.push(domain.domain_id)
    await registry.until(decided.push_id, "PushDelivered")
    await registry.review(reviewer(domain.domain_id), decided.push_id, "approved")
    await registry.withdraw(decided)
    await registry.withdraw(marker)  # taken in after it
    await registry.until(marker.push_id, "PushWithdrawn")
    assert "PushWithdrawn" not in registry.events_of(decided.push_id)


# ---- domains ---------------------------------------------------------------------------------------------------------


async def test_domains_are_registered_by_administrators_once(registry: Registry) -> None:
    domain_id = f"d-{uuid7().hex[-12:]}"
    request = service_pb2.RegisterDomainRequest(id=domain_id, name="测试领域", automatic_types=["business_license"])
    for caller in (Caller("account", "a"), reviewer(domain_id), Caller("service", "gateway")):
        with registry.calling(caller), refused("role_missing"):
            await registry.stub.RegisterDomain(request)
    made = []
    for _ in range(2):
        with registry.calling(administrator()):
            made.append(await registry.stub.RegisterDomain(request))
    assert made[0] == made[1]
    assert (made[0].domain.push_subject, made[0].domain.review_subject) == (f"push.{domain_id}", f"review.{domain_id}")
    assert (await asyncio.to_thread(os.stat, made[0].credentials_file)).st_mode & 0o077 == 0
    with registry.calling(administrator()), refused("domain_registered", "/id"):
        await registry.stub.RegisterDomain(service_pb2.RegisterDomainRequest(id=domain_id, name="另一领域"))
    for wrong, code in (("A", "value_invalid"), ("a.b", "value_invalid"), ("../../x", "value_invalid")):
        with registry.calling(administrator()), refused(code, "/id"):
            await registry.stub.RegisterDomain(service_pb2.RegisterDomainRequest(id=wrong, name="领域"))
    with registry.calling(Caller("account", "a")):
        assert (await registry.stub.GetDomain(service_pb2.GetDomainRequest(domain_id=domain_id))).domain == made[0].domain
        assert made[0].domain in (await registry.stub.ListDomains(service_pb2.ListDomainsRequest())).domains
    with registry.calling(Caller("account", "a")), refused("not_found"):
        await registry.stub.GetDomain(service_pb2.GetDomainRequest(domain_id="d-unknown"))


async def test_a_push_to_a_domain_that_isnt_there_yet_waits_visibly_and_arrives(registry: Registry, suite: RunningSuite) -> None:
    domain_id = f"d-{uuid7().hex[-12:]}"
    pushed = await registry.push(domain_id)
    await registry.until(pushed.push_id, "PushOpened")

    async def shown() -> bool:
        metrics = await asyncio.to_thread(_metrics, suite)
        return f'yunku_pushes_waiting{{domain="{domain_id}",stage="delivery"}} 1.0' in metrics and (
            f'yunku_push_oldest_seconds{{domain="{domain_id}",stage="delivery"}} 0.0' not in metrics
        )

    await eventually("the waiting push in the metrics", shown)
    domain = await registry.domain(domain_id)
    async with domain.connected() as system:
        assert (await system.receive())["id"] == pushed.push_id


# ---- what fails ------------------------------------------------------------------------------------------------------


async def test_an_offline_domain_catches_up_in_order(registry: Registry) -> None:
    domain = await registry.domain()
    made = [(await registry.push(domain.domain_id)).push_id for _ in range(20)]
    for push_id in made:
        await registry.until(push_id, "PushDelivered")
    async with domain.connected() as system:
        assert [(await system.receive())["id"] for _ in made] == made
        assert await system.nothing_waits()
    for push_id in made:
        await registry.until(push_id, "PushAcknowledged")


async def test_killed_again_and_again_it_delivers_and_takes_each_once(registry: Registry, suite: RunningSuite) -> None:
    domain = await registry.domain()
    made: list[str] = []
    async with domain.connected() as system:
        for round_ in range(3):
            for push_id in made:  # nobody answers what hasn't arrived
                await registry.until(push_id, "PushDelivered")
            burst = [registry.push(domain.domain_id) for _ in range(10)]
            made += [one.push_id for one in await asyncio.gather(*burst)]
            # What is answered while the service is dead waits in the stream.
            before = suite.kill_process("push")
            if round_:
                await asyncio.gather(
                    *(system.answer("push.reviewed", event_id=one, push_id=one, decision="approved") for one in made[: round_ * 10])
                )
            await _restarted(suite, before)
        for push_id in made:
            await registry.until(push_id, "PushDelivered")
        for push_id in made[:20]:
            await registry.until(push_id, "Reviewed")
        received = [(await system.receive())["id"] for _ in made]
        assert sorted(received) == sorted(made)
        assert await system.nothing_waits()
    for push_id in made:
        events = registry.events_of(push_id)
        assert events.count("PushOpened") == events.count("PushDelivered") == 1
        assert events.count("Reviewed") == (push_id in made[:20])


async def _restarted(suite: RunningSuite, before: int, name: str = "push") -> None:
    async def another() -> bool:
        process = suite.state["processes"][name]
        return process["phase"] == "up" and process["pid"] not in (0, before)

    await eventually("another process", another)


async def test_a_stream_that_was_deleted_or_purged_is_made_and_filled_again(registry: Registry, suite: RunningSuite) -> None:
    domain = await registry.domain()
    taken, waiting = await registry.push(domain.domain_id), await registry.push(domain.domain_id)
    for one in (taken, waiting):
        await registry.until(one.push_id, "PushDelivered")
    async with domain.connected() as system:
        assert (await system.receive())["id"] == taken.push_id
        await registry.until(taken.push_id, "PushAcknowledged")
    keys = suite.nats_keys.domain_directory(domain.domain_id) / "yunku.creds"
    client = await nats.connect(suite.nats_url, user_credentials=str(keys))
    try:
        for stream in ("PUSHES", "REVIEWS"):
            await client.jetstream().delete_stream(stream)

        async def there() -> bool:
            try:
                await client.jetstream().consumer_info("PUSHES", "system")
                return all([(await client.jetstream().stream_info(one)).config.name == one for one in ("PUSHES", "REVIEWS")])
            except nats.js.errors.NotFoundError:
                return False

        await eventually("the streams", there)
    finally:
        await client.close()
    async with domain.connected() as system:
        assert (await system.receive())["id"] == waiting.push_id
        await registry.until(waiting.push_id, "PushAcknowledged")
        assert await system.nothing_waits()
        await system.answer("push.reviewed", push_id=waiting.push_id, decision="approved")
        await registry.until(waiting.push_id, "Reviewed")
    assert registry.events_of(waiting.push_id).count("PushDelivered") == 1


async def test_a_full_stream_holds_deliveries_up_until_the_domain_takes_what_is_there(registry: Registry, suite: RunningSuite) -> None:
    domain = await registry.domain()
    keys = suite.nats_keys.domain_directory(domain.domain_id) / "yunku.creds"
    client = await nats.connect(suite.nats_url, user_credentials=str(keys))
    try:
        info = await client.jetstream().stream_info("PUSHES")
        info.config.max_bytes = 6000  # three pushes or so
        await client.jetstream().update_stream(info.config)
    finally:
        await client.close()
    made = [(await registry.push(domain.domain_id)).push_id for _ in range(8)]
    await registry.until(made[0], "PushDelivered")

    async def retried() -> bool:
        return "delivery put off" in suite.log("push", 10**5)

    await eventually("a delivery put off", retried)
    assert "PushDelivered" not in registry.events_of(made[-1])
    async with domain.connected() as system:
        assert [(await system.receive())["id"] for _ in made] == made
        # Answers are heard while deliveries wait, and the log keeps what the stream let go.
        await system.answer("push.reviewed", push_id=made[-1], decision="approved")
        await registry.until(made[-1], "PushDelivered", "PushAcknowledged", "Reviewed")


async def test_a_lost_server_is_found_again(registry: Registry, suite: RunningSuite) -> None:
    domain = await registry.domain()
    first = await registry.push(domain.domain_id)
    await registry.until(first.push_id, "PushDelivered")
    before = suite.kill_process("nats")
    second = await registry.push(domain.domain_id)
    await _restarted(suite, before, "nats")
    async with domain.connected() as system:
        assert [(await system.receive())["id"] for _ in range(2)] == [first.push_id, second.push_id]
        await system.answer("push.reviewed", push_id=second.push_id, decision="approved")
        await registry.until(second.push_id, "Reviewed")


async def test_a_registration_that_was_cut_short_is_finished(registry: Registry, suite: RunningSuite) -> None:
    domain_id = f"d-{uuid7().hex[-12:]}"
    directory = suite.nats_keys.domain_directory(domain_id)
    before = suite.kill_process("push")
    # What a process leaves that dies after the event and the account's key.
    await asyncio.to_thread(load_key, directory / "account.nk", "account")
    url = suite.environment("push")["YUNKU_DATABASE_URL"]
    async with AsyncConnectionPool(url, min_size=1, max_size=2, open=False, kwargs={"autocommit": True}) as pool:
        event = events_pb2.DomainRegistered(domain_id=domain_id, name="测试领域")
        await EventLog(pool, "push", TYPES).execute(DOMAIN, derived("domain", domain_id), lambda _: [event], system_context("push"))
    await _restarted(suite, before)
    domain = await registry.domain(domain_id)  # the same registration again: nothing new, and it waits for the account
    async with domain.connected() as system:
        pushed = await registry.push(domain_id)
        assert (await system.receive())["id"] == pushed.push_id


async def test_a_second_process_takes_the_links_over(registry: Registry, suite: RunningSuite) -> None:
    domain = await registry.domain()
    environment = {**os.environ, **suite.environment("push"), "YUNKU_GRPC_PORT": "0", "YUNKU_OPS_PORT": "0"}
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.push", env=environment, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        assert second.stderr is not None
        while b"service ready" not in await second.stderr.readline():
            assert second.returncode is None
        draining = asyncio.create_task(second.stderr.read())
        before = suite.kill_process("push")
        async with domain.connected() as system:
            made = [(await registry.push(domain.domain_id)).push_id for _ in range(3)]
            assert [(await system.receive())["id"] for _ in made] == made
            for push_id in made:
                await system.answer("push.reviewed", push_id=push_id, decision="approved")
            await _restarted(suite, before)
            for push_id in made:
                await registry.until(push_id, "Reviewed")
    finally:
        second.terminate()
        assert await second.wait() == 0
        await draining
    async with domain.connected() as system:
        last = await registry.push(domain.domain_id)
        assert (await system.receive_of("push.requested", last.push_id))["id"] == last.push_id


async def test_after_a_wiped_jetstream_directory_what_was_not_taken_is_published_again(suite: RunningSuite) -> None:
    async with Registry(suite) as registry:
        domain = await registry.domain()
        taken, waiting, withdrawn = [await registry.push(domain.domain_id) for _ in range(3)]
        for one in (taken, waiting, withdrawn):
            await registry.until(one.push_id, "PushDelivered")
        async with domain.connected() as system:
            assert (await system.receive())["id"] == taken.push_id
            await registry.until(taken.push_id, "PushAcknowledged")
        await registry.withdraw(withdrawn)
        await registry.until(withdrawn.push_id, "PushWithdrawn")
    await asyncio.to_thread(suite.stop)
    shutil.rmtree(suite.home.nats_dir / "jetstream")
    shutil.rmtree(suite.home.nats_dir / "accounts")
    await asyncio.to_thread(suite.start)
    async with Registry(suite) as registry, domain.connected() as system:
        told = [await system.receive() for _ in range(3)]
        assert [(one["type"], one["data"]["push_id"]) for one in told] == [
            ("yunku.push.requested", waiting.push_id),
            ("yunku.push.requested", withdrawn.push_id),
            ("yunku.push.withdrawn", withdrawn.push_id),
        ]
        await system.answer("push.reviewed", push_id=waiting.push_id, decision="approved")
        await registry.until(waiting.push_id, "Reviewed")
        fresh = await registry.push(domain.domain_id)
        assert (await system.receive())["id"] == fresh.push_id
