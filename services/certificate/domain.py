"""The life of a certificate: pure decisions over a frozen state (domain.md, "The life of a certificate").

The state is the certificate as callers see it (``view``, never changed in place), so that what is answered, what is kept as read
model and what is decided upon can't differ. Clocks, ids and answers of other services are handed in.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from yunku.certificate.v1 import events_pb2, service_pb2, types_pb2

from catalogue import CertificateType, Owner, Role
from kernel.errors import FieldError, YunkuError

DRAFT: Final = "draft"
SUBMITTED: Final = "submitted"
DISCARDED: Final = "discarded"
SUPERSEDED: Final = "superseded"

#: Push states that the domain still has to decide.
PENDING: Final = ("requested", "delivered", "acknowledged")

MAX_MARKS: Final = 200
MAX_MARKS_PER_FIELD: Final = 8
MAX_VALUE: Final = 4000
MAX_GROUNDS: Final = 2000
#: A box must be at least this wide and high, as a fraction of the page: a stray click marks nothing.
MIN_SIDE: Final = 0.001
#: Codes begin with the province (辽宁省, GB/T 2260).
PROVINCE: Final = "21"


def _nothing() -> service_pb2.Certificate:
    return service_pb2.Certificate()


@dataclass(frozen=True)
class State:
    """One certificate. ``view`` must not be changed in place; ``locked`` is whether the present document is under
    retention; ``highest`` is the highest content version that ever stood, so that none is given twice."""

    view: service_pb2.Certificate = field(default_factory=_nothing)
    catalogue_version: str = ""
    locked: bool = False
    highest: int = 0

    @property
    def exists(self) -> bool:
        return bool(self.view.id)


# -- events to state ---------------------------------------------------------------------------------------------------


def _drafted(view: service_pb2.Certificate, event: events_pb2.CertificateDrafted, at: datetime) -> None:
    view.id = event.certificate_id
    view.holder.CopyFrom(event.holder)
    view.type = event.type
    view.state = DRAFT
    view.mode = event.mode
    view.fields.update(event.fields)
    view.person_id = event.person_id
    view.performance_id = event.performance_id
    view.supersedes = event.supersedes
    if event.HasField("provenance"):
        view.provenance.CopyFrom(event.provenance)
    view.version = event.version
    view.recognition.state = "none"
    view.verification.state = "none"
    view.verification.light = types_pb2.LIGHT_NONE
    view.light = types_pb2.LIGHT_NONE
    view.created_at.CopyFrom(_stamp(at))


def _assigned(view: service_pb2.Certificate, event: events_pb2.PersonAssigned, at: datetime) -> None:
    view.person_id = event.person_id


def _break(view: service_pb2.Certificate, version: int) -> None:
    """The user changed what a verdict or a seal was over: the verdict is stale, the seal is broken."""
    view.version = version
    if view.verification.state != "none":
        view.verification.state = "stale"
    view.light = types_pb2.LIGHT_NONE
    view.ClearField("seal")


def _uploaded(view: service_pb2.Certificate, event: events_pb2.CertificateUploaded, at: datetime) -> None:
    _break(view, event.version)
    view.document.CopyFrom(event.document)
    view.ClearField("marks")
    view.ClearField("recognition")
    view.recognition.state = "running"


def _recognised(view: service_pb2.Certificate, event: events_pb2.RecognitionRecorded, at: datetime) -> None:
    view.ClearField("recognition")
    view.recognition.state = "done"
    view.recognition.fields.extend(event.fields)
    view.recognition.engine = event.engine
    view.recognition.engine_version = event.engine_version


def _recognition_delayed(view: service_pb2.Certificate, event: events_pb2.RecognitionDelayed, at: datetime) -> None:
    view.recognition.state = "delayed"
    view.recognition.reason = event.reason


def _stated(view: service_pb2.Certificate, event: events_pb2.FieldsStated, at: datetime) -> None:
    _break(view, event.version)
    view.ClearField("fields")
    view.fields.update(event.fields)
    view.ClearField("absent")
    view.absent.extend(event.absent)


def _marked(view: service_pb2.Certificate, event: events_pb2.FieldsMarked, at: datetime) -> None:
    _break(view, event.version)
    view.ClearField("marks")
    view.marks.extend(event.marks)


def _switched(view: service_pb2.Certificate, event: events_pb2.ModeSwitched, at: datetime) -> None:
    view.mode = event.mode


def _requested(view: service_pb2.Certificate, event: events_pb2.VerificationRequested, at: datetime) -> None:
    view.holder.CopyFrom(event.holder)
    view.ClearField("verification")
    view.verification.id = event.verification_id
    view.verification.state = "running"
    view.verification.light = types_pb2.LIGHT_NONE
    view.verification.version = event.version
    view.light = types_pb2.LIGHT_NONE
    view.ClearField("seal")


def _verdict(view: service_pb2.Certificate, event: events_pb2.VerdictRecorded, at: datetime) -> None:
    fresh = event.version == view.version
    verification = view.verification
    verification.ClearField("reason")
    verification.state = "done" if fresh else "stale"
    verification.light = event.light
    verification.fields.extend(event.fields)
    verification.rules.extend(event.rules)
    verification.rules_version = event.rules_version
    verification.engine_version = event.engine_version
    if fresh:
        view.light = event.light


def _verification_delayed(view: service_pb2.Certificate, event: events_pb2.VerificationDelayed, at: datetime) -> None:
    view.verification.state = "delayed"
    view.verification.reason = event.reason


def _sealed(view: service_pb2.Certificate, event: events_pb2.SealRecorded, at: datetime) -> None:
    view.seal.CopyFrom(event.seal)


def _submitted(view: service_pb2.Certificate, event: events_pb2.Submitted, at: datetime) -> None:
    view.state = SUBMITTED
    view.unique_code = event.unique_code
    view.submitted_at.CopyFrom(_stamp(at))
    view.supplementing = False
    view.ClearField("accepted")
    view.accepted.submitted_at.CopyFrom(view.submitted_at)
    _copy_content(view, view.accepted)


def _copy_content(source: service_pb2.Certificate | service_pb2.Accepted, target: service_pb2.Certificate | service_pb2.Accepted) -> None:
    """Makes everything that a supplement may change in ``target`` what it is in ``source``."""
    for name in ("fields", "absent", "marks", "document", "recognition", "verification", "seal", "holder"):
        target.ClearField(name)
    target.version = source.version
    target.light = source.light
    target.mode = source.mode
    target.fields.update(source.fields)
    target.absent.extend(source.absent)
    target.marks.extend(source.marks)
    target.recognition.CopyFrom(source.recognition)
    target.verification.CopyFrom(source.verification)
    target.holder.CopyFrom(source.holder)
    if source.HasField("document"):
        target.document.CopyFrom(source.document)
    if source.HasField("seal"):
        target.seal.CopyFrom(source.seal)


def _supplement_begun(view: service_pb2.Certificate, event: events_pb2.SupplementBegun, at: datetime) -> None:
    # Recognition may have gone on after the submission.
    view.accepted.recognition.CopyFrom(view.recognition)
    view.supplementing = True
    _break(view, event.version)


def _supplement_abandoned(view: service_pb2.Certificate, event: events_pb2.SupplementAbandoned, at: datetime) -> None:
    if view.document.sha256 == view.accepted.document.sha256:
        view.accepted.recognition.CopyFrom(view.recognition)
    view.supplementing = False
    _copy_content(view.accepted, view)


def _light_contested(view: service_pb2.Certificate, event: events_pb2.LightContested, at: datetime) -> None:
    view.accepted.objection.grounds = event.grounds
    view.accepted.objection.at.CopyFrom(_stamp(at))


def _discarded(view: service_pb2.Certificate, event: events_pb2.Discarded, at: datetime) -> None:
    view.state = DISCARDED


def _successor_begun(view: service_pb2.Certificate, event: events_pb2.SuccessorBegun, at: datetime) -> None:
    view.successor_id = event.successor_id


def _successor_released(view: service_pb2.Certificate, event: events_pb2.SuccessorReleased, at: datetime) -> None:
    view.successor_id = ""


def _superseded(view: service_pb2.Certificate, event: events_pb2.Superseded, at: datetime) -> None:
    view.state = SUPERSEDED
    view.successor_id = event.successor_id


def _expiry_noticed(view: service_pb2.Certificate, event: events_pb2.ExpiryNoticed, at: datetime) -> None:
    view.expiry_notice.Clear()
    view.expiry_notice.id = event.notice_id
    view.expiry_notice.version = event.version
    view.expiry_notice.days_before = event.days_before
    view.expiry_notice.valid_until = event.valid_until
    view.expiry_notice.noticed_at.CopyFrom(_stamp(at))


def _notice_acknowledged(view: service_pb2.Certificate, event: events_pb2.NoticeAcknowledged, at: datetime) -> None:
    view.expiry_notice.acknowledged = True


def _push_requested(view: service_pb2.Certificate, event: events_pb2.PushRequested, at: datetime) -> None:
    push = view.pushes.add()
    push.id = event.push_id
    push.number = event.number
    push.domain_id = event.domain_id
    push.state = "requested"
    push.version = event.version
    push.pushed_at.CopyFrom(_stamp(at))


def _push_progress(view: service_pb2.Certificate, event: events_pb2.PushProgressRecorded, at: datetime) -> None:
    _push(view, event.push_id).state = event.state.lower()


def _reviewed(view: service_pb2.Certificate, event: events_pb2.ReviewRecorded, at: datetime) -> None:
    push = _push(view, event.push_id)
    push.state = event.decision
    push.opinion = event.opinion
    push.reviewed_at.FromMicroseconds(event.reviewed_at_us)
    push.reasons.extend(event.reasons)


def _appealed(view: service_pb2.Certificate, event: events_pb2.AppealRecorded, at: datetime) -> None:
    appeal = _push(view, event.push_id).appeal
    appeal.state = "pending"
    appeal.grounds = event.grounds
    appeal.appealed_at.FromMicroseconds(event.appealed_at_us)


def _appeal_answered(view: service_pb2.Certificate, event: events_pb2.AppealAnswerRecorded, at: datetime) -> None:
    push = _push(view, event.push_id)
    push.appeal.state = event.decision
    push.appeal.opinion = event.opinion
    push.appeal.answered_at.FromMicroseconds(event.answered_at_us)
    if event.decision == "overturned":
        push.state = "approved"


def _unchanged(view: service_pb2.Certificate, event: Message, at: datetime) -> None:
    """The event stands in the history and changes nothing that is shown."""


_EVOLVE: Final[dict[type[Message], Callable[[service_pb2.Certificate, Any, datetime], None]]] = {
    events_pb2.CertificateDrafted: _drafted,
    events_pb2.PersonAssigned: _assigned,
    events_pb2.CertificateUploaded: _uploaded,
    events_pb2.DocumentLocked: _unchanged,
    events_pb2.RecognitionRecorded: _recognised,
    events_pb2.RecognitionDelayed: _recognition_delayed,
    events_pb2.FieldsStated: _stated,
    events_pb2.FieldsMarked: _marked,
    events_pb2.ModeSwitched: _switched,
    events_pb2.VerificationRequested: _requested,
    events_pb2.VerdictRecorded: _verdict,
    events_pb2.VerificationDelayed: _verification_delayed,
    events_pb2.SealRecorded: _sealed,
    events_pb2.Submitted: _submitted,
    events_pb2.Discarded: _discarded,
    events_pb2.SupplementBegun: _supplement_begun,
    events_pb2.SupplementAbandoned: _supplement_abandoned,
    events_pb2.LightContested: _light_contested,
    events_pb2.SuccessorBegun: _successor_begun,
    events_pb2.SuccessorReleased: _successor_released,
    events_pb2.Superseded: _superseded,
    events_pb2.ExpiryNoticed: _expiry_noticed,
    events_pb2.NoticeAcknowledged: _notice_acknowledged,
    events_pb2.PushRequested: _push_requested,
    events_pb2.PushWithdrawalRequested: _unchanged,
    events_pb2.PushProgressRecorded: _push_progress,
    events_pb2.ReviewRecorded: _reviewed,
    events_pb2.AppealRecorded: _appealed,
    events_pb2.AppealAnswerRecorded: _appeal_answered,
}
EVENTS: Final = tuple(_EVOLVE)


def evolve(state: State, event: Any, at: datetime) -> State:
    """The state after one event; pure."""
    view = service_pb2.Certificate()
    view.CopyFrom(state.view)
    _EVOLVE[type(event)](view, event, at)
    view.revision = state.view.revision + 1
    view.updated_at.CopyFrom(_stamp(at))
    catalogue_version, locked = state.catalogue_version, state.locked
    match event:
        case events_pb2.CertificateDrafted():
            catalogue_version = event.catalogue_version
        case events_pb2.CertificateUploaded():
            locked = False
        case events_pb2.DocumentLocked():
            locked = event.sha256 == view.document.sha256
        case events_pb2.SupplementAbandoned():
            locked = locked and state.view.document.sha256 == view.document.sha256
    return State(view, catalogue_version, locked, max(state.highest, view.version))


def _push(view: service_pb2.Certificate, push_id: str) -> service_pb2.PushRecord:
    for push in view.pushes:
        if push.id == push_id:
            return push
    raise YunkuError("not_found")


def _stamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


# -- what must hold for every command ----------------------------------------------------------------------------------


def owned(state: State, subject_id: str) -> service_pb2.Certificate:
    """The certificate, where it is the subject's; ``not_found`` otherwise (whether it exists isn't told)."""
    if not state.exists or state.view.holder.subject_id != subject_id:
        raise YunkuError("not_found")
    return state.view


def _draft(state: State, subject_id: str, expected_version: int) -> service_pb2.Certificate:
    view = owned(state, subject_id)
    if expected_version and view.version != expected_version:
        raise YunkuError("version_conflict", version=str(view.version))
    if view.state == SUPERSEDED:
        raise YunkuError("certificate_superseded")
    if not editable(view):
        raise YunkuError("wrong_state", state=view.state)
    return view


def editable(view: service_pb2.Certificate) -> bool:
    """Whether its content may change: a draft, or a submitted certificate whose supplement is open."""
    return view.state == DRAFT or (view.state == SUBMITTED and view.supplementing)


# -- commands of the company -------------------------------------------------------------------------------------------


def draft(
    state: State,
    *,
    certificate_id: str,
    holder: types_pb2.Holder,
    kind: CertificateType,
    catalogue_version: str,
    mode: types_pb2.Mode.ValueType,
    fields: Mapping[str, str],
    person_id: str = "",
    performance_id: str = "",
    supersedes: str = "",
    provenance: types_pb2.Provenance | None = None,
    person_bound: bool = False,
) -> list[Message]:
    """Begins an entry; ``supersedes`` names the certificate that it is to follow (``begin_successor`` decides there), ``provenance``
    says where it was taken over from, ``person_bound`` that the holder employs ``person_id`` now.

    Idempotent: the id stands for the one draft.

    A person's certificate is begun for a person whom the company employs; basic information can be begun before, and be what the
    person is bound by.
    """
    if state.exists:
        return []
    if kind.owner is not Owner.PERSON:
        if person_id:
            raise YunkuError("field_unknown", field="/person_id")
    elif person_id:
        if not person_bound:
            raise YunkuError("person_unknown", field="/person_id")
    elif not kind.revisable:
        raise YunkuError("field_required", field="/person_id")
    allowed = {"SMART": types_pb2.MODE_SMART, "MANUAL": types_pb2.MODE_MANUAL}
    if mode not in {allowed[name] for name in kind.modes}:
        raise YunkuError("mode_invalid", field="/mode")
    return [
        events_pb2.CertificateDrafted(
            certificate_id=certificate_id,
            holder=holder,
            type=kind.code,
            mode=mode,
            fields=_canonical(kind, fields),
            catalogue_version=catalogue_version,
            version=1,
            person_id=person_id,
            performance_id=performance_id,
            supersedes=supersedes,
            provenance=provenance,
        )
    ]


def assign_person(state: State, subject_id: str, kind: CertificateType, person_id: str, *, person_bound: bool) -> list[Message]:
    """Gives basic information that was begun without a person to one whom the company employs; the same again changes nothing."""
    view = _draft(state, subject_id, 0)
    if kind.owner is not Owner.PERSON:
        raise YunkuError("field_unknown", field="/person_id")
    if not person_bound:
        raise YunkuError("person_unknown", field="/person_id")
    if view.person_id == person_id:
        return []
    if view.person_id:
        raise YunkuError("wrong_state", state="person_assigned")
    return [events_pb2.PersonAssigned(certificate_id=view.id, person_id=person_id)]


def _has_person(view: service_pb2.Certificate, kind: CertificateType) -> None:
    """Whose a person's certificate is must be known before anything is decided about it."""
    if kind.owner is Owner.PERSON and not view.person_id:
        raise YunkuError("person_missing")


