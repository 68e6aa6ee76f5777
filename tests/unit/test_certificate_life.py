"""Whatever anybody does in whatever order: what a submitted certificate is, and what no change of one can undo.

A machine deals commands of the company (drafts, supplements and successors too) and words of the other services, also late, repeated
and outdated ones. Beside the domain it keeps its own account, by content rather than by version: what each verdict and each seal is
really over. No way may lead to a submitted RED, a changed KEY field, a lost version, a second successor, or a seal over anything but
what is shown.
"""

from collections.abc import Iterator
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
        {"business_scope": "房屋修缮"},
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
    #: What entered the register, in its order.
    submissions: list[events_pb2.Submitted] = field(default_factory=list)
    #: All that happened, as the log would have it.
    events: list[Message] = field(default_factory=list)
    kept: bytes | None = None


class Life(RuleBasedStateMachine):
    """One certificate of a type with verification."""

    kind = KIND
    #: Over all runs: that the machine reaches what it watches.
    submitted = supplemented = superseded = 0

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[str, domain.State] = {}
        self.accounts: dict[str, Account] = {}
        #: The certificate that is being worked on.
        self.now = "c1"
        self.number = 0

    @property
    def state(self) -> domain.State:
        return self.states.get(self.now, domain.State())

    @property
    def account(self) -> Account:
        return self.accounts.setdefault(self.now, Account())

    # -- doing ---------------------------------------------------------------------------------------------------------

    def fresh(self, prefix: str) -> str:
        self.number += 1
        return f"{prefix}{self.number}"

    def take(self, events: list[Message]) -> None:
        """What the log does with decided events."""
        for event in events:
            former = self.state
            before = former.view.SerializeToString(deterministic=True)
            after = domain.evolve(former, event, AT)
            assert former.view.SerializeToString(deterministic=True) == before
            if isinstance(event, events_pb2.SupplementAbandoned):
                assert after.view.version == former.view.accepted.version
            elif isinstance(event, events_pb2.SupplementBegun):
                assert after.view.version == former.highest + 1
            else:
                assert after.view.version - former.view.version in (0, 1)
            assert after.view.revision == former.view.revision + 1
            assert not (isinstance(event, events_pb2.PushRequested) and former.view.state != domain.SUBMITTED)
            self.states[self.now] = after
            self.account.events.append(event)
            if isinstance(event, events_pb2.VerificationRequested):
                self.account.asked[event.verification_id] = event
                self.account.over[event.verification_id] = content(self.state.view)
            if isinstance(event, events_pb2.Submitted):
                self.entered(event)
                self.on_former(domain.supersede)
            if isinstance(event, events_pb2.Discarded):
                self.on_former(domain.release_successor)

    def on_former(self, decide: Any) -> None:
        """What happens to the certificate that this one follows, in the same transaction."""
        successor, former = self.now, self.state.view.supersedes
        if former:
            self.now = former
            self.take(decide(self.state, successor))
            self.now = successor

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
        self.begin(self.now, fields)

    def begin(self, identity: str, fields: dict[str, str], supersedes: str = "") -> None:
        self.now = identity
        self.take(
            domain.draft(
                self.state,
                certificate_id=identity,
                holder=HOLDERS[0],
                kind=self.kind,
                catalogue_version="1",
                mode=types_pb2.MODE_SMART,
                fields=fields,
                supersedes=supersedes,
            )
        )

    @rule(fields=st.sampled_from([{}, COMPLETE]), data=st.data())
    def follow(self, fields: dict[str, str], data: st.DataObject) -> None:
        """A successor of any certificate is begun; the work goes on with it."""
        self.succeed(data.draw(st.sampled_from(sorted(self.states))), fields)

    def succeed(self, former: str, fields: dict[str, str]) -> None:
        back, identity = self.now, self.fresh("c")
        self.now = former
        count = self.state.view.revision
        self.do(domain.begin_successor, "s", identity, kind=self.kind, person_id="", performance_id="")
        followed = self.state.view.revision > count
        self.now = back
        if followed:
            self.begin(identity, fields, former)

    @rule(data=st.data())
    def turn_to(self, data: st.DataObject) -> None:
        """The work goes on with another certificate."""
        self.now = data.draw(st.sampled_from(sorted(self.states)))

    @rule(offset=EXPECTED)
    def supplement(self, offset: int | None) -> None:
        self.do(domain.begin_supplement, "s", self.kind, self.expected(offset))

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
        # Seldom: a draft that is given up is at its end.
        if sure == 0 or (sure < 5 and (self.state.view.supplementing or self.state.view.supersedes)):
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

    @rule(light=st.sampled_from(NO_RED))
    def live_on(self, light: types_pb2.Light.ValueType) -> None:
        """All sensible steps up to the next submission, after which what is GREEN is followed."""
        if self.state.view.state == domain.SUBMITTED and self.state.view.light != types_pb2.LIGHT_YELLOW:
            self.succeed(self.now, COMPLETE)
        before = len(self.account.submissions)
        for _ in range(9):
            if len(self.account.submissions) == before:
                self.proceed(light, slow=False)

    @rule(fields=FIELDS)
    def insist(self, fields: dict[str, str]) -> None:
        """A supplement is opened, whatever it takes to change these values is tried, and it is brought to its submission."""
        self.supplement(None)
        self.state_fields(fields, None, None)
        self.live_on(types_pb2.LIGHT_YELLOW)

    @rule()
    def crowd(self) -> None:
        """Everybody wants to follow everything at once."""
        for former in sorted(self.states):
            self.succeed(former, COMPLETE)

    def proceed(self, light: types_pb2.Light.ValueType, slow: bool) -> None:
        """The sensible next step; a slow one asks for another verdict before it finishes the seal that it began."""
        view = self.state.view
        if view.state != domain.DRAFT and not view.supplementing:
            self.supplement(None)
        elif not view.HasField("document"):
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
                self.state_fields({"business_scope": f"第{'一二三四五六七八九十'[view.version % 10]}"}, None, None)
            elif slow:
                self.verify(HOLDERS[0], None)
            elif self.account.seals:
                self.do(domain.record_seal, self.now, self.account.seals[-1])
        else:
            self.submit(None)

    @precondition(lambda self: self.account.seals)
    @rule()
    def hurry(self) -> None:
        """The last seal that was begun is finished and the certificate submitted, whatever happened meanwhile."""
        self.do(domain.record_seal, self.now, self.account.seals[-1])
        self.submit(None)

    # -- the other services --------------------------------------------------------------------------------------------

    def tell_verdict(self, verification_id: str, light: types_pb2.Light.ValueType) -> None:
        """A verification has one verdict, however often it is told."""
        light = self.account.lights.setdefault(verification_id, light)
        asked = self.account.asked[verification_id]
        self.do(
            domain.record_verdict,
            events_pb2.VerdictRecorded(
                certificate_id=self.now,
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
                certificate_id=self.now, verification_id=which, version=self.account.asked[which].version, reason="r"
            ),
        )

    @precondition(lambda self: self.account.seals)
    @rule(data=st.data())
    def seal(self, data: st.DataObject) -> None:
        self.do(domain.record_seal, self.now, data.draw(st.sampled_from(self.account.seals)))

    @rule(document=st.sampled_from(DOCUMENTS), done=st.booleans())
    def read(self, document: types_pb2.Document, done: bool) -> None:
        if done:
            one = types_pb2.RecognisedField(field="uscc", value=USCC)
            event = events_pb2.RecognitionRecorded(
                certificate_id=self.now, document_sha256=document.sha256, fields=[one], engine_version="1"
            )
            self.do(domain.record_recognition, event)
        else:
            delay = events_pb2.RecognitionDelayed(certificate_id=self.now, document_sha256=document.sha256, reason="r")
            self.do(domain.record_recognition_delay, delay)

    @rule(document=st.sampled_from(DOCUMENTS))
    def lock(self, document: types_pb2.Document) -> None:
        self.do(domain.record_lock, events_pb2.DocumentLocked(certificate_id=self.now, sha256=document.sha256))

    @precondition(lambda self: self.state.view.pushes)
    @rule(data=st.data(), what=st.sampled_from(["DELIVERED", "ACKNOWLEDGED", "WITHDRAWN", "approved", "rejected"]))
    def push_goes_on(self, data: st.DataObject, what: str) -> None:
        before = data.draw(st.sampled_from(list(self.state.view.pushes)))
        if what.isupper():
            self.do(domain.record_progress, events_pb2.PushProgressRecorded(certificate_id=self.now, push_id=before.id, state=what))
        else:
            self.do(domain.record_review, events_pb2.ReviewRecorded(certificate_id=self.now, push_id=before.id, decision=what))
        if before.state in ("approved", "rejected", "withdrawn"):
            assert before in self.state.view.pushes

    # -- what must hold ------------------------------------------------------------------------------------------------

    def entered(self, event: events_pb2.Submitted) -> None:
        """What entered the register is what was verified, not RED, and what was sealed."""
        view, earlier = self.state.view, self.account.submissions
        type(self).submitted += 1
        if earlier:
            type(self).supplemented += 1
            assert event.version > earlier[-1].version
            assert event.unique_code == earlier[0].unique_code
            keys = [one.name for one in self.kind.fields if one.role is catalogue.Role.KEY]
            assert {name: dict(event.fields).get(name) for name in keys} == {name: dict(earlier[0].fields).get(name) for name in keys}
            assert earlier[-1].light != types_pb2.LIGHT_GREEN
        earlier.append(event)
        assert all(one.name in event.fields for one in self.kind.fields if one.required)
        assert (event.version, event.seal.version) == (view.version, view.version)
        assert self.account.sealed[event.seal.seal_id] == shown(view)
        assert event.seal.statement_sha256 == sha256(domain.statement(view)).hexdigest()
        assert (dict(event.fields), event.document, event.seal, event.light) == (dict(view.fields), view.document, view.seal, view.light)
        assert "business_term" not in event.fields  # the only term that is dealt has expired
        if self.kind.verification:
            assert event.light in NO_RED
            assert self.account.over[view.verification.id] == content(view)
            assert self.account.lights[view.verification.id] == event.light
        else:
            assert event.light == types_pb2.LIGHT_NONE
        self.account.kept = lasting(self.state)

    def each(self) -> Iterator[tuple[str, domain.State, Account]]:
        for identity, state in self.states.items():
            yield identity, state, self.accounts[identity]

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
            assert view.seal.statement_sha256 == sha256(domain.statement(view)).hexdigest()

    @invariant()
    def what_was_accepted_stands_until_the_next(self) -> None:
        for _, state, account in self.each():
            if account.kept is not None:
                assert lasting(state) == account.kept
                assert state.view.state in (domain.SUBMITTED, domain.SUPERSEDED)
                assert state.view.accepted.light in (NO_RED if self.kind.verification else (types_pb2.LIGHT_NONE,))
                if not state.view.supplementing:
                    assert (state.view.version, dict(state.view.fields)) == (state.view.accepted.version, dict(state.view.accepted.fields))

    @invariant()
    def each_is_followed_by_one(self) -> None:
        for identity, state, _ in self.each():
            living = [
                one.view
                for one in self.states.values()
                if one.view.supersedes == identity and one.view.state in (domain.DRAFT, domain.SUBMITTED, domain.SUPERSEDED)
            ]
            assert [one.id for one in living] == ([state.view.successor_id] if state.view.successor_id else [])
            entered = [one for one in living if one.state != domain.DRAFT]
            assert (state.view.state == domain.SUPERSEDED) == bool(entered)
            assert not (living and state.view.supplementing)
            if entered:
                type(self).superseded += 1

    @invariant()
    def a_domain_has_one_pending_push_of_a_version(self) -> None:
        for _, state, _ in self.each():
            pushes = state.view.pushes
            pending = [(one.domain_id, one.version) for one in pushes if one.state in domain.PENDING]
            assert len(pending) == len(set(pending))
            assert [one.number for one in pushes] == list(range(1, len(pushes) + 1))
            assert not pushes or state.view.state in (domain.SUBMITTED, domain.SUPERSEDED)

    def teardown(self) -> None:
        """No version is lost: the log gives every one that entered the register, whole and in its order."""
        for _, state, account in self.each():
            again, versions = domain.State(), []
            for event in account.events:
                again = domain.evolve(again, event, AT)
                if isinstance(event, events_pb2.Submitted):
                    versions.append(again.view.accepted)
            assert again == state
            assert [(one.version, dict(one.fields), one.light, one.seal) for one in versions] == [
                (one.version, dict(one.fields), one.light, one.seal) for one in account.submissions
            ]


