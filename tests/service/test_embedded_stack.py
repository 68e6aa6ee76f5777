"""The embedded servers do what the suite relies on: durable SQL, streams by account, objects that can't be deleted."""

import asyncio
import io
import json
import shutil
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nats
import nats.errors
import nats.js.errors
import psycopg
import pytest
from minio import Minio
from minio.commonconfig import COMPLIANCE
from minio.error import S3Error
from minio.retention import Retention
from nats.aio.client import Client

from infra import nats_accounts
from infra.testing import RunningSuite, running_suite
from kernel import topology


@asynccontextmanager
async def connected(suite: RunningSuite, credentials: Path, refusals: list[str] | None = None) -> AsyncIterator[Client]:
    """A NATS client; what the server refuses it ends up in ``refusals``."""

    async def on_error(error: Exception) -> None:
        if refusals is not None:
            refusals.append(str(error))

    client = await nats.connect(suite.nats_url, user_credentials=str(credentials), error_cb=on_error)
    try:
        yield client
    finally:
        await client.close()


async def refused(client: Client, refusals: list[str], subject: str) -> bool:
    """Whether the server says so when this client publishes to a subject."""
    refusals.clear()
    await client.publish(subject, b"{}")
    await client.flush()
    await asyncio.sleep(0.05)  # the refusal comes as a message of its own
    return any("permissions violation" in text.lower() and subject.lower() in text.lower() for text in refusals)


# ---- PostgreSQL -----------------------------------------------------------------------------------------------------


def test_database_keeps_what_a_service_writes_and_is_durable(stack: RunningSuite) -> None:
    with stack.scratch_database("certificate") as (url, owner_url):
        with psycopg.connect(owner_url) as connection:
            connection.execute("CREATE TABLE note (id int PRIMARY KEY, body text)")
            connection.execute("GRANT SELECT, INSERT ON note TO yunku_certificate")
        with psycopg.connect(url) as connection:
            connection.execute("INSERT INTO note VALUES (1, '云库')")
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT body FROM note").fetchall() == [("云库",)]
            for setting in ("fsync", "full_page_writes", "synchronous_commit", "data_checksums"):
                assert connection.execute(f"SHOW {setting}").fetchone() == ("on",), setting


def test_a_service_cannot_open_another_services_database(stack: RunningSuite) -> None:
    own = stack.environment("certificate")["YUNKU_DATABASE_URL"]
    other = own.rpartition("/")[0] + "/yunku_identity"
    psycopg.connect(own).close()
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(other)