def upload(state: State, subject_id: str, document: types_pb2.Document, expected_version: int) -> list[Message]:
    """Uploads or replaces the document; the same bytes again change nothing."""
    view = _draft(state, subject_id, expected_version)
    if view.document.sha256 == document.sha256:
        return []
    return [
        events_pb2.CertificateUploaded(certificate_id=view.id, type=view.type, mode=view.mode, document=document, version=view.version + 1)
    ]


def state_fields(
    state: State,
    subject_id: str,
    kind: CertificateType,
    fields: Mapping[str, str],
    absent: Sequence[str] | None,
    expected_version: int,
) -> list[Message]:
    """States values (those named; an empty one clears). ``absent`` replaces what the print is said not to carry (None: as it was)."""
    view = _draft(state, subject_id, expected_version)
    stated = dict(view.fields)
    canonical = _canonical(kind, fields)
    for name in fields:
        stated.pop(name, None)
    stated.update(canonical)
    missing = sorted(view.absent if absent is None else set(absent))
    wrong = [
        FieldError(f"/absent/{number}", "field_unknown" if not kind.has_field(name) else "field_required")
        for number, name in enumerate(absent or ())  # places as the caller wrote them
        if not kind.has_field(name) or not kind.field(name).may_be_absent
    ]
    if wrong:
        raise YunkuError(wrong[0].code, errors=wrong[:50])
    if view.supplementing:
        _refuse_key_changes(view, kind, stated, missing)
    if stated == dict(view.fields) and missing == list(view.absent):
        return []
    return [events_pb2.FieldsStated(certificate_id=view.id, fields=stated, absent=missing, version=view.version + 1)]


