"""Encrypted values: readable by their own key and for their own purpose only."""

import base64
import os
import uuid
from typing import Any, cast

import pytest

from kernel.privacy import Keyring, NotReadable, PersonKey

PERSON, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)
KEY = bytes(range(32))


def keyring(master: bytes = KEY) -> Keyring:
    return Keyring(cast(Any, None), base64.b64encode(master).decode())


def test_a_value_comes_back() -> None:
    value = PersonKey(PERSON, KEY).encrypt("张三", "name")
    assert PersonKey(PERSON, KEY).decrypt(value, "name") == "张三"
    assert "张三".encode() not in value.SerializeToString()


def test_equal_values_look_different() -> None:
    key = PersonKey(PERSON, KEY)
    assert key.encrypt("张三", "name").ciphertext != key.encrypt("张三", "name").ciphertext


@pytest.mark.parametrize(
    ("key", "purpose"),
    [(PersonKey(PERSON, KEY), "phone"), (PersonKey(OTHER, KEY), "name"), (PersonKey(PERSON, KEY[::-1]), "name")],
)
def test_another_purpose_person_or_key_reads_nothing(key: PersonKey, purpose: str) -> None:
    value = PersonKey(PERSON, KEY).encrypt("张三", "name")
    with pytest.raises(NotReadable):
        key.decrypt(value, purpose)


def test_a_changed_value_is_refused() -> None:
    key = PersonKey(PERSON, KEY)
    for position in range(3):
        value = key.encrypt("张三", "name")
        changed = bytearray(value.ciphertext)
        changed[position * 7] ^= 1
        value.ciphertext = bytes(changed)
        with pytest.raises(NotReadable):
            key.decrypt(value, "name")


def test_a_key_does_not_show_itself() -> None:
    assert str(KEY) not in repr(PersonKey(PERSON, KEY))


def test_the_index_is_keyed_and_of_its_purpose() -> None:
    index = keyring().index("phone", "13800000001")
    assert index == keyring().index("phone", "13800000001")
    others = {
        keyring().index("phone", "13800000002"),
        keyring().index("id number", "13800000001"),
        keyring(os.urandom(32)).index("phone", "13800000001"),
    }
    assert index not in others
    assert len(others) == 3


def test_wrapped_keys_open_with_their_master_key_and_person_only() -> None:
    wrapped = keyring()._wrap(PERSON, KEY)
    assert keyring().unwrap(PERSON, wrapped) == PersonKey(PERSON, KEY)
    assert KEY not in wrapped
    with pytest.raises(NotReadable):
        keyring(os.urandom(32)).unwrap(PERSON, wrapped)
    with pytest.raises(NotReadable):
        keyring().unwrap(OTHER, wrapped)


@pytest.mark.parametrize("master", ["", "not base64 !", base64.b64encode(b"short").decode()])
def test_a_master_key_that_is_none(master: str) -> None:
    with pytest.raises(ValueError, match="YUNKU_PRIVACY_KEY"):
        Keyring(cast(Any, None), master)
