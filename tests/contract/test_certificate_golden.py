"""Events of the certificate service as they were first written: readable for ever, saying what they said.

The files of ``golden/certificate`` are never changed: the bytes, and what they mean. When a schema version rises, files of the new
version are added beside them, and where fields were added to a message later, one more with them (``<type>-<version>-<what>``).
Every field of every message is set in them, so that none can change its number or type unseen.
"""

import base64
import json
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from services.certificate.projections import AGGREGATES, TYPES

GOLDEN = Path(__file__).parent / "golden" / "certificate"
WRITTEN = sorted(path.stem for path in GOLDEN.glob("*.b64"))


def test_every_event_type_has_its_golden_payload_in_every_version() -> None:
    names = [event.DESCRIPTOR.full_name for aggregate in AGGREGATES for event in aggregate.events]
    versions = {name: range(1, TYPES.current_version(name) + 1) for name in names}
    assert {f"{name.rsplit('.', 1)[-1]}-{version}" for name in names for version in versions[name]} <= set(WRITTEN)


def test_what_they_say_is_written_beside_each() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.json")) == WRITTEN


@pytest.mark.parametrize("stem", WRITTEN)
def test_what_was_written_says_today_what_it_said(stem: str) -> None:
    name, version = stem.split("-")[:2]
    payload = base64.b64decode((GOLDEN / f"{stem}.b64").read_text("ascii"))
    event = TYPES.decode(f"yunku.certificate.v1.{name}", int(version), payload)
    assert MessageToDict(event, preserving_proto_field_name=True) == json.loads((GOLDEN / f"{stem}.json").read_text("utf-8"))
    if int(version) == TYPES.current_version(f"yunku.certificate.v1.{name}"):
        assert event.SerializeToString(deterministic=True) == payload