def _refuse_key_changes(view: service_pb2.Certificate, kind: CertificateType, stated: Mapping[str, str], absent: Sequence[str]) -> None:
    """What a certificate is about stays as it was accepted: a supplement changes no KEY field, except of basic information (修改)."""
    if kind.revisable:
        return
    before = view.accepted
    wrong = [
        FieldError(_pointer(one.name), "key_field_locked", {"field": one.name})
        for one in kind.fields
        if one.role is Role.KEY
        and (stated.get(one.name) != dict(before.fields).get(one.name) or (one.name in absent) != (one.name in before.absent))
    ]
    if wrong:
        raise YunkuError("key_field_locked", errors=wrong[:50])


def mark_fields(
    state: State, subject_id: str, kind: CertificateType, marks: Sequence[types_pb2.Mark], expected_version: int
) -> list[Message]:
    """Replaces the marks. Every refusal names the mark by its place in the list."""
    view = _draft(state, subject_id, expected_version)
    if not view.HasField("document"):
        raise YunkuError("document_missing")
    if len(marks) > MAX_MARKS:
        raise YunkuError("value_too_long", field="/marks", max=str(MAX_MARKS))
    pages = {page.number for page in view.document.pages}
    wrong: list[FieldError] = []
    counts: dict[str, int] = {}
    for number, mark in enumerate(marks):
        at = f"/marks/{number}"
        counts[mark.field] = counts.get(mark.field, 0) + 1
        if not kind.has_field(mark.field):
            wrong.append(FieldError(f"{at}/field", "field_unknown", {"field": mark.field[:100]}))
        elif not kind.field(mark.field).takes_mark:
            wrong.append(FieldError(f"{at}/field", "field_not_markable", {"field": mark.field}))
        elif counts[mark.field] > MAX_MARKS_PER_FIELD:
            wrong.append(FieldError(f"{at}/field", "mark_duplicate", {"field": mark.field}))
        if mark.page not in pages:
            wrong.append(FieldError(f"{at}/page", "page_unknown", {"page": str(mark.page)}))
        if not _on_page(mark.box):
            wrong.append(FieldError(f"{at}/box", "box_outside_page"))
    if wrong:
        raise YunkuError(wrong[0].code, errors=wrong[:50])
    if list(view.marks) == list(marks):
        return []
    return [events_pb2.FieldsMarked(certificate_id=view.id, document=view.document, marks=marks, version=view.version + 1, type=view.type)]


