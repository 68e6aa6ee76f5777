"""How fast lists are with 1,000,000 certificates in the read model: ``make bench-lists``, or ``python -m tests.bench.bench_lists``.

Fills a real database with synthetic rows of many companies (one holds 120,000), made by the projection's own code, and measures the
service's own query for every shape of list: milliseconds at p50 and p95 beside the limit, and the plan. ``YUNKU_BENCH_ROWS`` sets the rows.
Fails where a p95 is over the limit.
"""

import asyncio
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, timedelta
from functools import cache
from multiprocessing import get_context
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool
from yunku.certificate.v1 import service_pb2, types_pb2

import catalogue
from infra.testing import running_suite
from kernel.context import Caller
from kernel.eventlog.schema import create_tables
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog
from services.certificate import domain, listing, queries, tables
from services.certificate.projections import TYPES, view_of

ROWS: Final = int(os.environ.get("YUNKU_BENCH_ROWS", "1000000"))
#: Shares of the rows: one large company, ten of some size, all others small.
LARGE, MEDIUM = 0.12, 0.02
SMALL_ROWS: Final = 100
#: Milliseconds that any list may take at p95, and how often each is asked for.
LIMIT: Final = 100.0
TIMES: Final = 60
TODAY: Final = date(2026, 11, 28)
BEGUN: Final = datetime(2024, 1, 1, tzinfo=UTC)
SURNAMES, GIVEN = "王李张刘陈杨赵黄周吴徐孙马朱胡郭何高林罗", "建国志强伟东海涛明军丽华文静思远子涵雨桐浩然"
LIGHTS: Final = (types_pb2.LIGHT_GREEN,) * 60 + (types_pb2.LIGHT_YELLOW,) * 25 + (types_pb2.LIGHT_NONE,) * 14 + (types_pb2.LIGHT_RED,)
STATES: Final = ("submitted",) * 80 + ("draft",) * 14 + ("superseded",) * 4 + ("discarded",) * 2


def subject(number: int) -> str:
    return f"0193f000-0000-7000-8000-{number:012}"


