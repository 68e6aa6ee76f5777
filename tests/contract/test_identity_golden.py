"""Events of the identity service as they were first written: readable for ever, saying what they said.

The files of ``golden/identity`` are never changed: the bytes, and what they mean. When a schema version rises, files of the new
version are added beside them.
"""

import base64
import json
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from services.identity.projections import TYPES

GOLDEN = Path(__file__).parent / "golden" / "identity"
WRITTEN = sorted(path.stem for path in GOLDEN.glob("*.b64"))


def test_every_event_type_has_its_golden_payload() -> None:
    current = {f"{name.rsplit('.', 1)[-1]}-{TYPES.current_version(name)}" for name in TYPES.names}
    assert current <= set(WRITTEN)


@pytest.mark.parametrize("stem", WRITTEN)
def test_what_was_written_says_today_what_it_said(stem: str) -> None:
    name, version = stem.split("-")
    payload = base64.b64decode((GOLDEN / f"{stem}.b64").read_text("ascii"))
    event = TYPES.decode(f"yunku.identity.v1.{name}", int(version), payload)
    assert MessageToDict(event, preserving_proto_field_name=True) == json.loads((GOLDEN / f"{stem}.json").read_text())
    if int(version) == TYPES.current_version(f"yunku.identity.v1.{name}"):
        assert event.SerializeToString(deterministic=True) == payload