def switch_mode(
    state: State, subject_id: str, kind: CertificateType, mode: types_pb2.Mode.ValueType, expected_version: int
) -> list[Message]:
    """Switches between 智能模式 and 人工模式 at any time before sealing; nothing typed or marked is lost."""
    view = _draft(state, subject_id, expected_version)
    names = {types_pb2.MODE_SMART: "SMART", types_pb2.MODE_MANUAL: "MANUAL"}
    if names.get(mode) not in kind.modes:
        raise YunkuError("mode_invalid", field="/mode")
    if view.mode == mode:
        return []
    if view.HasField("seal"):
        raise YunkuError("wrong_state", state="sealed")
    return [events_pb2.ModeSwitched(certificate_id=view.id, mode=mode, version=view.version)]


def request_verification(
    state: State,
    subject_id: str,
    kind: CertificateType,
    *,
    verification_id: str,
    holder: types_pb2.Holder,
    catalogue_version: str,
    expected_version: int,
) -> list[Message]:
    """Asks for the verdict over what stands now. While one runs over the same content, that one is answered."""
    view = _draft(state, subject_id, expected_version)
    if not kind.verification:
        raise YunkuError("wrong_state", state="no_verification")
    _has_person(view, kind)
    if not view.HasField("document"):
        raise YunkuError("document_missing")
    same_content = view.verification.version == view.version and view.holder == holder
    if view.verification.state in ("running", "delayed") and same_content:
        return []
    if view.verification.state == "done" and same_content and view.HasField("seal"):
        return []  # the verdict under the seal stands; asking again must not break the seal
    return [
        events_pb2.VerificationRequested(
            certificate_id=view.id,
            verification_id=verification_id,
            holder=holder,
            type=view.type,
            document=view.document,
            fields=view.fields,
            absent=view.absent,
            marks=view.marks,
            version=view.version,
            catalogue_version=catalogue_version,
            person_id=view.person_id,
        )
    ]


