"""Which ports a suite takes: what was asked for, else what it had, else its base, else any free one."""

import socket

import pytest

from infra.embedded import home
from infra.embedded.home import PORT_OFFSETS, StartError, choose_ports


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Ports that others use; nothing is bound for real."""
    used: set[int] = set()
    monkeypatch.setattr(home, "port_is_free", lambda port: port not in used)
    monkeypatch.setattr(socket, "socket", None)
    return used


@pytest.mark.usefixtures("taken")
def test_defaults() -> None:
    ports = choose_ports({}, {})
    assert ports["http"] == 8080
    assert ports["grpc_identity"] == 7101
    assert all(ports[name] == 7100 + offset for name, offset in PORT_OFFSETS.items())


def test_a_taken_default_gives_way_to_a_free_port_that_is_remembered(taken: set[int]) -> None:
    taken.add(7140)
    first = choose_ports({}, {})
    assert first["postgres"] != 7140
    taken.clear()
    assert choose_ports(first, {}) == first


def test_seaweedfs_needs_the_port_ten_thousand_above_too(taken: set[int]) -> None:
    taken.add(17150)
    ports = choose_ports({}, {})
    assert ports["s3"] != 7150
    assert ports["weed_master"] == 7151


@pytest.mark.parametrize("setting", ["YUNKU_HTTP_PORT", "YUNKU_POSTGRES_PORT", "YUNKU_GRPC_OCR_PORT"])
def test_a_port_asked_for_by_number_is_that_one_or_none(taken: set[int], setting: str) -> None:
    name = setting.removeprefix("YUNKU_").removesuffix("_PORT").lower()
    assert choose_ports({name: 9000}, {setting: "9555"})[name] == 9555
    taken.add(9555)
    with pytest.raises(StartError, match=setting):
        choose_ports({}, {setting: "9555"})


def test_a_taken_http_port_is_told_rather_than_replaced(taken: set[int]) -> None:
    taken.add(8080)
    with pytest.raises(StartError, match=r"8080.*YUNKU_HTTP_PORT"):
        choose_ports({}, {})


@pytest.mark.usefixtures("taken")
def test_zero_asks_for_free_ports_all_different_and_below_the_ephemeral_range() -> None:
    ports = choose_ports({}, {"YUNKU_PORT_BASE": "0", "YUNKU_HTTP_PORT": "0"})
    occupied = list(ports.values())
    occupied += [ports[name] + 10_000 for name in ports if name == "s3" or name.startswith("weed_")]
    assert len(set(occupied)) == len(occupied)
    assert all(1024 < port < 32768 for port in occupied)
    assert ports["http"] != 8080
