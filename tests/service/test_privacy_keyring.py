"""Keys of persons in a real database: made once, found, destroyed for good."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from infra.testing import RunningSuite
from kernel.ids import uuid7
from kernel.privacy import Erased, Keyring, NotReadable

MASTER = base64.b64encode(os.urandom(32)).decode()


@pytest.fixture
async def pool(stack: RunningSuite) -> AsyncIterator[AsyncConnectionPool[Any]]:
    with stack.scratch_database("identity") as (url, _):
        async with AsyncConnectionPool(url, kwargs={"autocommit": True}, min_size=1, max_size=8) as opened:
            yield opened


async def test_a_person_gets_one_key_also_when_many_ask_at_once(pool: AsyncConnectionPool[Any]) -> None:
    person = uuid7()
    keys = await asyncio.gather(*(Keyring(pool, MASTER).person(person) for _ in range(20)))
    assert all(key == keys[0] for key in keys)
    value = keys[0].encrypt("张三", "name")
    found = await Keyring(pool, MASTER).find([person, uuid7()])
    assert list(found) == [person]
    assert found[person].decrypt(value, "name") == "张三"


async def test_two_persons_have_two_keys(pool: AsyncConnectionPool[Any]) -> None:
    keyring = Keyring(pool, MASTER)
    one, two = await keyring.person(uuid7()), await keyring.person(uuid7())
    with pytest.raises(NotReadable):
        two.decrypt(one.encrypt("张三", "name"), "name")


async def test_an_erased_key_is_gone_and_no_second_one_takes_its_place(pool: AsyncConnectionPool[Any]) -> None:
    keyring, person = Keyring(pool, MASTER), uuid7()
    await keyring.person(person)
    assert await keyring.erase(person)
    assert not await keyring.erase(person)
    assert not await keyring.erase(uuid7())
    assert await keyring.find([person]) == {}
    with pytest.raises(Erased):
        await keyring.person(person)
    async with pool.connection() as connection:
        row = await (
            await connection.execute("SELECT wrapped_key, erased_at IS NOT NULL FROM person_keys WHERE person_id = %s", (person,))
        ).fetchone()
    assert row == (None, True)


async def test_an_erasure_is_part_of_the_transaction_that_records_it(pool: AsyncConnectionPool[Any]) -> None:
    keyring, person = Keyring(pool, MASTER), uuid7()
    key = await keyring.person(person)

    async def erase_and_fail() -> None:
        async with pool.connection() as connection, connection.transaction():
            await keyring.erase(person, connection)
            await connection.execute("SELECT 1/0")

    with pytest.raises(psycopg.errors.DivisionByZero):
        await erase_and_fail()
    assert await keyring.find([person]) == {person: key}


async def test_another_master_key_opens_nothing(pool: AsyncConnectionPool[Any]) -> None:
    person = uuid7()
    await Keyring(pool, MASTER).person(person)
    with pytest.raises(NotReadable):
        await Keyring(pool, base64.b64encode(os.urandom(32)).decode()).find([person])