def test_a_service_cannot_make_tables(stack: RunningSuite) -> None:
    with (
        psycopg.connect(stack.environment("certificate")["YUNKU_DATABASE_URL"]) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("CREATE TABLE mine (id int)")


# ---- NATS -----------------------------------------------------------------------------------------------------------


async def test_an_event_goes_from_its_service_to_a_listener(stack: RunningSuite) -> None:
    body = uuid.uuid4().bytes
    async with (
        connected(stack, stack.nats_keys.service_credentials("certificate")) as producer,
        connected(stack, stack.nats_keys.service_credentials("ocr")) as consumer,
    ):
        stream = topology.stream_name("certificate")
        acknowledged = await producer.jetstream().publish(
            topology.event_subject("certificate", "StackTested"), body, stream=stream, timeout=5
        )
        assert acknowledged.stream == stream
        reader = await consumer.jetstream().pull_subscribe_bind(
            durable=topology.durable("ocr", "certificate"), stream=stream
        )
        [message] = await reader.fetch(1, timeout=5)
        assert message.data == body
        await message.ack_sync(timeout=5)


async def test_a_service_may_not_publish_anothers_events_nor_change_streams(stack: RunningSuite) -> None:
    refusals: list[str] = []
    async with connected(stack, stack.nats_keys.service_credentials("ocr"), refusals) as client:
        assert await refused(client, refusals, "yunku.certificate.Submitted")
        assert await refused(client, refusals, "$JS.API.STREAM.DELETE.YUNKU_CERTIFICATE")
        assert await refused(client, refusals, "$JS.API.STREAM.PURGE.YUNKU_OCR")
        assert await refused(client, refusals, "yunku.dead.push.certificate")
        assert not await refused(client, refusals, topology.event_subject("ocr", "StackTested"))


async def test_every_stream_syncs_and_takes_atomic_batches(stack: RunningSuite) -> None:
    async with connected(stack, stack.nats_keys.operator_credentials) as client:
        for name in (*map(topology.stream_name, topology.LOG_SERVICES), topology.DEAD_LETTERS):
            reply = await client.request(f"$JS.API.STREAM.INFO.{name}", b"", timeout=5)
            config = json.loads(reply.data)["config"]
            assert config["storage"] == "file"
            assert config["allow_atomic"] is True
    config_file = (stack.home.nats_dir / "nats.conf").read_text()
    assert "sync_interval: always" in config_file


@pytest.fixture
async def two_domains(stack: RunningSuite) -> list[nats_accounts.DomainCredentials]:
    """Two accounts made while the server runs."""
    return [
        await nats_accounts.create_domain_account(domain, keyring=stack.nats_keys, url=stack.nats_url)
        for domain in ("test-east", "test-west")
    ]


async def test_a_domain_receives_its_pushes_and_answers(
    stack: RunningSuite, two_domains: list[nats_accounts.DomainCredentials]
) -> None:
    east = two_domains[0]
    async with connected(stack, east.yunku) as registry, connected(stack, east.system) as system:
        live = await system.subscribe("push.test-east")
        await system.flush()
        body = json.dumps({"id": str(uuid.uuid4())}).encode()
        await registry.jetstream().publish("push.test-east", body, stream="PUSHES", timeout=5)
        assert (await live.next_msg(timeout=5)).data == body

        stored = await system.jetstream().pull_subscribe_bind(durable=nats_accounts.SYSTEM_DURABLE, stream="PUSHES")
        [message] = await stored.fetch(1, timeout=5)
        assert message.data == body
        await message.ack_sync(timeout=5)
        info = await registry.jetstream().consumer_info("PUSHES", nats_accounts.SYSTEM_DURABLE)
        assert info.ack_floor is not None
        assert info.ack_floor.stream_seq == message.metadata.sequence.stream

        answer = await system.jetstream().publish("review.test-east", b'{"decision":"approved"}', timeout=5)
        assert answer.stream == "REVIEWS"


async def test_a_domain_sees_and_does_nothing_else(
    stack: RunningSuite, two_domains: list[nats_accounts.DomainCredentials]
) -> None:
    east, west = two_domains
    refusals: list[str] = []
    async with (
        connected(stack, west.yunku) as west_registry,
        connected(stack, stack.nats_keys.service_credentials("certificate")) as service,
        connected(stack, east.yunku) as insider,
        connected(stack, east.system, refusals) as system,
    ):
        # Within its account it may neither push to itself, nor read reviews, nor touch streams and consumers.
        for subject in (
            "push.test-east",
            "review.test-west",
            "$JS.API.STREAM.DELETE.PUSHES",
            "$JS.API.STREAM.MSG.GET.REVIEWS",
            "$JS.API.CONSUMER.MSG.NEXT.REVIEWS.yunku",
            "$JS.API.CONSUMER.DELETE.PUSHES.system",
            "$SYS.REQ.CLAIMS.UPDATE",
            "yunku.certificate.Submitted",
        ):
            assert await refused(system, refusals, subject), subject
        for subject in (">", "review.test-east", "yunku.>", "push.*"):
            refusals.clear()
            await system.subscribe(subject)
            await system.flush()
            await asyncio.sleep(0.05)
            assert any("permissions violation" in text.lower() for text in refusals), subject

        # Another account's traffic does not exist for it, even where its user may subscribe to everything.
        everything = await insider.subscribe(">")
        await insider.flush()
        await west_registry.publish("push.test-east", b"of another account")
        await service.publish(topology.event_subject("certificate", "StackTested"), b"of the services")
        await west_registry.flush()
        await service.flush()
        await insider.publish("end.of.test", b"")
        assert (await everything.next_msg(timeout=5)).subject == "end.of.test"


async def test_a_malformed_domain_id_makes_no_account(stack: RunningSuite) -> None:
    for bad in ("", "a.b", "a b", ">", "*", "../x", "A", "x" * 41):
        with pytest.raises(nats_accounts.AccountError):
            await nats_accounts.create_domain_account(bad, keyring=stack.nats_keys, url=stack.nats_url)


async def test_a_user_of_an_unknown_operator_is_refused(stack: RunningSuite, tmp_path: Path) -> None:
    forged = nats_accounts.ensure_keyring(tmp_path / "keys")
    refusals: list[str] = []

    async def on_error(error: Exception) -> None:
        refusals.append(str(error))

    with pytest.raises(nats.errors.Error):
        await nats.connect(
            stack.nats_url,
            user_credentials=str(forged.operator_credentials),
            allow_reconnect=False,
            connect_timeout=5,
            error_cb=on_error,
        )
    assert any("authorization" in text.lower() for text in refusals)


# ---- S3 -------------------------------------------------------------------------------------------------------------


def test_a_locked_object_cannot_be_deleted_or_unlocked(stack: RunningSuite) -> None:
    store, name, body = stack.s3(), f"test/{uuid.uuid4()}", "扫描件".encode()
    until = datetime.now(UTC) + timedelta(days=1)
    written = store.put_object(
        "documents", name, io.BytesIO(body), len(body), retention=Retention(COMPLIANCE, until)
    )
    assert written.version_id
    with pytest.raises(S3Error) as refusal:
        store.remove_object("documents", name, version_id=written.version_id)
    assert refusal.value.code in {"AccessDenied", "ObjectLocked"}
    earlier = Retention(COMPLIANCE, datetime.now(UTC) + timedelta(minutes=1))
    with pytest.raises(S3Error):
        store.set_object_retention("documents", name, earlier, version_id=written.version_id)
    # Overwriting makes a new version; the locked one stays what it was.
    store.put_object("documents", name, io.BytesIO(b"x"), 1)
    assert store.get_object("documents", name, version_id=written.version_id).read() == body


def test_uploads_are_synced_before_they_are_acknowledged(stack: RunningSuite) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.home.ports['weed_filer']}/etc/seaweedfs/filer.conf") as rules:
        assert json.load(rules)["locations"] == [{"locationPrefix": "/buckets/", "fsync": True}]