def _fresh_verdict(view: service_pb2.Certificate, kind: CertificateType) -> None:
    """Refuses unless a verdict over the present content stands and is not RED, where the type has a verification at all."""
    if not kind.verification:
        return
    verification = view.verification
    if verification.state == "none":
        raise YunkuError("verification_missing")
    if verification.state in ("running", "delayed"):
        raise YunkuError("verification_running")
    if verification.state == "stale" or verification.version != view.version:
        raise YunkuError("verification_stale")
    if view.light not in (types_pb2.LIGHT_YELLOW, types_pb2.LIGHT_GREEN):
        raise YunkuError("light_red_supplement" if view.supplementing else "light_red")


def may_seal(state: State, subject_id: str, kind: CertificateType, expected_version: int) -> service_pb2.Certificate:
    """The certificate, where it may be sealed now: a draft with a document and a fresh verdict that is not RED."""
    view = _draft(state, subject_id, expected_version)
    if not kind.sealed:
        raise YunkuError("wrong_state", state="no_seal")
    if not view.HasField("document"):
        raise YunkuError("document_missing")
    _fresh_verdict(view, kind)
    return view


def statement(view: service_pb2.Certificate) -> bytes:
    """What a seal is over besides the document's bytes: canonical UTF-8 JSON, embedded in the sealed PDF."""
    content = {
        "format": "yunku-statement:v1",
        "certificate_id": view.id,
        "version": view.version,
        "type": view.type,
        "holder": {"subject_id": view.holder.subject_id, "uscc": view.holder.uscc, "name": view.holder.name},
        "document_sha256": view.document.sha256,
        "fields": dict(view.fields),
        "absent": list(view.absent),
        "marks": [MessageToDict(mark, preserving_proto_field_name=True) for mark in view.marks],
        "verification": {
            "id": view.verification.id,
            "light": types_pb2.Light.Name(view.light).removeprefix("LIGHT_"),
            "rules_version": view.verification.rules_version,
            "engine_version": view.verification.engine_version,
        },
    }
    if view.supersedes:
        content["supersedes"] = view.supersedes
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def covers(seal: types_pb2.Seal, view: service_pb2.Certificate) -> bool:
    """Whether the seal is over exactly what stands now: a later verification of the same values makes another statement."""
    return seal.version == view.version and seal.statement_sha256 == hashlib.sha256(statement(view)).hexdigest()


