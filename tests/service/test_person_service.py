"""Persons over gRPC on the running services: the race for one person, repeated commands, and what stands in the database."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from yunku.subject.v1 import persons_pb2, service_pb2

from infra.testing import RunningSuite
from kernel.context import Caller
from kernel.errors import YunkuError
from kernel.ids import uuid7
from kernel.values.codes import id_check_digit
from tests.service.identity_kit import Client

SERVICE = Caller(kind="service", id="verify")


def fresh_number() -> str:
    number = f"21{secrets.randbelow(10_000):04}19900307{secrets.randbelow(500) * 2 + 1:03}"
    return number + id_check_digit(number)


def company() -> Caller:
    return Caller(kind="account", id=str(uuid7()), subject_id=str(uuid7()), subject_type="BIDDER")


@pytest.fixture
async def client(suite: RunningSuite) -> AsyncIterator[Client]:
    made = Client(suite)
    yield made
    await made.close()


async def bind(client: Client, caller: Caller, number: str, key: str | None = None, **more: Any) -> service_pb2.BindPersonResponse:
    request = service_pb2.BindPersonRequest(number=number, name="王建国", source="typed", **more)
    with client.calling(caller, key):
        return await client.subject.BindPerson(request)


def stored(suite: RunningSuite, person_id: str) -> list[tuple[str, bytes]]:
    with psycopg.connect(suite.home.database_url("subject")) as connection:
        rows = connection.execute("SELECT type, payload FROM events WHERE stream_id = %s ORDER BY version", (person_id,))
        return [(name.rsplit(".", 1)[-1], bytes(payload)) for name, payload in rows]


async def test_of_twenty_companies_that_bind_one_person_at_once_exactly_one_does(client: Client, suite: RunningSuite) -> None:
    number, callers = fresh_number(), [company() for _ in range(20)]
    answers = await asyncio.gather(*(bind(client, one, number) for one in callers), return_exceptions=True)
    won = [answer for answer in answers if isinstance(answer, service_pb2.BindPersonResponse)]
    lost = [answer for answer in answers if isinstance(answer, YunkuError)]
    assert (len(won), [one.code for one in lost]) == (1, ["person_bound_elsewhere"] * 19)
    holder = callers[answers.index(won[0])]
    assert all(holder.subject_id not in str((one.params, one.errors)) for one in lost)
    person_id = won[0].person.id
    assert [name for name, _ in stored(suite, person_id)] == ["PersonBound"]
    for caller in callers:
        with client.calling(SERVICE):
            checked = await client.subject.CheckPerson(service_pb2.CheckPersonRequest(person_id=person_id, subject_id=caller.subject_id))
        assert checked.bound == (caller is holder)


async def test_binding_and_unbinding_at_once_leaves_one_holder_or_none(client: Client, suite: RunningSuite) -> None:
    number, first = fresh_number(), company()
    person_id = (await bind(client, first, number)).person.id
    others = [company() for _ in range(8)]

    async def unbind() -> None:
        with client.calling(first):
            await client.subject.UnbindPerson(service_pb2.UnbindPersonRequest(person_id=person_id))

    answers = await asyncio.gather(unbind(), *(bind(client, one, number) for one in others), return_exceptions=True)
    assert answers[0] is None
    won = [answer for answer in answers[1:] if isinstance(answer, service_pb2.BindPersonResponse)]
    assert len(won) <= 1
    assert [name for name, _ in stored(suite, person_id)] == ["PersonBound", "PersonUnbound"] + ["PersonBound"] * len(won)


async def test_a_repeated_command_gets_its_first_answer_and_the_number_stands_nowhere(client: Client, suite: RunningSuite) -> None:
    number, caller, key = fresh_number(), company(), str(uuid7())
    asked: dict[str, Any] = {"phone": "13912345678", "position": "项目经理"}
    answers = await asyncio.gather(*(bind(client, caller, number, key, **asked) for _ in range(10)))
    assert all(answer == answers[0] for answer in answers)
    person = answers[0].person
    assert (person.number, person.phone, person.revision) == (number, "13912345678", 1)
    with client.calling(caller):
        await client.subject.UnbindPerson(service_pb2.UnbindPersonRequest(person_id=person.id))
    assert await bind(client, caller, number, key, **asked) == answers[0]
    secrets_ = [number.encode(), b"13912345678", "王建国".encode()]
    with psycopg.connect(suite.home.database_url("subject")) as connection:
        kept = [bytes(row[0]) for row in connection.execute("SELECT response FROM commands WHERE caller_id = %s", (caller.id,))]
        rows = connection.execute("SELECT person FROM persons WHERE person_id = %s", (person.id,)).fetchall()
    everywhere = [payload for _, payload in stored(suite, person.id)] + kept + [bytes(row[0]) for row in rows]
    assert len(everywhere) >= 4
    assert not any(secret in text for secret in secrets_ for text in everywhere)


async def test_services_are_told_what_agrees_and_never_what_it_is(client: Client) -> None:
    number, caller = fresh_number(), company()
    person_id = (await bind(client, caller, number)).person.id
    statements = [
        service_pb2.PersonStatement(field="id_no", kind="person_id", value=number),
        service_pb2.PersonStatement(field="name", kind="person_name", value="王建国"),
        service_pb2.PersonStatement(field="other", kind="person_name", value="王建军"),
        service_pb2.PersonStatement(field="strange", kind="phone", value=""),
    ]
    request = service_pb2.CheckPersonRequest(person_id=person_id, subject_id=caller.subject_id, statements=statements)
    with client.calling(SERVICE):
        checked = await client.subject.CheckPerson(request)
        found = await client.subject.FindPersons(service_pb2.FindPersonsRequest(subject_id=caller.subject_id, name="王建国"))
        nobody = await client.subject.FindPersons(service_pb2.FindPersonsRequest(subject_id=caller.subject_id, name="王建"))
        by_number = await client.subject.FindPersons(service_pb2.FindPersonsRequest(subject_id=caller.subject_id, number=f" {number} "))
        strangers = await client.subject.FindPersons(service_pb2.FindPersonsRequest(subject_id=str(uuid7()), number=number))
        unknown = await client.subject.FindPersons(service_pb2.FindPersonsRequest(subject_id=caller.subject_id, number=number[:-4]))
    assert (checked.bound, list(checked.agreeing)) == (True, ["id_no", "name"])
    assert [(one.person_id, one.bound) for one in found.persons] == [(person_id, True)]
    assert by_number == found
    assert [len(one.persons) for one in (nobody, strangers, unknown)] == [0, 0, 0]
    request.subject_id = str(uuid7())
    with client.calling(SERVICE):
        assert await client.subject.CheckPerson(request) == service_pb2.CheckPersonResponse()
    with client.calling(caller):
        for refused in (
            client.subject.CheckPerson(request),
            client.subject.FindPersons(service_pb2.FindPersonsRequest(subject_id=caller.subject_id, name="王建国")),
        ):
            with pytest.raises(YunkuError) as told:
                await refused
            assert told.value.code == "not_found"


async def test_pages_stay_right_while_persons_are_added(client: Client) -> None:
    caller = company()
    made = [(await bind(client, caller, fresh_number())).person.id for _ in range(5)]
    seen: list[str] = []
    cursor = ""
    while True:
        with client.calling(caller):
            page = await client.subject.ListPersons(service_pb2.ListPersonsRequest(limit=2, cursor=cursor))
        seen += [one.id for one in page.items]
        await bind(client, caller, fresh_number())
        cursor = page.next_cursor
        if not cursor:
            break
    assert seen == made[::-1]
    assert isinstance(page.items[0], persons_pb2.Person)
