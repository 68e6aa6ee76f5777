"""Logs hide personal numbers and can't be forged; traces go on; metrics carry no ids."""

import io
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from kernel.observability import logging as yunku_logging
from kernel.observability import metrics, tracing

ID_NUMBER = "210102199003078515"
PHONE = "13812345678"
UUID = "01a20937-e627-71c2-abf1-138123456789"
SHA256 = "1381234567813812345678abcdef0123" * 2


def _lines(log: object) -> list[dict[str, object]]:
    stream = io.StringIO()
    yunku_logging.configure("subject", "debug", stream)
    try:
        log()  # type: ignore[operator]
    finally:
        logging.getLogger().handlers.clear()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    "text",
    [
        ID_NUMBER,
        "21010219900307851X",
        f"身份证{ID_NUMBER}号",
        PHONE,
        f"电话:{PHONE}。",
        f"+86{PHONE}",
        "138 1234 5678",
        f"phone{PHONE}",
    ],
)
def test_personal_numbers_are_masked(text: str) -> None:
    masked = yunku_logging.redact(f"a {text} b")
    assert not any(len(run) > 4 for run in "".join(c if c.isdigit() else " " for c in masked).split())
    assert masked.startswith("a ")
    assert masked.endswith(" b")


@pytest.mark.parametrize(
    "text",
    [
        UUID,
        SHA256,
        "1795450099",
        "1795450099123456789",
        "91210103MA0XXXXX1K",
        "127.0.0.1:17377",
        "2026-11-23T16:21:28.942825Z",
    ],
)
def test_what_is_no_personal_number_stays(text: str) -> None:
    assert yunku_logging.redact(text) == text


@given(
    prefix=st.text(max_size=10).filter(lambda text: not text[-1:].isdigit() and "-" not in text),
    number=st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True),
)
def test_any_mobile_number_is_masked_after_anything(prefix: str, number: str) -> None:
    assert number not in yunku_logging.redact(f"{prefix} {number}")


def test_masking_reaches_every_part_of_a_line() -> None:
    def log() -> None:
        logger = yunku_logging.get_logger("test")
        tokens = yunku_logging.bind(correlation_id="c-1", caller_id=PHONE)
        logger.info(
            f"event {ID_NUMBER}",
            text=PHONE,
            number=int(PHONE),
            deep={"list": [{PHONE: (ID_NUMBER,)}]},
            raw=PHONE.encode(),
        )
        logger.info("positional %s", PHONE)
        logging.getLogger("some.library").warning("library %s", PHONE)
        try:
            raise ValueError(f"refused {ID_NUMBER}")
        except ValueError:
            logger.exception("failed")
        yunku_logging.unbind(tokens)
        logger.info("after")

    lines = _lines(log)
    assert len(lines) == 5
    text = json.dumps(lines, ensure_ascii=False)
    assert PHONE not in text
    assert ID_NUMBER not in text
    assert lines[0]["service"] == "subject"
    assert lines[0]["correlation_id"] == "c-1"
    assert lines[2]["event"] == "library <phone>"
    assert "ValueError" in str(lines[3]["exception"])
    assert "correlation_id" not in lines[4]


def test_no_value_forges_a_line_or_a_terminal_sequence() -> None:
    stream = io.StringIO()
    yunku_logging.configure("subject", "info", stream)
    yunku_logging.get_logger("test").info('first\n{"event": "forged"}', key="\x1b[2J\r\n\u2028\u0085")
    logging.getLogger().handlers.clear()
    output = stream.getvalue()
    assert output.count("\n") == 1
    assert all(0x20 <= ord(character) < 0x7F for character in output.rstrip("\n"))
    assert json.loads(output)["event"] == 'first\n{"event": "forged"}'


def test_a_line_is_bounded() -> None:
    deep: object = "end"
    for _ in range(50):
        deep = [deep]
    (line,) = _lines(
        lambda: yunku_logging.get_logger("test").info("big", text="x" * 1_000_000, many=list(range(100_000)), deep=deep)
    )
    assert len(json.dumps(line)) < 25_000


def test_levels_below_the_setting_are_silent() -> None:
    stream = io.StringIO()
    yunku_logging.configure("subject", "warning", stream)
    yunku_logging.get_logger("test").info("quiet")
    yunku_logging.get_logger("test").warning("loud")
    logging.getLogger().handlers.clear()
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_a_trace_goes_on_from_a_stored_parent() -> None:
    tracing.configure("test", {})
    with tracing.span("outer", parent=""):
        stored = tracing.trace_parent()
        assert tracing.inject({}) == {"traceparent": stored}
    assert tracing.trace_parent() == ""
    with tracing.span("later", parent=stored):
        later = tracing.trace_parent()
        with tracing.span("inner"):
            inner = tracing.trace_parent()
    trace_ids = {parent.split("-")[1] for parent in (stored, later, inner)}
    span_ids = {parent.split("-")[2] for parent in (stored, later, inner)}
    assert len(trace_ids) == 1
    assert len(span_ids) == 3
    assert tracing.headers_of(stored) == {"traceparent": stored}
    assert tracing.headers_of("") == {}


@pytest.mark.parametrize("parent", ["", "nonsense", "00-0-0-00", "00-" + "f" * 5000])
def test_a_malformed_parent_starts_a_new_trace(parent: str) -> None:
    tracing.configure("test", {})
    with tracing.span("fresh", parent=parent):
        assert len(tracing.trace_parent()) == 55


def test_labels_name_parts_of_the_system_and_never_ids() -> None:
    allowed = {
        "service",
        "method",
        "code",
        "peer",
        "route",
        "status",
        "consumer",
        "producer",
        "projection",
        "kind",
        "outcome",
        "loop",
        "dependency",
        "domain",  # authorities: a handful, registered by administrators
        "stage",
    }
    mine = [metric for metric in vars(metrics).values() if hasattr(metric, "_labelnames")]
    assert len(mine) > 20
    for metric in mine:
        assert set(metric._labelnames) <= allowed, metric
    assert {"yunku_rpc_requests", "yunku_consumer_lag_events"} <= {family.name for family in REGISTRY.collect()}