def record_seal(state: State, certificate_id: str, seal: types_pb2.Seal) -> list[Message]:
    """Takes a valid seal in. One over anything but what stands now is no seal of this certificate, and is passed over."""
    view = state.view
    if view.id != certificate_id or not editable(view) or not covers(seal, view):
        return []
    if view.HasField("seal") and view.seal.seal_id == seal.seal_id:
        return []
    return [events_pb2.SealRecorded(certificate_id=certificate_id, seal=seal)]


def submit(state: State, subject_id: str, kind: CertificateType, *, today: date, expected_version: int) -> list[Message]:
    """Enters the register: every required field, a document that hasn't expired, a fresh verdict that is not RED, a valid seal;
    a type without one of these (catalogue: documents, verification, sealed) skips what it doesn't have."""
    view = _draft(state, subject_id, expected_version)
    _has_person(view, kind)
    missing = [
        FieldError(f"/fields/{one.name}", "field_required", {"field": one.name})
        for one in kind.fields
        if one.required and one.name not in view.fields and one.name not in view.absent
    ]
    if missing:
        raise YunkuError("field_required", errors=missing)
    if kind.needs_document and not view.HasField("document"):
        raise YunkuError("document_missing")
    _fresh_verdict(view, kind)
    if kind.sealed and (not view.HasField("seal") or view.seal.version != view.version):
        raise YunkuError("seal_missing")
    _, valid_until = kind.validity(view.fields)
    if valid_until and date.fromisoformat(valid_until) < today:
        raise YunkuError("document_expired", valid_until=valid_until)
    return [
        events_pb2.Submitted(
            certificate_id=view.id,
            holder=view.holder,
            type=view.type,
            version=view.version,
            unique_code=unique_code(kind.code_letter, view.id),
            light=view.light,
            fields=view.fields,
            document=view.document if view.HasField("document") else None,
            seal=view.seal if view.HasField("seal") else None,
            valid_until=valid_until,
            supersedes=view.supersedes,
        )
    ]


def stands_alone(kind: CertificateType, submitted: service_pb2.Certificate, others: Sequence[service_pb2.Certificate]) -> None:
    """Refuses a submission beside ``others``, the holder's entries of the type that stand: a second one of the same year, month or
    whatever else ``unique_by`` names, or one by which ``at_most`` would be exceeded. What it supersedes doesn't stand any more."""
    same = [one for one in others if all(one.accepted.fields.get(name) == submitted.fields.get(name) for name in kind.unique_by)]
    if kind.unique_by and same:
        raise YunkuError("entry_exists", errors=[FieldError(_pointer(name), "entry_exists", {"field": name}) for name in kind.unique_by])
    if kind.at_most:
        name, most = kind.at_most.field, kind.at_most.total
        shares = (submitted.fields, *(one.accepted.fields for one in others))
        if sum(Decimal(fields.get(name, "0")) for fields in shares) > Decimal(most):
            wrong = FieldError(_pointer(name), "total_exceeded", {"field": name, "total": most})
            raise YunkuError("total_exceeded", errors=[wrong], total=most)


def begin_supplement(state: State, subject_id: str, kind: CertificateType, expected_version: int) -> list[Message]:
    """Opens a supplement 补充完善: of a YELLOW certificate, or of one whose type has no verification. One that is open is answered.

    Basic information is changed at any light, KEY fields too (修改, manual 四 (一), (二)).
    """
    view = owned(state, subject_id)
    if expected_version and view.version != expected_version:
        raise YunkuError("version_conflict", version=str(view.version))
    if view.state == DRAFT:
        raise YunkuError("not_submitted")
    if view.state == SUPERSEDED:
        raise YunkuError("certificate_superseded")
    if view.state != SUBMITTED:
        raise YunkuError("wrong_state", state=view.state)
    if view.supplementing:
        return []
    if view.successor_id:
        raise YunkuError("successor_exists")
    if view.light == types_pb2.LIGHT_GREEN and not kind.revisable:
        raise YunkuError("light_green_locked")
    return [events_pb2.SupplementBegun(certificate_id=view.id, version=state.highest + 1)]


