"""Whatever anybody does in whatever order: what a submitted certificate is, and what no change of one can undo.

A machine deals commands of the company and words of the other services, also late, repeated and outdated ones. Beside the domain
it keeps its own account, by content rather than by version: what each verdict and each seal is really over.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

from google.protobuf.message import Message
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from yunku.certificate.v1 import events_pb2, service_pb2, types_pb2

import catalogue
from kernel.errors import YunkuError
from services.certificate import domain

#: As most types are: changed by supplement only.
KIND = replace(catalogue.load().type("business_license"), revisable=False)
AT = datetime(2026, 11, 23, 8, tzinfo=UTC)
TODAY = date(2026, 11, 23)
USCC = "91210102MA0YK0015B"
COMPLETE = {
    "uscc": USCC,
    "company_name": "沈阳云库建设有限公司",
    "company_type": "有限责任公司",
    "address": "沈阳市和平区南京南街1号",
    "legal_rep_name": "王建国",
    "established_on": "2016-03-01",
    "business_scope": "房屋建筑工程施工",
    "registration_authority": "沈阳市市场监督管理局",
}
DOCUMENTS = [
    types_pb2.Document(sha256=letter * 64, size=1, media_type="image/png", pages=[types_pb2.Page(number=1, width=9, height=9)])
    for letter in "ab"
]
HOLDERS = [types_pb2.Holder(subject_id="s", uscc=USCC, name=name) for name in ("沈阳云库建设有限公司", "辽宁云库建设有限公司")]
BOX = types_pb2.Box(x0=0.1, y0=0.1, x1=0.9, y1=0.9)
#: A few of each, so that the same content comes again.
FIELDS = st.sampled_from(
    [
        {"legal_rep_name": "王建国"},
        {"legal_rep_name": "李建国"},
        {"legal_rep_name": ""},
        {"business_term": "2016-03-01/2026-11-22"},
        {"business_term": ""},
        COMPLETE,
    ]
)
MARKS = st.lists(st.sampled_from(["uscc", "company_name"]), max_size=2)
LIGHTS = st.sampled_from([types_pb2.LIGHT_RED, types_pb2.LIGHT_YELLOW, types_pb2.LIGHT_GREEN])
NO_RED = (types_pb2.LIGHT_YELLOW, types_pb2.LIGHT_GREEN)
#: 0: not checked; the others are added to the present version.
EXPECTED = st.sampled_from([None, None, 0, 0, -1, 1])


def content(view: service_pb2.Certificate) -> str:
    """What a verdict and a seal are over, as text: the document, what is stated, what is declared absent, the marks."""
    marks = [one.SerializeToString(deterministic=True) for one in view.marks]
    return repr((view.document.sha256, sorted(view.fields.items()), list(view.absent), marks))


def shown(view: service_pb2.Certificate) -> str:
    """What a seal is over: the content, and the verification that the page showed beside it."""
    return repr((content(view), view.verification.id, view.light, view.holder.name))


@dataclass
class Account:
    """What the other services hold: by verification what was asked, and the seals that were begun, each with its content."""

    asked: dict[str, events_pb2.VerificationRequested] = field(default_factory=dict)
    over: dict[str, str] = field(default_factory=dict)
    lights: dict[str, types_pb2.Light.ValueType] = field(default_factory=dict)
    seals: list[types_pb2.Seal] = field(default_factory=list)
    sealed: dict[str, str] = field(default_factory=dict)
    submissions: int = 0


class Life(RuleBasedStateMachine):
    """One certificate of a type with verification."""

    kind = KIND
    #: Over all runs: that the machine reaches what it watches.
    submitted = 0

    def __init__(self) -> None:
        super().__init__()
        self.state = domain.State()
        self.account = Account()
        self.number = 0
        self.kept: bytes | None = None

    # -- doing ---------------------------------------------------------------------------------------------------------

    def fresh(self, prefix: str) -> str:
        self.number += 1
        return f"{prefix}{self.number}"

    def take(self, events: list[Message]) -> None:
        """What the log does with decided events."""
        for event in events:
            before = self.state.view.SerializeToString(deterministic=True)
            after = domain.evolve(self.state, event, AT)
            assert self.state.view.SerializeToString(deterministic=True) == before
            assert after.view.version - self.state.view.version in (0, 1)
            assert after.view.revision == self.state.view.revision + 1
            self.state = after
            if isinstance(event, events_pb2.VerificationRequested):
                self.account.asked[event.verification_id] = event
                self.account.over[event.verification_id] = content(self.state.view)
            if isinstance(event, events_pb2.Submitted):
                self.entered(event)

    def do(self, decide: Any, *arguments: Any, **more: Any) -> None:
        """A command, which may be refused; then nothing has changed."""
        try:
            events = decide(self.state, *arguments, **more)
        except YunkuError:
            return
        self.take(events)

    def expected(self, offset: int | None) -> int:
        return 0 if offset is None else self.state.view.version + offset

    # -- the company ---------------------------------------------------------------------------------------------------

    @initialize(fields=st.sampled_from([{}, COMPLETE]))
    def draft(self, fields: dict[str, str]) -> None:
        self.take(
            domain.draft(
                self.state,
                certificate_id="c",
                holder=HOLDERS[0],
                kind=self.kind,
                catalogue_version="1",
                mode=types_pb2.MODE_SMART,
                fields=fields,
            )
        )

    @rule(document=st.sampled_from(DOCUMENTS), offset=EXPECTED)
    def upload(self, document: types_pb2.Document, offset: int | None) -> None:
        self.do(domain.upload, "s", document, self.expected(offset))

    @rule(fields=FIELDS, absent=st.sampled_from([None, [], ["copy_no"]]), offset=EXPECTED)
    def state_fields(self, fields: dict[str, str], absent: list[str] | None, offset: int | None) -> None:
        self.do(domain.state_fields, "s", self.kind, fields, absent, self.expected(offset))

    @rule(names=MARKS, offset=EXPECTED)
    def mark(self, names: list[str], offset: int | None) -> None:
        self.do(domain.mark_fields, "s", self.kind, [types_pb2.Mark(field=one, page=1, box=BOX) for one in names], self.expected(offset))

    @rule(mode=st.sampled_from([types_pb2.MODE_SMART, types_pb2.MODE_MANUAL]))
    def switch(self, mode: Any) -> None:
        self.do(domain.switch_mode, "s", self.kind, mode, 0)

    @rule(holder=st.sampled_from(HOLDERS), offset=EXPECTED)
    def verify(self, holder: types_pb2.Holder, offset: int | None) -> None:
        self.do(
            domain.request_verification,
            "s",
            self.kind,
            verification_id=self.fresh("k"),
            holder=holder,
            catalogue_version="1",
            expected_version=self.expected(offset),
        )

    @rule(offset=EXPECTED)
    def begin_seal(self, offset: int | None) -> None:
        try:
            view = domain.may_seal(self.state, "s", self.kind, self.expected(offset))
        except YunkuError:
            return
        digest = sha256(domain.statement(view)).hexdigest()
        seal = types_pb2.Seal(seal_id=self.fresh("z"), version=view.version, statement_sha256=digest)
        self.account.seals.append(seal)
        self.account.sealed[seal.seal_id] = shown(view)

    @rule(offset=EXPECTED)
    def submit(self, offset: int | None) -> None:
        self.do(domain.submit, "s", self.kind, today=TODAY, expected_version=self.expected(offset))

    @rule(sure=st.integers(0, 19))
    def discard(self, sure: int) -> None:
        if sure == 0:  # seldom: nothing happens afterwards
            self.do(domain.discard, "s", 0)

    @rule(to=st.sampled_from(["d1", "d2"]))
    def push(self, to: str) -> None:
        self.do(domain.request_push, "s", push_id=self.fresh("p"), domain_id=to)

    @precondition(lambda self: self.state.view.pushes)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        self.do(domain.withdraw_push, "s", data.draw(st.sampled_from([one.id for one in self.state.view.pushes])))

    @rule(
        steps=st.integers(1, 5),
        light=st.sampled_from([types_pb2.LIGHT_GREEN, types_pb2.LIGHT_GREEN, types_pb2.LIGHT_YELLOW, types_pb2.LIGHT_RED]),
        slow=st.booleans(),
    )
    def proceed_further(self, steps: int, light: types_pb2.Light.ValueType, slow: bool) -> None:
        """Several sensible steps, so that lives get far."""
        for _ in range(steps):
            self.proceed(light, slow)

    def proceed(self, light: types_pb2.Light.ValueType, slow: bool) -> None:
        """The sensible next step; a slow one asks for another verdict before it finishes the seal that it began."""
        view = self.state.view
        if not view.HasField("document"):
            self.upload(DOCUMENTS[0], None)
        elif any(one.required and one.name not in view.fields for one in self.kind.fields):
            self.state_fields(COMPLETE, None, None)
        elif view.verification.state in ("none", "stale") and self.kind.verification:
            self.verify(HOLDERS[0], None)
        elif view.verification.state in ("running", "delayed"):
            if slow and self.account.seals:
                self.hurry()
            self.tell_verdict(view.verification.id, light)
        elif not view.HasField("seal"):
            self.begin_seal(None)
            if view.light == types_pb2.LIGHT_RED:
                if self.account.seals:
                    self.hurry()
                self.state_fields({"legal_rep_name": f"第{'一二三四五六七八九十'[view.version % 10]}"}, None, None)
            elif slow:
                self.verify(HOLDERS[0], None)
            elif self.account.seals:
                self.do(domain.record_seal, "c", self.account.seals[-1])
        else:
            self.submit(None)

    @precondition(lambda self: self.account.seals)
    @rule()
    def hurry(self) -> None:
        """The last seal that was begun is finished and the certificate submitted, whatever happened meanwhile."""
        self.do(domain.record_seal, "c", self.account.seals[-1])
        self.submit(None)

    # -- the other services --------------------------------------------------------------------------------------------

    def tell_verdict(self, verification_id: str, light: types_pb2.Light.ValueType) -> None:
        """A verification has one verdict, however often it is told."""
        light = self.account.lights.setdefault(verification_id, light)
        asked = self.account.asked[verification_id]
        self.do(
            domain.record_verdict,
            events_pb2.VerdictRecorded(
                certificate_id="c",
                verification_id=verification_id,
                version=asked.version,
                light=light,
                rules_version="1",
                engine_version="1",
            ),
        )

    @precondition(lambda self: self.account.asked)
    @rule(data=st.data(), light=LIGHTS)
    def verdict(self, data: st.DataObject, light: types_pb2.Light.ValueType) -> None:
        self.tell_verdict(data.draw(st.sampled_from(sorted(self.account.asked))), light)

    @precondition(lambda self: self.account.asked)
    @rule(data=st.data())
    def verdict_late(self, data: st.DataObject) -> None:
        which = data.draw(st.sampled_from(sorted(self.account.asked)))
        self.do(
            domain.record_verification_delay,
            events_pb2.VerificationDelayed(
                certificate_id="c", verification_id=which, version=self.account.asked[which].version, reason="r"
            ),
        )

    @precondition(lambda self: self.account.seals)
    @rule(data=st.data())
    def seal(self, data: st.DataObject) -> None:
        self.do(domain.record_seal, "c", data.draw(st.sampled_from(self.account.seals)))

    @rule(document=st.sampled_from(DOCUMENTS), done=st.booleans())
    def read(self, document: types_pb2.Document, done: bool) -> None:
        if done:
            one = types_pb2.RecognisedField(field="uscc", value=USCC)
            event = events_pb2.RecognitionRecorded(certificate_id="c", document_sha256=document.sha256, fields=[one], engine_version="1")
            self.do(domain.record_recognition, event)
        else:
            delay = events_pb2.RecognitionDelayed(certificate_id="c", document_sha256=document.sha256, reason="r")
            self.do(domain.record_recognition_delay, delay)

    @rule(document=st.sampled_from(DOCUMENTS))
    def lock(self, document: types_pb2.Document) -> None:
        self.do(domain.record_lock, events_pb2.DocumentLocked(certificate_id="c", sha256=document.sha256))

    @precondition(lambda self: self.state.view.pushes)
    @rule(data=st.data(), what=st.sampled_from(["DELIVERED", "ACKNOWLEDGED", "WITHDRAWN", "approved", "rejected"]))
    def push_goes_on(self, data: st.DataObject, what: str) -> None:
        before = data.draw(st.sampled_from(list(self.state.view.pushes)))
        if what.isupper():
            self.do(domain.record_progress, events_pb2.PushProgressRecorded(certificate_id="c", push_id=before.id, state=what))
        else:
            self.do(domain.record_review, events_pb2.ReviewRecorded(certificate_id="c", push_id=before.id, decision=what))
        if before.state in ("approved", "rejected", "withdrawn"):
            assert before in self.state.view.pushes

    # -- what must hold ------------------------------------------------------------------------------------------------

    def entered(self, event: events_pb2.Submitted) -> None:
        """What entered the register is what was verified, not RED, and what was sealed."""
        view = self.state.view
        self.account.submissions += 1
        type(self).submitted += 1
        assert self.account.submissions == 1
        assert all(one.name in event.fields for one in self.kind.fields if one.required)
        assert (event.version, event.seal.version) == (view.version, view.version)
        assert self.account.sealed[event.seal.seal_id] == shown(view)
        assert (dict(event.fields), event.document, event.seal, event.light) == (dict(view.fields), view.document, view.seal, view.light)
        assert "business_term" not in event.fields  # the only term that is dealt has expired
        if self.kind.verification:
            assert event.light in NO_RED
            assert self.account.over[view.verification.id] == content(view)
            assert self.account.lights[view.verification.id] == event.light
        else:
            assert event.light == types_pb2.LIGHT_NONE
        self.kept = self.lasting()

    def lasting(self) -> bytes:
        """All of a submitted certificate but its pushes and the counts and readings that machines add."""
        view = service_pb2.Certificate()
        view.CopyFrom(self.state.view)
        for name in ("pushes", "recognition", "revision", "updated_at"):
            view.ClearField(name)
        return view.SerializeToString(deterministic=True)

    @invariant()
    def a_light_is_over_what_stands(self) -> None:
        view = self.state.view
        if view.light not in (types_pb2.LIGHT_UNSPECIFIED, types_pb2.LIGHT_NONE):
            assert self.account.over[view.verification.id] == content(view)
            assert self.account.lights[view.verification.id] == view.light
            assert view.verification.state == "done"

    @invariant()
    def a_seal_is_over_what_stands(self) -> None:
        view = self.state.view
        if view.HasField("seal"):
            assert view.seal.version == view.version
            assert self.account.sealed[view.seal.seal_id] == shown(view)

    @invariant()
    def what_is_submitted_stays(self) -> None:
        if self.kept is not None:
            assert self.lasting() == self.kept
            assert self.state.view.state == domain.SUBMITTED

    @invariant()
    def a_domain_has_one_pending_push(self) -> None:
        pending = [one.domain_id for one in self.state.view.pushes if one.state in domain.PENDING]
        assert len(pending) == len(set(pending))
        assert [one.number for one in self.state.view.pushes] == list(range(1, len(self.state.view.pushes) + 1))
        assert not self.state.view.pushes or self.state.view.state == domain.SUBMITTED


class LifeWithoutVerification(Life):
    """One certificate of a type that has no verification."""

    kind = replace(KIND, verification=False)
    submitted = 0


#: The same examples on every run: a test that fails must fail again.
WALKS = settings(
    max_examples=150, stateful_step_count=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def test_no_way_leads_to_a_wrong_submission() -> None:
    run_state_machine_as_test(Life, settings=WALKS)
    assert Life.submitted >= 10


def test_no_way_leads_to_a_wrong_submission_without_verification() -> None:
    run_state_machine_as_test(LifeWithoutVerification, settings=WALKS)
    assert LifeWithoutVerification.submitted >= 10
