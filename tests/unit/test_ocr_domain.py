"""Recognition jobs: given events, when a command, then events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.message import Message
from yunku.certificate.v1 import events_pb2 as certificate_events
from yunku.certificate.v1 import types_pb2
from yunku.ocr.v1 import events_pb2

from services.ocr import domain, projections
from services.ocr.documents import PagePixels, text_in
from services.ocr.parsing import TextCharacter
from services.ocr.recogniser import reading_key

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DOCUMENT = types_pb2.Document(sha256="ab" * 32, pages=[types_pb2.Page(number=1)])
UPLOADED = certificate_events.CertificateUploaded(certificate_id="c1", type="business_license", document=DOCUMENT)
MARK = types_pb2.Mark(field="uscc", page=1, box=types_pb2.Box(x0=0.1, y0=0.1, x1=0.2, y1=0.2))


def given(*events: Message) -> domain.Job:
    state = domain.Job()
    for event in events:
        state = domain.evolve(state, event, NOW)
    return state


def requested() -> Message:
    (event,) = domain.request_extraction(domain.Job(), "j1", UPLOADED, "s1")
    return event


def postponed(state: domain.Job, limit: float = 60.0) -> Any:
    (event,) = domain.postpone(state, reason="recognition_timeout", now=NOW, longest_pause=limit)
    return event


def test_an_upload_asks_for_its_document_once() -> None:
    event: Any = requested()
    assert (event.job_id, event.certificate_id, event.type, event.subject_id) == ("j1", "c1", "business_license", "s1")
    assert event.document == DOCUMENT
    assert domain.request_extraction(given(event), "j1", UPLOADED, "s1") == []


def test_marks_ask_for_their_regions_once_and_no_marks_for_nothing() -> None:
    (event,) = domain.request_regions(domain.Job(), "j1", "c1", DOCUMENT, [MARK], "s1")
    assert isinstance(event, events_pb2.RegionsRequested)
    assert list(event.marks) == [MARK]
    assert domain.request_regions(given(event), "j1", "c1", DOCUMENT, [MARK], "s1") == []
    assert domain.request_regions(domain.Job(), "j1", "c1", DOCUMENT, [], "s1") == []


def test_a_job_is_due_at_once_then_ever_later_up_to_a_limit() -> None:
    state = given(requested())
    assert state.due_at == NOW
    pauses = []
    for _ in range(8):
        event = postponed(state)
        state = domain.evolve(state, event, NOW)
        assert state.due_at is not None
        pauses.append((state.due_at - NOW) / timedelta(seconds=1))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert state.attempts == 8
    assert state.reason == "recognition_timeout"


def test_a_job_is_done_once_and_then_put_off_no_more() -> None:
    result = events_pb2.FieldsExtracted(job_id="j1", certificate_id="c1")
    state = given(requested())
    assert domain.conclude(state, result) == [result]
    done = domain.evolve(state, result, NOW)
    assert (done.done, done.due_at, done.reason) == (True, None, "")
    assert domain.conclude(done, result) == []
    assert domain.postpone(done, reason="x", now=NOW, longest_pause=60) == []


def test_what_was_never_asked_for_cannot_be_done_or_put_off() -> None:
    assert domain.conclude(domain.Job(), events_pb2.FieldsExtracted()) == []
    assert domain.postpone(domain.Job(), reason="x", now=NOW, longest_pause=60) == []


def test_the_row_tells_what_waits() -> None:
    state = given(requested())
    row = projections.job_row("job", state, 1)  # type: ignore[arg-type]
    assert row is not None
    assert (row["kind"], row["state"], row["due_at"], row["document_sha256"]) == ("extraction", "waiting", NOW, "ab" * 32)
    assert projections.job_row("job", domain.Job(), 0) is None  # type: ignore[arg-type]


def test_a_crop_holds_its_box_with_surroundings() -> None:
    width, height = 200, 100
    pixels = bytes((x + y) % 256 for y in range(height) for x in range(width) for _ in range(3))
    page = PagePixels(width, height, pixels)
    crop, place = page.crop((0.4, 0.5, 0.6, 0.6), 0.5)
    assert len(crop.pixels) == crop.width * crop.height * 3
    x, y = round(place[0] * crop.width), round(place[1] * crop.height)
    at = (y * crop.width + x) * 3
    assert crop.pixels[at] == (80 + 50) % 256
    assert crop.width < width
    whole, all_of_it = page.crop((0.0, 0.0, 1.0, 1.0), 0.5)
    assert (whole.width, whole.height, all_of_it) == (width, height, (0.0, 0.0, 1.0, 1.0))


def test_a_text_layer_says_what_has_its_centre_in_the_box() -> None:
    layer = [
        TextCharacter("左", (0.0, 0.1, 0.1, 0.2)),
        TextCharacter("中", (0.1, 0.1, 0.2, 0.2)),
        TextCharacter("边", (0.19, 0.1, 0.3, 0.2)),
    ]
    assert text_in(layer, (0.09, 0.05, 0.22, 0.25)) == "中"
    assert text_in(layer, (0.5, 0.5, 0.6, 0.6)) == ""


def test_a_reading_is_named_by_picture_place_and_engine() -> None:
    box = (0.1, 0.2, 0.3, 0.4)
    key = reading_key("ab", 1, box, "v1")
    assert key == reading_key("ab", 1, (0.1000001, 0.2, 0.3, 0.4), "v1")
    others = {reading_key("ac", 1, box, "v1"), reading_key("ab", 2, box, "v1"), reading_key("ab", 1, (0.1001, *box[1:]), "v1")}
    assert key not in others | {reading_key("ab", 1, box, "v2")}
