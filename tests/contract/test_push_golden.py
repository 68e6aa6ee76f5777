"""Events of domains and pushes as they were first written: readable for ever. The files of ``golden/push`` are never changed;
when a schema version rises, files of the new version are added beside them."""

import base64
from pathlib import Path
from typing import Any

import pytest
from yunku.certificate.v1 import types_pb2
from yunku.push.v1 import events_pb2

from services.push.projections import AGGREGATES, TYPES

GOLDEN = Path(__file__).parent / "golden" / "push"
PUSH = "0193f000-0000-7000-8000-00000000f001"
EVENTS = [event.DESCRIPTOR.name for aggregate in AGGREGATES for event in aggregate.events]


def payload(name: str, version: int = 1) -> bytes:
    return base64.b64decode((GOLDEN / f"{name}-{version}.b64").read_text("ascii"))


def event(name: str) -> Any:
    return TYPES.decode(f"yunku.push.v1.{name}", 1, payload(name))


def test_every_event_type_has_its_golden_payload_in_every_version() -> None:
    written = {path.stem for path in GOLDEN.glob("*.b64")}
    for name in EVENTS:
        assert {f"{name}-{version}" for version in range(1, TYPES.current_version(f"yunku.push.v1.{name}") + 1)} <= written


@pytest.mark.parametrize("name", [name for name in EVENTS if not name.startswith(("Domain", "Reviewer"))])
def test_what_was_written_of_a_push_says_today_what_it_said(name: str) -> None:
    read = event(name)
    assert (read.push_id, read.domain_id) == (PUSH, "ln-bidding")
    assert read.certificate_id == "0193f000-0000-7000-8000-00000000c001"
    assert read.SerializeToString(deterministic=True) == payload(name)


def test_values_are_what_they_were() -> None:
    registered = event("DomainRegistered")
    assert (registered.domain_id, registered.name) == ("ln-bidding", "辽宁省建设工程招标投标领域")
    assert list(registered.automatic_types) == ["business_license"]
    changed = event("DomainChanged")
    assert (changed.domain_id, changed.name, changed.closed) == ("ln-bidding", "辽宁省招标投标领域", True)
    assert list(changed.automatic_types) == ["business_license"]
    for name in ("ReviewerAdmitted", "ReviewerDismissed"):
        assert (event(name).domain_id, event(name).account_id) == ("ln-bidding", "0193f000-0000-7000-8000-00000000a001")
    opened = event("PushOpened")
    assert (opened.number, opened.version, opened.light, opened.unique_code) == (2, 7, types_pb2.LIGHT_GREEN, "A0123456789B")
    assert dict(opened.fields) == {"company_name": "沈阳测试建设有限公司", "certificate_no": "210102********1234"}
    assert (opened.document.sha256, opened.seal.sealed_sha256) == ("ab" * 32, "cd" * 32)
    assert event("PushDelivered").stream_sequence == 41
    reviewed = event("Reviewed")
    assert (reviewed.decision, reviewed.opinion, reviewed.version) == ("rejected", "发证日期不一致", 7)
    assert event("Appealed").grounds == "发证日期以原件为准"
    answered = event("AppealAnswered")
    assert (answered.decision, answered.opinion, answered.system_reviewer) == ("overturned", "经复核属实", "0472")
    assert (answered.channel, answered.reviewer_id) == (events_pb2.REVIEW_CHANNEL_SYSTEM, "ln-bidding")
    assert (reviewed.channel, reviewed.reviewer_id) == (events_pb2.REVIEW_CHANNEL_REVIEWER, "0193f000-0000-7000-8000-00000000a001")
