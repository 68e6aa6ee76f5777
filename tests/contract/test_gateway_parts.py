"""Small parts of the gateway: what is shown, what is masked, what is counted."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from starlette.requests import Request
from yunku.certificate.v1 import events_pb2, service_pb2, types_pb2
from yunku.kernel.v1 import kernel_pb2

from kernel import texts
from kernel.calendar import CHINA
from kernel.context import CallContext, Caller
from kernel.errors import YunkuError
from services.gateway import limits, models, render, sessions
from services.gateway.preconditions import _expected_version, etag
from services.gateway.uploads import file_name


def asked(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "method": "PUT", "path": "/", "headers": raw, "query_string": b""})


# -- the operation record ----------------------------------------------------------------------------------------------


def test_every_event_of_a_certificate_has_its_name_and_sentence() -> None:
    events = set(events_pb2.DESCRIPTOR.message_types_by_name)
    assert len(events) >= 18
    assert events <= texts.keys("gateway.action")
    assert events <= texts.keys("gateway.summary")


def test_every_word_that_services_give_is_one_of_the_interface() -> None:
    lights = {render.light(value) for value in types_pb2.Light.values()}
    assert lights == set(models.Light.__args__)  # type: ignore[attr-defined]
    verdicts = {name.removeprefix("VERDICT_") for name in types_pb2.Verdict.keys()} - {"UNSPECIFIED"}  # noqa: SIM118
    assert verdicts == set(models.Verdict.__args__)  # type: ignore[attr-defined]
    kinds = {name.removeprefix("ACTOR_KIND_").lower() for name in kernel_pb2.ActorKind.keys()}  # noqa: SIM118
    assert kinds - {"unspecified"} | {"unknown"} == set(models.Actor.model_fields["kind"].annotation.__args__)  # type: ignore[union-attr]
    assert set(models.PushState.__args__) <= texts.keys("gateway.push")  # type: ignore[attr-defined]


def line(kind: str, event_json: str, actor_kind: str = "service", actor_id: str = "certificate") -> models.HistoryItem:
    item = service_pb2.HistoryItem(
        number=1, type=kind, event_json=event_json, changes_json="[]", actor_kind=actor_kind, actor_id=actor_id, hash="0" * 64
    )
    return render.history_item(item, {"a1": "王"}, {"ln": "辽宁领域"}, "business_license", masked=False)


@pytest.mark.parametrize(
    ("kind", "actor_id", "actor"),
    [
        ("account", "a1", ("account", "王")),
        ("account", "a2", ("account", "（已注销账号）")),
        ("domain_system", "ln", ("domain_system", "辽宁领域")),
        ("service", "push", ("service", "系统（推送服务）")),
        ("service", "certificate", ("service", "系统（证照服务）")),
    ],
)
def test_actors_are_those_whom_the_log_names(kind: str, actor_id: str, actor: tuple[str, str]) -> None:
    told = line("ReviewRecorded", '{"domain_id":"ln"}', kind, actor_id).actor
    assert (told.kind, told.name) == actor


def test_summaries_are_filled() -> None:
    pushed = line("PushRequested", '{"number":2,"domain_id":"ln"}')
    assert (pushed.action, pushed.summary) == ("信息推送", "第2次推送，至辽宁领域")
    assert line("VerdictRecorded", '{"light":"LIGHT_GREEN"}').summary == "核验结果：绿灯"
    assert line("VerificationDelayed", '{"reason":"recognition_timeout"}').summary == texts.text("verify.postponed.recognition_timeout")
    assert line("SomethingNew", "{}").action == "SomethingNew"


# -- personal numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("id18", "210102199001011234", "2101************34"),
        ("phone", "13800001234", "138****1234"),
        ("phone", "1380", "****"),
        ("id18", "", ""),
        ("org", "13800001234公司", "13800001234公司"),
        ("certno", "T11010519491231002X", "T1101************2X"),
        ("certno", "T110105194912310021", "T110105194912310021"),  # its check digit says that it is no ID number
        ("certno", "6222020200112233445", "6222020200112233445"),
    ],
)
def test_personal_numbers_are_masked_by_their_kind(kind: str, value: str, shown: str) -> None:
    assert render.mask(kind, value) == shown


def test_fields_of_a_type_that_is_gone_show_no_numbers() -> None:
    assert render.masked_fields("gone", {"a": "13800001234", "b": "无"}) == {"a": "***********", "b": "无"}


# -- validity ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "state"),
    [(None, None, None), (-9, None, "VALID"), (1, None, "NOT_YET"), (-9, -1, "EXPIRED"), (-9, 0, "EXPIRING"), (-9, 30, "EXPIRING"),
     (-9, 31, "VALID"), (None, 400, "VALID"), (2, 5, "NOT_YET")],
)  # fmt: skip
def test_validity_stands_beside_the_light(start: int | None, end: int | None, state: str | None) -> None:
    today = datetime.now(CHINA).date()

    def day(offset: int | None) -> str:
        return "" if offset is None else (today + timedelta(days=offset)).isoformat()

    view = service_pb2.Certificate(valid_from=day(start), valid_until=day(end))
    assert render.validity(view, 30).state == state


# -- headers -----------------------------------------------------------------------------------------------------------


def test_if_match_is_the_version() -> None:
    assert etag(3, 12) == '"3.12"'
    for text, version in (('"3.12"', 3), ('"3"', 3), ("*", 0), ("", 0), (' "7.1" ', 7)):
        assert _expected_version(asked(if_match=text)) == version
    for text in ("3", '"3', '"3."', '"a"', 'W/"3.1"', '"3.1","4.1"', '"0"', '"9999999999"'):
        with pytest.raises(YunkuError, match="precondition_malformed"):
            _expected_version(asked(if_match=text))


def test_the_bearer_token_is_read_strictly() -> None:
    assert sessions.bearer(asked(authorization="bearer  abc ")) == "abc"
    for text in ("", "abc", "Basic abc", "Bearer", "Bearer ", "Bearer a\x01b", "Bearer " + "x" * 1001, "Bearer \xe9"):
        with pytest.raises(YunkuError, match="unauthenticated"):
            sessions.bearer(asked(authorization=text))


def test_keys_without_a_session_count_for_one_principal() -> None:
    context = CallContext(Caller("service", "gateway"), "c", idempotency_key="1")
    keys = {
        sessions.anonymous_key(context, *principal).idempotency_key
        for principal in (("phone", "13800000001"), ("phone", "13800000002"), ("address", "127.0.0.1"))
    }
    assert len(keys) == 3
    assert all(key and "138" not in key for key in keys)
    assert sessions.anonymous_key(CallContext(Caller("service", "gateway"), "c"), "phone", "1").idempotency_key is None


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("营业执照.pdf", "营业执照.pdf"),
        ("C:\\Users\\王\\执照.pdf", "执照.pdf"),
        ("../../etc/passwd", "passwd"),
        ("a\r\nSet-Cookie: x", "aSet-Cookie: x"),
        ("a\u202egnp.exe", "agnp.exe"),
        ("x" * 500, "x" * 200),
        ("", ""),
    ],
)
def test_file_names_are_for_showing(raw: str, shown: str) -> None:
    assert file_name(raw.encode()) == shown
    assert file_name(b"\xff\xfe.pdf").endswith(".pdf")


# -- limits ------------------------------------------------------------------------------------------------------------


def test_each_address_has_its_own_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("services.gateway.limits.time.monotonic", lambda: now[0])
    count = limits.PerAddress(3)

    def take(kind: str, address: str) -> Any:
        count.take(kind, address)

    for _ in range(3):
        take("login", "a")
    with pytest.raises(YunkuError) as refused:
        take("login", "a")
    assert refused.value.code == "too_many_requests"
    assert int(refused.value.params["retry_after"]) == 61
    take("login", "b")
    take("code", "a")
    now[0] += 59
    with pytest.raises(YunkuError):
        take("login", "a")
    now[0] += 1
    take("login", "a")


def test_addresses_are_forgotten_rather_than_piled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_REMEMBERED", 10)
    count = limits.PerAddress(1)
    for number in range(100):
        count.take("login", str(number))
    assert len(count._counts) == 10