def discard(state: State, subject_id: str, expected_version: int) -> list[Message]:
    """Gives a draft, or an open supplement, up; the history stays readable, and what was accepted stands."""
    view = owned(state, subject_id)
    if view.state == DISCARDED:
        return []
    view = _draft(state, subject_id, expected_version)
    if view.supplementing:
        return [events_pb2.SupplementAbandoned(certificate_id=view.id, version=view.accepted.version)]
    return [events_pb2.Discarded(certificate_id=view.id)]


def request_push(state: State, subject_id: str, *, push_id: str, domain_id: str) -> list[Message]:
    """Pushes the version accepted last to a domain, also while a supplement is open; at most one push of a version is pending there."""
    view = owned(state, subject_id)
    if any(push.id == push_id for push in view.pushes):
        return []
    if view.state == SUPERSEDED:
        raise YunkuError("certificate_superseded")
    if view.state != SUBMITTED:
        raise YunkuError("not_submitted")
    accepted = view.accepted
    if any(push.domain_id == domain_id and push.version == accepted.version and push.state in PENDING for push in view.pushes):
        raise YunkuError("push_exists", field="/domain")
    return [
        events_pb2.PushRequested(
            certificate_id=view.id,
            push_id=push_id,
            number=len(view.pushes) + 1,
            domain_id=domain_id,
            holder=accepted.holder,
            type=view.type,
            version=accepted.version,
            unique_code=view.unique_code,
            light=accepted.light,
            fields=accepted.fields,
            document=accepted.document if accepted.HasField("document") else None,
            seal=accepted.seal if accepted.HasField("seal") else None,
            objection=accepted.objection.grounds,
        )
    ]


def contest_light(state: State, subject_id: str, grounds: str, expected_version: int) -> list[Message]:
    """Contests the YELLOW light of the version accepted last (domain.md, "Appeal"), once; its grounds go with every later push.

    The light stays: it is a machine's, and the same inputs give it again. Who reviews decides what it is worth.
    """
    view = owned(state, subject_id)
    if expected_version and view.version != expected_version:
        raise YunkuError("version_conflict", version=str(view.version))
    grounds = grounds.strip()
    if not grounds:
        raise YunkuError("field_required", field="/grounds")
    if len(grounds) > MAX_GROUNDS:
        raise YunkuError("value_too_long", field="/grounds", max=str(MAX_GROUNDS))
    if not all(character.isprintable() or character in "\n\t" for character in grounds):
        raise YunkuError("value_invalid", field="/grounds")
    if view.state == SUPERSEDED:
        raise YunkuError("certificate_superseded")
    if view.state != SUBMITTED:
        raise YunkuError("not_submitted")
    if view.accepted.light != types_pb2.LIGHT_YELLOW:
        raise YunkuError("light_not_contestable")
    if view.accepted.HasField("objection"):
        raise YunkuError("objection_exists")
    return [events_pb2.LightContested(certificate_id=view.id, version=view.accepted.version, grounds=grounds)]


def withdraw_push(state: State, subject_id: str, push_id: str) -> list[Message]:
    """Asks for a pending push back; the push service decides, since a review may have come first."""
    push = _push(owned(state, subject_id), push_id)
    if push.state == "withdrawn":
        return []
    if push.state not in PENDING:
        raise YunkuError("push_not_pending", state=push.state)
    return [events_pb2.PushWithdrawalRequested(certificate_id=state.view.id, push_id=push_id)]


# -- certificates that follow one another (domain.md, "After submission": a change of a GREEN one is a new one) ---------------


def begin_successor(
    former: State, subject_id: str, successor_id: str, *, kind: CertificateType, person_id: str, performance_id: str
) -> list[Message]:
    """Lets a draft be the one that is to follow this certificate; decided on the former, so that there is never a second.

    The former must be submitted, of the same holder, type, person and performance, and have neither an open supplement nor another
    living successor.
    """
    at, view = "/supersedes", former.view
    if not former.exists or view.holder.subject_id != subject_id:
        raise YunkuError("not_found", field=at)
    if (view.type, view.person_id, view.performance_id) != (kind.code, person_id, performance_id):
        raise YunkuError("supersedes_other", field=at)
    if view.successor_id == successor_id:
        return []
    if view.state == SUPERSEDED:
        raise YunkuError("certificate_superseded", field=at)
    if view.state != SUBMITTED:
        raise YunkuError("not_submitted", field=at)
    if view.successor_id:
        raise YunkuError("successor_exists", field=at)
    if view.supplementing:
        raise YunkuError("supplement_open", field=at)
    return [events_pb2.SuccessorBegun(certificate_id=view.id, successor_id=successor_id)]


def release_successor(former: State, successor_id: str) -> list[Message]:
    """Frees the former of a successor that was discarded."""
    view = former.view
    if view.state != SUBMITTED or view.successor_id != successor_id:
        return []
    return [events_pb2.SuccessorReleased(certificate_id=view.id, successor_id=successor_id)]


