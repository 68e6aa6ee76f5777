"""Events of verification as they were first written: readable for ever, and their verdicts the same for ever.

The files of ``golden/verify`` are never changed. When a schema version or RULES_VERSION rises, files of the new version are
added beside them, and old verdicts keep being readable; only those of the present rules must replay to themselves.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from yunku.certificate.v1 import types_pb2

from services.verify import domain, light
from services.verify.projections import TYPES

GOLDEN = Path(__file__).parent / "golden" / "verify"


def payload(name: str, version: int) -> bytes:
    return base64.b64decode((GOLDEN / f"{name}-{version}.b64").read_text("ascii"))


def event(name: str, version: int = 1) -> Any:
    return TYPES.decode(f"yunku.verify.v1.{name}", version, payload(name, version))


def test_every_event_type_has_its_golden_payload() -> None:
    written = {path.stem for path in GOLDEN.glob("*.b64")}
    for name in TYPES.names:
        short = name.rsplit(".", 1)[-1]
        if short != "FieldEvidence":  # a part of Verified
            assert f"{short}-{TYPES.current_version(name)}" in written


@pytest.mark.parametrize("name", ["VerificationAccepted", "VerificationPostponed", "Verified"])
def test_what_was_written_says_today_what_it_said(name: str) -> None:
    read = event(name)
    assert read.verification_id == "0193f000-0000-7000-8000-00000000f001"
    assert read.certificate_id == "0193f000-0000-7000-8000-00000000c001"
    assert read.version == 3
    assert read.SerializeToString(deterministic=True) == payload(name, 1)


def test_the_recorded_verdict_is_what_it_was() -> None:
    verified = event("Verified")
    assert verified.light == types_pb2.LIGHT_YELLOW
    reasons = {one.field: one.reason for one in verified.fields}
    assert reasons == {
        "uscc": "match",
        "company_name": "match",
        "company_type": "cannot_tell",
        "address": "unmarked",
        "legal_rep_name": "match",
        "registered_capital": "match",
        "established_on": "likely",
        "business_term": "mismatch",
        "business_scope": "not_compared",
        "registration_authority": "illegible",
        "issued_on": "not_compared",
        "copy_no": "not_compared",
    }


def test_a_verdict_of_the_present_rules_replays_to_itself() -> None:
    """If this fails, a change of the rules would recolour what was decided: raise RULES_VERSION and add a golden verdict."""
    recorded: Any = TYPES.decode("yunku.verify.v1.Verified", 1, payload(f"Verified-rules{light.RULES_VERSION}", 1))
    assert recorded.rules_version == light.RULES_VERSION
    assert domain.same(domain.replay(event("VerificationAccepted"), recorded), recorded)
