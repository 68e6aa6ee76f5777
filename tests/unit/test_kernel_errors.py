"""Error codes: registered, titled, and the same on both ends of a call."""

import grpc
import nats.errors
import psycopg
import psycopg_pool
import pytest
import sqlalchemy.exc
import urllib3.exceptions
from hypothesis import given
from hypothesis import strategies as st
from yunku.kernel.v1 import kernel_pb2

from kernel import texts
from kernel.errors import ERROR_CODES, FieldError, YunkuError
from kernel.rpc.errors import as_yunku_error, decode, encode, grpc_status

CODES = st.sampled_from(sorted(ERROR_CODES))
SHORT = st.text(max_size=20)
PARAMS = st.dictionaries(st.text(min_size=1, max_size=10), SHORT, max_size=4)


def test_an_unregistered_code_cannot_be_raised() -> None:
    with pytest.raises(ValueError, match="no_such_code"):
        YunkuError("no_such_code")
    with pytest.raises(ValueError, match="no_such_code"):
        YunkuError("value_invalid", errors=[FieldError("/x", "no_such_code")])


def test_a_field_makes_one_field_error_before_those_given() -> None:
    other = FieldError("/fields/name", "field_required")
    error = YunkuError("value_too_long", field="/fields/uscc", errors=[other], max="18")
    assert error.errors == (FieldError("/fields/uscc", "value_too_long", {"max": "18"}), other)
    assert error.params == {"max": "18"}
    assert error.http_status == 422


def test_every_code_has_a_title_and_every_title_a_code() -> None:
    assert texts.keys("errors") == set(ERROR_CODES)
    assert all(texts.text(f"errors.{code}").strip() for code in ERROR_CODES)


def test_texts_fill_placeholders_and_bear_missing_ones() -> None:
    assert "18" in texts.text("errors.value_too_long", max="18")
    assert "{" not in texts.text("errors.value_too_long")
    assert "{max}" in texts.text("errors.value_too_long", max="{max}")  # inserted, not read again
    with pytest.raises(KeyError):
        texts.text("errors.no_such_code")


@pytest.mark.parametrize("definition", ERROR_CODES.values(), ids=lambda definition: definition.code)
def test_every_definition_is_whole(definition: object) -> None:
    assert definition.meaning.endswith(".")  # type: ignore[attr-defined]
    assert definition.http_status in {401, 403, 404, 405, 408, 409, 412, 413, 415, 422, 429, 500, 503, 504}  # type: ignore[attr-defined]
    assert definition.grpc_status in grpc.StatusCode.__members__  # type: ignore[attr-defined]
    # What a calling service retries is exactly what trying again at once can help; the national platform was tried often enough.
    beyond = definition.code.startswith("national_platform_")  # type: ignore[attr-defined]
    assert (definition.grpc_status == "UNAVAILABLE") == (definition.http_status == 503 and not beyond)  # type: ignore[attr-defined]


@given(code=CODES, params=PARAMS, errors=st.lists(st.builds(FieldError, SHORT, CODES, PARAMS), max_size=5))
def test_a_refusal_is_the_same_on_the_other_end(code: str, params: dict[str, str], errors: list[FieldError]) -> None:
    error = YunkuError(code, errors=errors)
    error.params = params
    back = decode(encode(error))
    assert (back.code, back.params, back.errors) == (code, params, tuple(errors))


def test_a_detail_stays_below_the_metadata_limit() -> None:
    error = YunkuError(
        "value_invalid", errors=[FieldError(f"/fields/{'x' * 200}{n}", "value_invalid") for n in range(500)]
    )
    data = encode(error)
    assert len(data) < 25_000
    assert 50 < len(decode(data).errors) < 500


def test_a_code_of_a_newer_release_is_internal_here() -> None:
    assert decode(kernel_pb2.ErrorDetail(code="from_the_future").SerializeToString()).code == "internal"


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (YunkuError("light_red"), "light_red"),
        (TimeoutError(), "deadline_exceeded"),
        (psycopg.OperationalError("server closed the connection"), "service_unavailable"),
        (psycopg.errors.AdminShutdown(), "service_unavailable"),
        (psycopg_pool.PoolTimeout(), "service_unavailable"),
        (psycopg.InterfaceError("the connection is closed"), "service_unavailable"),
        (sqlalchemy.exc.OperationalError("SELECT", None, psycopg.OperationalError("gone")), "service_unavailable"),
        (nats.errors.TimeoutError(), "service_unavailable"),
        (nats.errors.ConnectionClosedError(), "service_unavailable"),
        (urllib3.exceptions.NewConnectionError(None, "refused"), "service_unavailable"),  # type: ignore[arg-type]
        (ConnectionRefusedError(), "service_unavailable"),
        (psycopg.errors.UniqueViolation(), "internal"),
        (psycopg.errors.InsufficientPrivilege(), "internal"),
        (psycopg.errors.QueryCanceled(), "internal"),
        (sqlalchemy.exc.IntegrityError("INSERT", None, psycopg.errors.UniqueViolation()), "internal"),
        (KeyError("x"), "internal"),
    ],
    ids=repr,
)
def test_what_the_caller_is_told(raised: Exception, code: str) -> None:
    told = as_yunku_error(raised)
    assert told.code == code
    assert grpc_status(told).name == ERROR_CODES[code].grpc_status