def supersede(former: State, successor_id: str) -> list[Message]:
    """Ends the former: its successor is being submitted. Once; a later version of the successor changes nothing here."""
    view = former.view
    if view.state != SUBMITTED or view.successor_id != successor_id:
        return []
    return [events_pb2.Superseded(certificate_id=view.id, successor_id=successor_id)]


# -- what other services found out -------------------------------------------------------------------------------------


def record_recognition(state: State, event: events_pb2.RecognitionRecorded) -> list[Message]:
    """Takes recognised fields in, where the document is still the one that was read."""
    view = state.view
    if view.document.sha256 != event.document_sha256 or view.recognition.state == "done":
        return []
    return [event]


def record_recognition_delay(state: State, event: events_pb2.RecognitionDelayed) -> list[Message]:
    view = state.view
    if view.document.sha256 != event.document_sha256 or view.recognition.state != "running":
        return []
    return [event]


def record_verdict(state: State, event: events_pb2.VerdictRecorded) -> list[Message]:
    """Takes a verdict in, where it is the one that was last asked for."""
    verification = state.view.verification
    if verification.id != event.verification_id or verification.state not in ("running", "delayed", "stale"):
        return []
    if verification.light != types_pb2.LIGHT_NONE:
        return []  # it came before, and has become stale since
    return [event]


def record_verification_delay(state: State, event: events_pb2.VerificationDelayed) -> list[Message]:
    verification = state.view.verification
    if verification.id != event.verification_id or verification.state != "running":
        return []
    return [event]


def record_progress(state: State, event: events_pb2.PushProgressRecorded) -> list[Message]:
    """Takes in how far a push got; never backwards, and never past a decision."""
    order = ("requested", "delivered", "acknowledged", "withdrawn")
    for push in state.view.pushes:
        if push.id == event.push_id and push.state in PENDING and order.index(event.state.lower()) > order.index(push.state):
            return [event]
    return []


def record_review(state: State, event: events_pb2.ReviewRecorded) -> list[Message]:
    """Takes the domain's decision in, once."""
    for push in state.view.pushes:
        if push.id == event.push_id and push.state in PENDING:
            return [event]
    return []


def record_appeal(state: State, event: events_pb2.AppealRecorded) -> list[Message]:
    """Takes the company's appeal in, once."""
    return [event for push in state.view.pushes if push.id == event.push_id and push.state == "rejected" and not push.HasField("appeal")]


def record_appeal_answer(state: State, event: events_pb2.AppealAnswerRecorded) -> list[Message]:
    """Takes the domain's answer to the appeal in, once."""
    return [event for push in state.view.pushes if push.id == event.push_id and push.appeal.state == "pending"]


def record_lock(state: State, event: events_pb2.DocumentLocked) -> list[Message]:
    if state.locked or state.view.document.sha256 != event.sha256:
        return []
    return [event]


# -- small rules -------------------------------------------------------------------------------------------------------


def _pointer(name: str) -> str:
    """Where a stated value is in the request, whatever the caller called it (RFC 6901)."""
    return "/fields/" + name[:100].replace("~", "~0").replace("/", "~1")


def _canonical(kind: CertificateType, fields: Mapping[str, str]) -> dict[str, str]:
    too_long = [FieldError(_pointer(name), "value_too_long", {"max": str(MAX_VALUE)}) for name in fields if len(fields[name]) > MAX_VALUE]
    if too_long:
        raise YunkuError("value_too_long", errors=too_long[:50])
    canonical, problems = kind.parse(fields)
    if problems:
        errors = [
            FieldError(
                _pointer(name),
                "field_unknown" if problem.code == "field.unknown" else "value_invalid",
                {**problem.details, "field": name[:100], "problem": problem.code},
            )
            for name, problem in problems.items()
        ]
        raise YunkuError(errors[0].code, errors=errors[:50])
    return canonical


def _on_page(box: types_pb2.Box) -> bool:
    # Comparisons with NaN are false, so a box with one fails here.
    return (
        0.0 <= box.x0 <= 1.0
        and 0.0 <= box.y0 <= 1.0
        and 0.0 <= box.x1 <= 1.0
        and 0.0 <= box.y1 <= 1.0
        and box.x1 - box.x0 >= MIN_SIDE
        and box.y1 - box.y0 >= MIN_SIDE
    )


def unique_code(letter: str, certificate_id: str) -> str:
    """The public identifier (唯一标识码): province, type letter, 16 characters that follow from the certificate's id, check character.

    The alphabet is base32 (no 0, 1, 8, 9); the check character is ISO 7064 MOD 37-2's simple form over it, which finds every
    single wrong character and every swap of neighbours.
    """
    body = PROVINCE + letter + base64.b32encode(hashlib.sha256(certificate_id.encode()).digest()).decode()[:16]
    return body + check_character(body)


_CHECK_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*"


def check_character(body: str) -> str:
    """ISO 7064 MOD 37-2 over digits and capital letters."""
    remainder = 0
    for character in body:
        remainder = (remainder + _CHECK_ALPHABET.index(character)) * 2 % 37
    return _CHECK_ALPHABET[(38 - remainder) % 37]