def lasting(state: domain.State) -> bytes:
    """What was accepted last, but for the readings that machines add, and what a certificate keeps for ever."""
    kept = service_pb2.Certificate(id=state.view.id, type=state.view.type, unique_code=state.view.unique_code)
    kept.supersedes = state.view.supersedes
    kept.submitted_at.CopyFrom(state.view.submitted_at)
    kept.accepted.CopyFrom(state.view.accepted)
    kept.accepted.ClearField("recognition")
    return kept.SerializeToString(deterministic=True)


class LifeWithoutVerification(Life):
    """One certificate of a type that has no verification."""

    kind = replace(KIND, verification=False)
    submitted = supplemented = superseded = 0


#: The same examples on every run: a test that fails must fail again.
WALKS = settings(
    max_examples=150, stateful_step_count=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def test_no_way_leads_to_a_wrong_submission() -> None:
    run_state_machine_as_test(Life, settings=WALKS)
    assert min(Life.submitted, Life.supplemented, Life.superseded) >= 10


def test_no_way_leads_to_a_wrong_submission_without_verification() -> None:
    run_state_machine_as_test(LifeWithoutVerification, settings=WALKS)
    assert min(LifeWithoutVerification.submitted, LifeWithoutVerification.supplemented, LifeWithoutVerification.superseded) >= 10