def test_s3_refuses_a_wrong_key(stack: RunningSuite) -> None:
    stranger = Minio(stack.home.s3_endpoint.removeprefix("http://"), "yunku", "wrong-secret-key", secure=False)
    with pytest.raises(S3Error):
        next(stranger.list_objects("documents"))


# ---- the supervisor -------------------------------------------------------------------------------------------------


@pytest.fixture
def own_stack() -> Iterator[RunningSuite]:
    """Servers that a test may kill and stop."""
    with running_suite("none") as suite:
        yield suite


def test_servers_killed_at_once_come_back_with_what_was_acknowledged(own_stack: RunningSuite) -> None:
    with psycopg.connect(own_stack.home.superuser_url) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (7)")
    own_stack.s3().put_object("documents", "kept", io.BytesIO(b"kept"), 4)
    before = {name: own_stack.kill_process(name) for name in ("postgres", "nats", "s3")}
    while any(own_stack.state["processes"][name]["pid"] in (0, before[name]) for name in before):
        own_stack.wait_ready()
    own_stack.wait_ready()
    with psycopg.connect(own_stack.home.superuser_url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(7,)]
    assert own_stack.s3().get_object("documents", "kept").read() == b"kept"


async def _streams(suite: RunningSuite) -> set[str]:
    async with connected(suite, suite.nats_keys.operator_credentials) as client:
        return {info.config.name or "" for info in await client.jetstream().streams_info()}


async def test_a_wiped_jetstream_directory_is_provisioned_again(own_stack: RunningSuite) -> None:
    expected = {*map(topology.stream_name, topology.LOG_SERVICES), topology.DEAD_LETTERS}
    domain = await nats_accounts.create_domain_account(
        "test-wiped", keyring=own_stack.nats_keys, url=own_stack.nats_url
    )
    assert await _streams(own_stack) == expected
    own_stack.stop()
    assert own_stack.state == {}
    shutil.rmtree(own_stack.home.nats_dir / "jetstream")
    own_stack.start()
    assert await _streams(own_stack) == expected
    async with connected(own_stack, domain.yunku) as client:
        acknowledged = await client.jetstream().publish("push.test-wiped", b"{}", timeout=5)
        assert (acknowledged.stream, acknowledged.seq) == ("PUSHES", 1)


def test_a_killed_supervisor_takes_its_servers_along(own_stack: RunningSuite) -> None:
    pids = [own_stack.pid(name) for name in ("postgres", "nats", "s3")]
    own_stack.kill()
    while any(Path(f"/proc/{pid}").exists() for pid in pids):  # pytest's own time limit bounds this
        pass
    own_stack.start()  # and what they left behind is no obstacle
