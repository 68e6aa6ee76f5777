"""Events of recognition as they were first written: readable for ever. The files of ``golden/ocr`` are never changed; when
a schema version rises, files of the new version are added beside them. The same for a kept reading."""

import base64
from pathlib import Path
from typing import Any

import pytest

from services.ocr import scoring
from services.ocr.process import codec
from services.ocr.projections import AGGREGATES, TYPES

GOLDEN = Path(__file__).parent / "golden" / "ocr"
JOB = "0193f000-0000-7000-8000-00000000d001"
CERTIFICATE = "0193f000-0000-7000-8000-00000000c001"
EVENTS = [event.DESCRIPTOR.name for aggregate in AGGREGATES for event in aggregate.events]


def payload(name: str, version: int = 1) -> bytes:
    return base64.b64decode((GOLDEN / f"{name}-{version}.b64").read_text("ascii"))


def event(name: str) -> Any:
    return TYPES.decode(f"yunku.ocr.v1.{name}", 1, payload(name))


def test_every_event_type_has_its_golden_payload_in_every_version() -> None:
    written = {path.stem for path in GOLDEN.glob("*.b64")}
    for name in EVENTS:
        assert {f"{name}-{version}" for version in range(1, TYPES.current_version(f"yunku.ocr.v1.{name}") + 1)} <= written


@pytest.mark.parametrize("name", EVENTS)
def test_what_was_written_says_today_what_it_said(name: str) -> None:
    read = event(name)
    assert (read.job_id, read.certificate_id, read.subject_id) == (JOB, CERTIFICATE, "0193f000-0000-7000-8000-00000000b001")
    assert read.SerializeToString(deterministic=True) == payload(name)


def test_values_are_what_they_were() -> None:
    requested = event("ExtractionRequested")
    assert (requested.type, requested.document.sha256, requested.document.media_type) == ("business_license", "ab" * 32, "image/jpeg")
    assert event("RegionsRequested").marks[0].field == "uscc"
    extracted = event("FieldsExtracted")
    assert (extracted.pages_rendered, extracted.engine, extracted.engine_version) == (1, "ppocr", "ppocr-v6-small-da2d61aa-1")
    (field,) = extracted.fields
    assert (field.field, field.value, field.page, field.confidence) == ("company_name", "沈阳测试建设有限公司", 1, 0.98)
    assert (field.box.x0, field.box.y1) == (0.1, 0.25)
    (reading,) = event("RegionsRecognised").readings
    assert (reading.field, reading.text) == ("uscc", "91210102MA0YK0007G")
    postponed = event("RecognitionPostponed")
    assert (postponed.reason, postponed.attempts, postponed.next_attempt_us) == ("recognition_timeout", 3, 1764000000000000)


def test_a_reading_that_was_kept_scores_today_as_it_did() -> None:
    reading = codec.decode_reading(base64.b64decode((GOLDEN / "reading.b64").read_text("ascii")))
    assert reading.text == "张己"
    right, alike, other = scoring.score(reading, ["张己", "张已", "李四"])
    assert (right.log_ratio, right.lookalike_margin) == pytest.approx((0.0, 3.85), abs=0.01)
    assert alike.log_ratio == pytest.approx(-3.85, abs=0.01)
    assert other.log_ratio < scoring.REJECT_RATIO
