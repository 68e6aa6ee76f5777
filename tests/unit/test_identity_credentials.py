"""Passwords, origins and tokens as they come from outside."""

import uuid

import pytest

from kernel.errors import YunkuError
from services.identity.adapters import Token, check_password, parse_origin

PHONE = "13800000001"


@pytest.mark.parametrize("password", ["Yun-ku-2026", "正确马电池订书钉1", "a b c d e f 1", "x1-" + "yz" * 62])
def test_good_passwords(password: str) -> None:
    assert check_password(password, PHONE) == password


@pytest.mark.parametrize(
    "password",
    ["", "Ab1-xyz", "a1b2" * 33, "abcdefgh", "12345678", "--------", "a1a1a1a1", "P@ssw0rd", "woaini1314", f"x-{PHONE}-y"],
)
def test_weak_passwords(password: str) -> None:
    with pytest.raises(YunkuError, check=lambda error: error.code == "password_weak"):
        check_password(password, PHONE)


def test_every_way_of_typing_an_accent_is_the_same_password() -> None:
    assert check_password("cafe\u0301-2026", PHONE) == check_password("caf\u00e9-2026", PHONE)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("HTTPS://Yunku.Example.CN", "https://yunku.example.cn"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_origins(text: str, origin: str) -> None:
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    ["", "yunku.cn", "ftp://a", "http://a/path", "http://a\nb", "http://u@h", "http://a:123456", "http://" + "a" * 300],
)
def test_origins_that_are_none(text: str) -> None:
    with pytest.raises(YunkuError, check=lambda error: error.code == "origin_invalid"):
        parse_origin(text)


def test_tokens_find_their_session_and_are_never_the_same() -> None:
    session_id = uuid.uuid4()
    one, two = Token.new(session_id), Token.new(session_id)
    assert Token.parse(one.text) == one
    assert one.text != two.text
    assert one.hash != two.hash
    assert one.text.encode() not in one.hash


@pytest.mark.parametrize("text", ["", "x", "é" * 64, "=" * 64, "+" * 64, "A" * 63, "A" * 65, "A" * 62 + "=="])
def test_tokens_that_are_none(text: str) -> None:
    with pytest.raises(YunkuError, check=lambda error: error.code == "unauthenticated"):
        Token.parse(text)
