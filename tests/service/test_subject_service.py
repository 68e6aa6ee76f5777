"""Registration of companies, over gRPC on the running services."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from yunku.subject.v1 import service_pb2

from infra.testing import RunningSuite
from kernel.context import Caller
from kernel.errors import YunkuError
from kernel.ids import uuid7
from tests.service.identity_kit import Client, fresh_uscc


def refused(code: str, pointer: str = "") -> Any:
    def matches(error: YunkuError) -> bool:
        return error.code == code and (not pointer or [one.pointer for one in error.errors] == [pointer])

    return pytest.raises(YunkuError, check=matches)


def account(**more: Any) -> Caller:
    return Caller(kind="account", id=str(uuid7()), **more)


@pytest.fixture
async def client(suite: RunningSuite) -> AsyncIterator[Client]:
    made = Client(suite)
    yield made
    await made.close()


def events_of(suite: RunningSuite, subject_id: str) -> list[str]:
    with psycopg.connect(suite.home.database_url("subject")) as connection:
        rows = connection.execute("SELECT type FROM events WHERE stream_id = %s ORDER BY version", (subject_id,))
        return [name.rsplit(".", 1)[-1] for (name,) in rows]


async def test_a_company_is_registered_and_read_by_who_registered_it(client: Client, suite: RunningSuite) -> None:
    caller, uscc = account(), fresh_uscc()
    made = await client.register_subject(caller, uscc.lower(), name=" 沈阳 测试(集团)公司 ", types=["AGENCY", "BIDDER"])
    assert (made.uscc, made.name, list(made.types)) == (uscc, "沈阳测试（集团）公司", ["BIDDER", "AGENCY"])
    assert made.version == 1
    assert made.registered_at.seconds > 0
    with client.calling(caller):
        read = await client.subject.GetSubject(service_pb2.GetSubjectRequest(subject_id=made.id))
    assert read.subject == made
    assert events_of(suite, made.id) == ["SubjectRegistered"]


async def test_a_company_is_seen_by_its_own_by_auditors_and_services_only(client: Client) -> None:
    made = await client.register_subject(account(), fresh_uscc())
    request = service_pb2.GetSubjectRequest(subject_id=made.id)
    seers = [account(subject_id=made.id), Caller("account", str(uuid7()), roles=(("AUDITOR", ""),))]
    for caller in (*seers, Caller("service", "gateway")):
        with client.calling(caller):
            assert (await client.subject.GetSubject(request)).subject == made
    for caller in (account(), account(subject_id=str(uuid7()))):
        with client.calling(caller), refused("not_found"):
            await client.subject.GetSubject(request)
    for nothing in ("", "x", str(uuid7())):
        with client.calling(Caller("service", "gateway")), refused("not_found"):
            await client.subject.GetSubject(service_pb2.GetSubjectRequest(subject_id=nothing))


async def test_one_code_is_registered_once_however_many_try(client: Client, suite: RunningSuite) -> None:
    uscc = fresh_uscc()
    attempts = [client.register_subject(account(), uscc, name=f"第{number}公司") for number in range(20)]
    answers = await asyncio.gather(*attempts, return_exceptions=True)
    made = [answer for answer in answers if isinstance(answer, service_pb2.Subject)]
    codes = [answer.code for answer in answers if isinstance(answer, YunkuError)]
    assert len(made) == 1
    assert codes == ["subject_registered"] * 19
    assert events_of(suite, made[0].id) == ["SubjectRegistered"]


async def test_the_same_command_gets_the_same_answer_also_when_it_comes_twenty_times_at_once(client: Client, suite: RunningSuite) -> None:
    caller, uscc, key = account(), fresh_uscc(), str(uuid7())
    answers = await asyncio.gather(*(client.register_subject(caller, uscc, key=key) for _ in range(20)))
    assert all(answer == answers[0] for answer in answers)
    assert await client.register_subject(caller, uscc, key=key) == answers[0]
    assert events_of(suite, answers[0].id) == ["SubjectRegistered"]
    with refused("idempotency_key_reused"):
        await client.register_subject(caller, uscc, name="另一名称公司", key=key)
    # The same key of another caller is another key.
    with refused("subject_registered"):
        await client.register_subject(account(), uscc, key=key)


async def test_what_is_wrong_is_said_with_its_field_and_changes_nothing(client: Client, suite: RunningSuite) -> None:
    caller, uscc = account(), fresh_uscc()
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"uscc": "9121"}, "uscc_malformed", "/uscc"),
        ({"uscc": fresh_uscc(doubtful=True)}, "uscc_check_digit", "/uscc"),
        ({"name": ""}, "name_malformed", "/name"),
        ({"name": "库" * 201}, "name_malformed", "/name"),
        ({"types": []}, "field_required", "/types"),
        ({"types": ["OWNER"]}, "subject_type_unknown", "/types"),
    ]
    for changes, code, pointer in wrong:
        with refused(code, pointer):
            await client.register_subject(caller, **({"uscc": uscc} | changes))
    with refused("unauthenticated"):
        await client.register_subject(Caller("service", "gateway"), uscc)
    with psycopg.connect(suite.home.database_url("subject")) as connection:
        assert connection.execute("SELECT count(*) FROM subjects WHERE uscc = %s", (uscc,)).fetchone() == (0,)


async def test_a_doubtful_code_is_registered_when_confirmed(client: Client) -> None:
    uscc = fresh_uscc(doubtful=True)
    assert (await client.register_subject(account(), uscc, confirm_uscc=True)).uscc == uscc


async def test_a_company_key_registers_its_own_company_only(client: Client) -> None:
    own = fresh_uscc()
    caller = account(key_uscc=own)
    with refused("certificate_not_holders", "/uscc"):
        await client.register_subject(caller, fresh_uscc())
    assert (await client.register_subject(caller, own)).uscc == own


async def test_a_new_name_keeps_the_former_one(client: Client, suite: RunningSuite) -> None:
    made = await client.register_subject(account(), fresh_uscc(), name="沈阳旧名公司")
    request = service_pb2.RenameSubjectRequest(subject_id=made.id, name="沈阳新名公司")
    own = account(subject_id=made.id, member_role="ADMINISTRATOR")
    with client.calling(account(subject_id=made.id, member_role="OPERATOR")), refused("role_missing"):
        await client.subject.RenameSubject(request)
    with client.calling(own):
        renamed = (await client.subject.RenameSubject(request)).subject
        again = (await client.subject.RenameSubject(request)).subject
    assert (renamed.name, list(renamed.former_names), renamed.version) == ("沈阳新名公司", ["沈阳旧名公司"], 2)
    assert again == renamed
    for other, code in ((account(subject_id=str(uuid7())), "not_found"), (account(), "subject_not_picked")):
        with client.calling(other), refused(code):
            await client.subject.RenameSubject(request)
    assert events_of(suite, made.id) == ["SubjectRegistered", "SubjectRenamed"]


async def test_a_registered_company_survives_kill_9(client: Client, suite: RunningSuite) -> None:
    made = await client.register_subject(account(), fresh_uscc())
    suite.kill_process("subject")
    with client.calling(Caller("service", "gateway")):
        read = await client.subject.GetSubject(service_pb2.GetSubjectRequest(subject_id=made.id), timeout=30)
    assert read.subject == made
    await asyncio.to_thread(suite.wait_ready)
