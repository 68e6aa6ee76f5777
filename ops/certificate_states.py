"""Every state of a certificate's life as its history of events, and every command: what the real decisions do in each.

One source of two things: docs/states.md (``python -m ops.states_document``) and the tables of tests/unit/test_certificate_domain.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from google.protobuf.message import Message
from yunku.certificate.v1 import events_pb2, service_pb2, types_pb2

import catalogue
from kernel.errors import YunkuError
from services.certificate import domain

ME, STRANGER, ID, VERIFICATION, PUSH, DOMAIN, NEXT = "s", "another", "c", "k", "p", "ln-bidding", "c2"
AT = datetime(2026, 11, 23, 8, tzinfo=UTC)
TODAY = date(2026, 11, 23)
LICENCE = catalogue.load().type("business_license")
#: As most types are: changed by supplement only.
KIND = replace(LICENCE, revisable=False)
UNVERIFIED = replace(KIND, verification=False)

HOLDER = types_pb2.Holder(subject_id=ME, uscc="91210102MA0YK0015B", name="沈阳云库建设有限公司")
RENAMED = types_pb2.Holder(subject_id=ME, uscc=HOLDER.uscc, name="辽宁云库建设有限公司", former_names=[HOLDER.name])
PAGES = [types_pb2.Page(number=1, width=595, height=842), types_pb2.Page(number=2, width=842, height=595)]
DOCUMENT = types_pb2.Document(sha256="ab" * 32, size=10, media_type="application/pdf", pages=PAGES, file_name="执照.pdf")
OTHER = types_pb2.Document(sha256="cd" * 32, size=20, media_type="image/png", pages=PAGES[:1], file_name="执照.png")
REQUIRED = {
    "uscc": HOLDER.uscc,
    "company_name": HOLDER.name,
    "company_type": "有限责任公司",
    "address": "沈阳市和平区南京南街1号",
    "legal_rep_name": "王建国",
    "established_on": "2016-03-01",
    "business_scope": "房屋建筑工程施工",
    "registration_authority": "沈阳市市场监督管理局",
}


def box(x0: float = 0.1, y0: float = 0.1, x1: float = 0.5, y1: float = 0.2) -> types_pb2.Box:
    return types_pb2.Box(x0=x0, y0=y0, x1=x1, y1=y1)


def mark(field: str = "uscc", page: int = 1, at: types_pb2.Box | None = None) -> types_pb2.Mark:
    return types_pb2.Mark(field=field, page=page, box=at or box())


# -- events that may have happened -------------------------------------------------------------------------------------

READ = types_pb2.RecognisedField(field="uscc", value=HOLDER.uscc, confidence=0.9, page=1, box=box())
DRAFTED = events_pb2.CertificateDrafted(
    certificate_id=ID, holder=HOLDER, type=KIND.code, mode=types_pb2.MODE_SMART, catalogue_version="1", version=1
)
UPLOADED = events_pb2.CertificateUploaded(certificate_id=ID, type=KIND.code, mode=types_pb2.MODE_SMART, document=DOCUMENT, version=2)
RECOGNISED = events_pb2.RecognitionRecorded(
    certificate_id=ID, document_sha256=DOCUMENT.sha256, fields=[READ], engine="e", engine_version="e-1", pages_rendered=2
)
READ_LATER = events_pb2.RecognitionDelayed(certificate_id=ID, document_sha256=DOCUMENT.sha256, reason="recognition_timeout")
STATED = events_pb2.FieldsStated(certificate_id=ID, fields=REQUIRED, version=3)
MARKED = events_pb2.FieldsMarked(certificate_id=ID, document=DOCUMENT, marks=[mark()], version=4, type=KIND.code)
SWITCHED = events_pb2.ModeSwitched(certificate_id=ID, mode=types_pb2.MODE_MANUAL, version=4)
CHANGED = events_pb2.FieldsStated(certificate_id=ID, fields=REQUIRED | {"legal_rep_name": "李建国"}, version=5)
ASKED = events_pb2.VerificationRequested(
    certificate_id=ID,
    verification_id=VERIFICATION,
    holder=HOLDER,
    type=KIND.code,
    document=DOCUMENT,
    fields=REQUIRED,
    marks=[mark()],
    version=4,
    catalogue_version="1",
)
VERIFIED_LATER = events_pb2.VerificationDelayed(certificate_id=ID, verification_id=VERIFICATION, version=4, reason="recognition_timeout")
LOCKED = events_pb2.DocumentLocked(certificate_id=ID, sha256=DOCUMENT.sha256, retain_until_us=1)


def verdict(light: types_pb2.Light.ValueType, version: int = 4, verification_id: str = VERIFICATION) -> events_pb2.VerdictRecorded:
    return events_pb2.VerdictRecorded(
        certificate_id=ID,
        verification_id=verification_id,
        version=version,
        light=light,
        fields=[types_pb2.FieldVerdict(field="uscc", verdict=types_pb2.VERDICT_MATCH, stated=HOLDER.uscc, recognised=HOLDER.uscc)],
        rules_version="1",
        engine_version="e-1",
    )


def given(*events: Message) -> domain.State:
    """The state after these events, a second apart."""
    state = domain.State()
    for number, event in enumerate(events):
        state = domain.evolve(state, event, AT + timedelta(seconds=number))
    return state


def seal_over(state: domain.State, identity: str) -> types_pb2.Seal:
    """A seal over what stands in that state."""
    return types_pb2.Seal(
        seal_id=identity,
        version=state.view.version,
        sealed_sha256="ef" * 32,
        size=30,
        signer_name=HOLDER.name,
        signer_uscc=HOLDER.uscc,
        statement_sha256=sha256(domain.statement(state.view)).hexdigest(),
    )


RED, YELLOW, GREEN = (verdict(light) for light in (types_pb2.LIGHT_RED, types_pb2.LIGHT_YELLOW, types_pb2.LIGHT_GREEN))
TO_MARKED = (DRAFTED, UPLOADED, STATED, MARKED)
SEAL = seal_over(given(*TO_MARKED, ASKED, GREEN), "z")
SEALED = events_pb2.SealRecorded(certificate_id=ID, seal=SEAL)
SUBMITTED = events_pb2.Submitted(
    certificate_id=ID,
    holder=HOLDER,
    type=KIND.code,
    version=4,
    unique_code=domain.unique_code("L", ID),
    light=types_pb2.LIGHT_GREEN,
    fields=REQUIRED,
    document=DOCUMENT,
    seal=SEAL,
)
DISCARDED = events_pb2.Discarded(certificate_id=ID)
BEGUN = events_pb2.SupplementBegun(certificate_id=ID, version=5)
ABANDONED = events_pb2.SupplementAbandoned(certificate_id=ID, version=4)
FOLLOWED = events_pb2.SuccessorBegun(certificate_id=ID, successor_id=NEXT)
RELEASED = events_pb2.SuccessorReleased(certificate_id=ID, successor_id=NEXT)
NOTICED = events_pb2.ExpiryNoticed(certificate_id=ID, notice_id=f"{ID}.4.90", version=4, days_before=90, valid_until="2027-01-01")
ACKNOWLEDGED = events_pb2.NoticeAcknowledged(certificate_id=ID, notice_id=NOTICED.notice_id)
SUPERSEDED = events_pb2.Superseded(certificate_id=ID, successor_id=NEXT)
PUSHED = events_pb2.PushRequested(
    certificate_id=ID,
    push_id=PUSH,
    number=1,
    domain_id=DOMAIN,
    holder=HOLDER,
    type=KIND.code,
    version=4,
    unique_code=SUBMITTED.unique_code,
    light=types_pb2.LIGHT_GREEN,
    fields=REQUIRED,
    document=DOCUMENT,
    seal=SEAL,
)
TAKEN_BACK = events_pb2.PushWithdrawalRequested(certificate_id=ID, push_id=PUSH)


def progress(state: str) -> events_pb2.PushProgressRecorded:
    return events_pb2.PushProgressRecorded(certificate_id=ID, push_id=PUSH, state=state, at_us=1)


def reviewed(decision: str) -> events_pb2.ReviewRecorded:
    return events_pb2.ReviewRecorded(
        certificate_id=ID, push_id=PUSH, domain_id=DOMAIN, version=4, decision=decision, opinion="已核", reviewed_at_us=1_000_000
    )


APPEALED = events_pb2.AppealRecorded(certificate_id=ID, push_id=PUSH, domain_id=DOMAIN, grounds="请复核", appealed_at_us=1)
OVERTURNED = events_pb2.AppealAnswerRecorded(
    certificate_id=ID, push_id=PUSH, domain_id=DOMAIN, decision="overturned", opinion="属实", answered_at_us=2
)
CONTESTED = events_pb2.LightContested(certificate_id=ID, version=4, grounds="以原件为准")
TO_SUBMITTED = (*TO_MARKED, ASKED, GREEN, SEALED, SUBMITTED)


def submitted(light: types_pb2.Light.ValueType) -> events_pb2.Submitted:
    event = events_pb2.Submitted()
    event.CopyFrom(SUBMITTED)
    event.light = light
    return event


#: A certificate that may be supplemented.
ACCEPTED = (*TO_MARKED, ASKED, YELLOW, SEALED, submitted(types_pb2.LIGHT_YELLOW))

HISTORIES: Final[dict[str, tuple[Message, ...]]] = {
    "nothing": (),
    "draft": (DRAFTED,),
    "document": (DRAFTED, UPLOADED),
    "read_later": (DRAFTED, UPLOADED, READ_LATER),
    "recognised": (DRAFTED, UPLOADED, READ_LATER, RECOGNISED),
    "locked": (DRAFTED, UPLOADED, LOCKED),
    "stated": (DRAFTED, UPLOADED, STATED),
    "marked": TO_MARKED,
    "running": (*TO_MARKED, ASKED),
    "delayed": (*TO_MARKED, ASKED, VERIFIED_LATER),
    "red": (*TO_MARKED, ASKED, RED),
    "yellow": (*TO_MARKED, ASKED, YELLOW),
    "green": (*TO_MARKED, ASKED, VERIFIED_LATER, GREEN),
    "changed": (*TO_MARKED, ASKED, CHANGED),
    "stale": (*TO_MARKED, ASKED, GREEN, CHANGED),
    "late": (*TO_MARKED, ASKED, CHANGED, GREEN),
    "sealed": (*TO_MARKED, ASKED, GREEN, SEALED),
    "unsealed": (*TO_MARKED, ASKED, GREEN, SEALED, CHANGED),
    "discarded": (*TO_MARKED, SWITCHED, DISCARDED),
    "submitted": TO_SUBMITTED,
    "pushed": (*TO_SUBMITTED, PUSHED),
    "asked_back": (*TO_SUBMITTED, PUSHED, TAKEN_BACK),
    "delivered": (*TO_SUBMITTED, PUSHED, progress("DELIVERED")),
    "acknowledged": (*TO_SUBMITTED, PUSHED, progress("DELIVERED"), progress("ACKNOWLEDGED")),
    "withdrawn": (*TO_SUBMITTED, PUSHED, TAKEN_BACK, progress("WITHDRAWN")),
    "approved": (*TO_SUBMITTED, PUSHED, reviewed("approved")),
    "rejected": (*TO_SUBMITTED, PUSHED, reviewed("rejected")),
    "appealed": (*TO_SUBMITTED, PUSHED, reviewed("rejected"), APPEALED),
    "overturned": (*TO_SUBMITTED, PUSHED, reviewed("rejected"), APPEALED, OVERTURNED),
    "contested": (*ACCEPTED, CONTESTED),
    "supplement": (*ACCEPTED, BEGUN),
    "abandoned": (*ACCEPTED, BEGUN, ABANDONED),
    "followed": (*TO_SUBMITTED, FOLLOWED),
    "released": (*TO_SUBMITTED, FOLLOWED, RELEASED),
    "superseded": (*TO_SUBMITTED, PUSHED, FOLLOWED, SUPERSEDED),
    "noticed": (*TO_SUBMITTED, NOTICED),
    "acknowledged_notice": (*TO_SUBMITTED, NOTICED, ACKNOWLEDGED),
}

#: What each of them is, in a reader's words.
MEANINGS: Final[dict[str, str]] = {
    "nothing": "no event yet",
    "draft": "a draft without document",
    "document": "a draft with a document that is being read",
    "read_later": "the document couldn't be read yet",
    "recognised": "the document was read",
    "locked": "the document is under retention",
    "stated": "every required field is stated",
    "marked": "the fields are marked",
    "running": "a verification runs",
    "delayed": "the verification is late and tried again",
    "red": "verified: RED",
    "yellow": "verified: YELLOW",
    "green": "verified: GREEN",
    "changed": "changed while the verification runs",
    "stale": "changed after the verdict",
    "late": "changed, then the former verdict came",
    "sealed": "sealed",
    "unsealed": "changed after the seal",
    "discarded": "a draft given up",
    "submitted": "submitted, GREEN",
    "pushed": "submitted and pushed",
    "asked_back": "the company asked the push back",
    "delivered": "the push was delivered",
    "acknowledged": "the domain's system has the push",
    "withdrawn": "the push was withdrawn",
    "approved": "approved by the domain",
    "rejected": "rejected by the domain",
    "appealed": "the company appealed against the rejection",
    "overturned": "another reviewer overturned the rejection",
    "contested": "the company contests the YELLOW light",
    "supplement": "submitted YELLOW, a supplement is open",
    "abandoned": "submitted YELLOW, a supplement was given up",
    "followed": "submitted, a successor is being made",
    "released": "submitted, a successor was discarded",
    "superseded": "superseded by a submitted successor; a push was pending",
    "noticed": "submitted; the company was reminded of its coming expiry",
    "acknowledged_notice": "submitted; the reminder was acknowledged",
}


# -- every command in every state --------------------------------------------------------------------------------------

Command = Callable[[domain.State, str, int], Sequence[Message]]


def upload(state: domain.State, subject: str = ME, version: int = 0, document: types_pb2.Document = OTHER) -> list[Message]:
    return domain.upload(state, subject, document, version)


def state_fields(
    state: domain.State,
    subject: str = ME,
    version: int = 0,
    fields: Mapping[str, str] | None = None,
    absent: Sequence[str] | None = None,
) -> list[Message]:
    return domain.state_fields(state, subject, KIND, {"legal_rep_name": "赵一"} if fields is None else fields, absent, version)


def mark_fields(
    state: domain.State, subject: str = ME, version: int = 0, marks: Sequence[types_pb2.Mark] = (mark("company_name"),)
) -> list[Message]:
    return domain.mark_fields(state, subject, KIND, marks, version)


def switch(state: domain.State, subject: str = ME, version: int = 0, mode: Any = types_pb2.MODE_MANUAL) -> list[Message]:
    return domain.switch_mode(state, subject, KIND, mode, version)


def verify(
    state: domain.State,
    subject: str = ME,
    version: int = 0,
    holder: types_pb2.Holder = HOLDER,
    kind: catalogue.CertificateType = KIND,
) -> list[Message]:
    return domain.request_verification(
        state, subject, kind, verification_id="k2", holder=holder, catalogue_version="2", expected_version=version
    )


def may_seal(
    state: domain.State, subject: str = ME, version: int = 0, kind: catalogue.CertificateType = KIND
) -> list[service_pb2.Certificate]:
    return [domain.may_seal(state, subject, kind, version)]


def submit(
    state: domain.State, subject: str = ME, version: int = 0, kind: catalogue.CertificateType = KIND, today: date = TODAY
) -> list[Message]:
    return domain.submit(state, subject, kind, today=today, expected_version=version)


def supplement(state: domain.State, subject: str = ME, version: int = 0, kind: catalogue.CertificateType = KIND) -> list[Message]:
    return domain.begin_supplement(state, subject, kind, version)


def discard(state: domain.State, subject: str = ME, version: int = 0) -> list[Message]:
    return domain.discard(state, subject, version)


def push(state: domain.State, subject: str = ME, version: int = 0, push_id: str = "p2", to: str = DOMAIN) -> list[Message]:
    return domain.request_push(state, subject, push_id=push_id, domain_id=to)


def withdraw(state: domain.State, subject: str = ME, version: int = 0, push_id: str = PUSH) -> list[Message]:
    return domain.withdraw_push(state, subject, push_id)


def follow(
    state: domain.State,
    subject: str = ME,
    version: int = 0,
    successor: str = "c3",
    kind: catalogue.CertificateType = KIND,
    person: str = "",
) -> list[Message]:
    return domain.begin_successor(state, subject, successor, kind=kind, person_id=person, performance_id="")


COMMANDS: Final[dict[str, tuple[Command, type[Message]]]] = {
    "upload": (upload, events_pb2.CertificateUploaded),
    "state": (state_fields, events_pb2.FieldsStated),
    "mark": (mark_fields, events_pb2.FieldsMarked),
    "switch": (switch, events_pb2.ModeSwitched),
    "verify": (verify, events_pb2.VerificationRequested),
    "seal": (may_seal, service_pb2.Certificate),
    "submit": (submit, events_pb2.Submitted),
    "discard": (discard, events_pb2.Discarded),
    "supplement": (supplement, events_pb2.SupplementBegun),
    "push": (push, events_pb2.PushRequested),
    "withdraw": (withdraw, events_pb2.PushWithdrawalRequested),
    "follow": (follow, events_pb2.SuccessorBegun),
}

#: What other services, and the certificate that follows, have to say.
WORDS: Final[dict[str, Callable[[domain.State], list[Message]]]] = {
    "recognition": lambda state: domain.record_recognition(state, RECOGNISED),
    "read_later": lambda state: domain.record_recognition_delay(state, READ_LATER),
    "verdict": lambda state: domain.record_verdict(state, RED),
    "verify_later": lambda state: domain.record_verification_delay(state, VERIFIED_LATER),
    "seal": lambda state: domain.record_seal(state, ID, SEAL),
    "lock": lambda state: domain.record_lock(state, LOCKED),
    "delivered": lambda state: domain.record_progress(state, progress("DELIVERED")),
    "acknowledged": lambda state: domain.record_progress(state, progress("ACKNOWLEDGED")),
    "withdrawn": lambda state: domain.record_progress(state, progress("WITHDRAWN")),
    "review": lambda state: domain.record_review(state, reviewed("approved")),
    "release": lambda state: domain.release_successor(state, NEXT),
    "supersede": lambda state: domain.supersede(state, NEXT),
}


def outcome(situation: str, command: str) -> str:
    """What a command does in a state: the names of its events, ``-`` for nothing, or the code of its refusal."""
    decide, _ = COMMANDS[command]
    try:
        events = decide(given(*HISTORIES[situation]), ME, 0)
    except YunkuError as refused:
        return refused.code
    return ", ".join(event.DESCRIPTOR.name for event in events) or "-"


def taken(situation: str, word: str) -> bool:
    """Whether a word enters the history in a state."""
    return bool(WORDS[word](given(*HISTORIES[situation])))