def subject_of(chance: float, random_: random.Random) -> str:
    if chance < LARGE:
        return subject(0)
    if chance < LARGE + 10 * MEDIUM:
        return subject(1 + int((chance - LARGE) / MEDIUM))
    return subject(100 + random_.randrange(max(1, int(ROWS * (1 - LARGE - 10 * MEDIUM)) // SMALL_ROWS)))


def certificate(number: int, random_: random.Random) -> service_pb2.Certificate:
    """A certificate as it may be, of any type."""
    kind, fields = random_.choice(_variants())
    made = BEGUN + timedelta(seconds=number * 90)
    view = service_pb2.Certificate(id=str(identity(number)), type=kind.code, state=random_.choice(STATES), light=random_.choice(LIGHTS))
    view.holder.subject_id = subject_of(random_.random(), random_)
    view.holder.uscc, view.holder.name = "91210102MA0YK0015B", "沈阳云库建设有限公司"
    view.fields.update(fields)
    for field in kind.fields:
        if field.type == "certno":
            view.fields[field.name] = f"D{number:09}{random_.randrange(10)}"
            break
    if kind.owner is catalogue.Owner.PERSON:
        view.person_id = subject(10**6 + random_.randrange(ROWS // 20 + 1))
    view.version = random_.randint(1, 9)
    view.created_at.FromDatetime(made)
    view.updated_at.FromDatetime(made + timedelta(seconds=random_.randrange(10**7)))
    if view.state in ("submitted", "superseded"):
        view.unique_code = domain.unique_code(kind.code_letter, view.id)
        view.submitted_at.FromDatetime(made + timedelta(seconds=random_.randrange(10**6)))
        view.seal.seal_id, view.seal.sealed_sha256 = view.id, f"{number:064x}"
        push = view.pushes.add(id=view.id, number=1, domain_id="ln-bidding", state="approved", version=view.version)
        push.pushed_at.CopyFrom(view.submitted_at)
    if kind.documents:
        view.document.sha256, view.document.media_type = f"{number:064x}", "application/pdf"
    shown: service_pb2.Certificate = view_of(domain.State(view))
    return shown


@cache
def _variants() -> list[tuple[catalogue.CertificateType, dict[str, str]]]:
    """Contents of every type, a few hundred of each; the number is each certificate's own."""
    random_ = random.Random(0)
    return [(kind, {field.name: value(field, random_) for field in kind.fields}) for kind in catalogue.load().types for _ in range(300)]


def value(field: catalogue.Field, random_: random.Random) -> str:
    if field.choices:
        return random_.choice(list(field.choices))
    on = TODAY + timedelta(days=random_.randrange(-400, 1500))
    person = random_.choice(SURNAMES) + random_.choice(GIVEN) + random_.choice(GIVEN)
    made = {
        "person": person,
        "certno": f"Z{random_.randrange(10**9)}",
        "date": on.isoformat(),
        "date_or_long": on.isoformat(),
        "period": f"{on - timedelta(days=1000)}/{on}",
        "level": "一级",
        "long": "房屋建筑工程施工总承包及其配套设施的安装",
        "string": f"{random_.choice(('沈阳', '大连', '鞍山', '抚顺'))}市第{random_.randrange(500)}号住宅小区施工工程",
    }
    return made.get(field.type, "1")


def identity(number: int) -> UUID:
    """As UUIDv7 is: rising with time."""
    milliseconds = int((BEGUN + timedelta(seconds=number * 90)).timestamp() * 1000)
    return UUID(int=(milliseconds << 80) | (0x7 << 76) | (0x8 << 60) | number)


def rows(first: int, last: int) -> Iterator[tuple[Any, ...]]:
    random_ = random.Random(first)
    names = [column.name for column in tables.certificates.columns]
    for number in range(first, last):
        view = certificate(number, random_)
        own = {
            "certificate_id": identity(number),
            **listing.columns(view),
            "unique_code": view.unique_code or None,
            "document_sha256": view.document.sha256 or None,
            "document_locked": True,
            # The whole, with its readings and verdicts, is kept out of line.
            "certificate": random_.randbytes(1800),
            "revision": 1,
            "performance_id": None,
            "followed": None,
            "material_slot": None,
        }
        yield tuple(own[name] for name in names)


def fill(url: str, first: int, last: int) -> None:
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in tables.certificates.columns)
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        with cursor.copy(sql.SQL("COPY certificates ({}) FROM STDIN").format(names)) as copy:
            for row in rows(first, last):
                copy.write_row(row)


def prepare(url: str) -> None:
    started = time.monotonic()
    with psycopg.connect(url, autocommit=True) as connection:
        for index in tables.certificates.indexes:
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(str(index.name))))
        # In the order of time, as they would have come.
        steps = list(range(0, ROWS, 25_000))
        with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as workers:
            for done in [workers.submit(fill, url, first, min(ROWS, first + 25_000)) for first in steps]:
                done.result()
        filled = time.monotonic()
        connection.execute("SET maintenance_work_mem = '512MB'")
        create_tables(connection, tables.metadata)
        connection.execute("VACUUM ANALYZE certificates")
        sizes = connection.execute(
            "SELECT pg_size_pretty(pg_table_size('certificates')), pg_size_pretty(pg_indexes_size('certificates')), "
            "pg_size_pretty(pg_relation_size('certificates_by_words'))"
        ).fetchone()
        assert sizes is not None
    print(
        f"{ROWS:,} rows in {filled - started:.0f} s, indexes in {time.monotonic() - filled:.0f} s; "
        f"table {sizes[0]}, indexes {sizes[1]}, of which words {sizes[2]}"
    )


Shape = Callable[[random.Random], service_pb2.ListCertificatesRequest]


def shapes(deep: str, deep_end: str, person: str, code: str) -> dict[str, tuple[str, Shape]]:
    """Every shape of list: whose, and how it is asked for."""
    large, small = subject(0), subject(101)

    def asked(**more: Any) -> Shape:
        return lambda _: service_pb2.ListCertificatesRequest(limit=50, expiring_days=90, **more)

    def number(random_: random.Random) -> service_pb2.ListCertificatesRequest:
        return service_pb2.ListCertificatesRequest(limit=50, q=f"{random_.randrange(ROWS):09}"[:7])

    def name(random_: random.Random) -> service_pb2.ListCertificatesRequest:
        return service_pb2.ListCertificatesRequest(limit=50, q=random_.choice(SURNAMES) + random_.choice(GIVEN) + random_.choice(GIVEN))

    return {
        "first page": (large, asked()),
        "first page, a small company": (small, asked()),
        "200 at once": (large, lambda _: service_pb2.ListCertificatesRequest(limit=200)),
        "deep page (after half of them)": (large, asked(cursor=deep)),
        "deep page by valid_until": (large, asked(cursor=deep_end, sort="valid_until")),
        "by -updated": (large, asked(sort="-updated")),
        "by -submitted": (large, asked(sort="-submitted")),
        "by valid_until": (large, asked(sort="valid_until")),
        "by type": (large, asked(sort="type")),
        "state=draft": (large, asked(state="draft")),
        "state=superseded by submitted": (large, asked(state="superseded", sort="submitted")),
        "light=RED (seldom)": (large, asked(light=types_pb2.LIGHT_RED)),
        "module and light": (large, asked(module="persons", light=types_pb2.LIGHT_YELLOW)),
        "two types": (large, asked(type=["patent", "honour"])),
        "a seldom mixture": (large, asked(type=["patent"], state="draft", light=types_pb2.LIGHT_RED)),
        "a person's": (large, asked(person_id=person)),
        "validity=EXPIRED": (large, asked(validity="EXPIRED")),
        "validity=EXPIRING by valid_until": (large, asked(validity="EXPIRING", sort="valid_until")),
        "validity=NOT_YET": (large, asked(validity="NOT_YET")),
        "search a number's part": (large, number),
        "search a unique code": (large, asked(q=code)),
        "search a person": (large, name),
        "search 沈阳市第 (very many)": (large, asked(q="沈阳市第")),
        "search 住宅小区施工工程 (very many)": (large, asked(q="住宅小区施工工程")),
        "search 王 (one character)": (large, asked(q="王")),
        "search 注册建造师, yellow, by valid_until": (large, asked(q="注册建造师", light=types_pb2.LIGHT_YELLOW, sort="valid_until")),
        "search what isn't there": (large, asked(q="魑魅魍魉")),
        "search 证书, a small company": (small, asked(q="证书")),
    }


async def measure(url: str) -> bool:
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(url, min_size=2, max_size=2, open=False, kwargs={"autocommit": True})
    await pool.open(wait=True)
    log = EventLog(pool, "certificate", TYPES)
    good = True
    async with pool.connection() as connection:
        middle = await one(
            connection,
            "SELECT certificate_id, ends_on, person_id, unique_code FROM (SELECT certificate_id, ends_on, unique_code, item, row_number() "
            "OVER (ORDER BY certificate_id) AS n, count(*) OVER () AS all_ FROM certificates WHERE subject_id = %s) AS own, "
            "LATERAL (SELECT '' AS person_id) AS p WHERE unique_code IS NOT NULL AND n >= all_ / 2 ORDER BY n LIMIT 1",
            subject(0),
        )
        item = await one(connection, "SELECT item FROM certificates WHERE subject_id = %s AND type = 'personal_honour' LIMIT 1", subject(0))
    plain = service_pb2.ListCertificatesRequest(limit=50)
    by_end = service_pb2.ListCertificatesRequest(limit=50, sort="valid_until")
    asked = shapes(
        listing.cursor(plain, subject(0), middle[0], middle[0]),
        listing.cursor(by_end, subject(0), middle[1], middle[0]),
        service_pb2.Certificate.FromString(bytes(item[0])).person_id,
        middle[3],
    )
    print(f"{'list':<44}{'found':>6}{'p50 ms':>9}{'p95 ms':>9}{'limit':>7}   plan")
    for what, (whose, shape) in asked.items():
        random_, caller = random.Random(1), Caller("account", "a", subject_id=whose)
        taken: list[float] = []
        found = 0
        for _ in range(TIMES):
            request = shape(random_)
            started = time.perf_counter()
            answer = await queries.find(log, request, caller)
            taken.append((time.perf_counter() - started) * 1000)
            found = max(found, len(answer.items))
        p50, p95 = statistics.median(taken), sorted(taken)[int(TIMES * 0.95) - 1]
        good = good and p95 <= LIMIT
        async with pool.connection() as connection:
            plan = await explain(connection, shape(random_), whose)
        print(f"{what:<44}{found:>6}{p50:>9.1f}{p95:>9.1f}{LIMIT:>7.0f}   {plan}{'' if p95 <= LIMIT else '   OVER THE LIMIT'}", flush=True)
    await pool.close()
    return good


async def one(connection: Any, query: str, *parameters: Any) -> Any:
    return await (await connection.execute(query, parameters)).fetchone()


async def explain(connection: Any, request: service_pb2.ListCertificatesRequest, whose: str) -> str:
    """The attempt that gave the answer, and its plan in one line: the nodes from the outside in, each with its index and its rows."""
    told: Any = []
    number = 0
    for attempt in listing.attempts(request, whose, TODAY):
        number += 1
        statement, parameters = render(attempt)
        (told,) = await one_of(connection, b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement, parameters)
        if told[0]["Plan"]["Actual Rows"] > listing.limit_of(request):
            break
    parts: list[str] = []
    node: dict[str, Any] | None = told[0]["Plan"]
    while node is not None:
        name = node["Node Type"] + (f" {node['Index Name']}" if "Index Name" in node else "")
        if "Rows Removed by Filter" in node:
            name += f" (-{node['Rows Removed by Filter']:.0f})"
        parts.append(f"{name} {node['Actual Rows']:.0f}")
        node = node.get("Plans", [None])[0]
    return f"{number}. " + " < ".join(parts)


async def one_of(connection: Any, statement: bytes, parameters: Any) -> Any:
    return await (await connection.execute(statement, parameters)).fetchone()


def main() -> None:
    with running_suite("none") as suite, suite.scratch_database("certificate") as (runtime, owner):
        prepare(owner)
        if not asyncio.run(measure(runtime)):
            sys.exit(f"a list is over {LIMIT:.0f} ms")


if __name__ == "__main__":
    main()
