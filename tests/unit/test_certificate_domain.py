"""Given events, when a command, then events or a refusal: certificates.

Two tables say what every command and every word of another service does in every state; what follows them says the rest: the
pointers of refusals, what a change breaks, what a late word no longer reaches.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any, Final

import pytest
from google.protobuf.message import Message
from yunku.certificate.v1 import events_pb2, service_pb2, types_pb2

import catalogue
from kernel.errors import YunkuError
from ops.certificate_states import (
    ABANDONED,
    ACCEPTED,
    APPEALED,
    ASKED,
    AT,
    BEGUN,
    CHANGED,
    COMMANDS,
    CONTESTED,
    DOCUMENT,
    DOMAIN,
    DRAFTED,
    FOLLOWED,
    GREEN,
    HISTORIES,
    HOLDER,
    ID,
    KIND,
    LICENCE,
    LOCKED,
    MARKED,
    ME,
    MEANINGS,
    NEXT,
    OTHER,
    OVERTURNED,
    PUSH,
    PUSHED,
    READ,
    READ_LATER,
    RECOGNISED,
    RED,
    RENAMED,
    REQUIRED,
    SEAL,
    SEALED,
    STATED,
    STRANGER,
    SUBMITTED,
    SWITCHED,
    TO_MARKED,
    TO_SUBMITTED,
    TODAY,
    UNVERIFIED,
    UPLOADED,
    VERIFIED_LATER,
    WORDS,
    YELLOW,
    box,
    discard,
    follow,
    given,
    mark,
    mark_fields,
    may_seal,
    progress,
    push,
    reviewed,
    seal_over,
    state_fields,
    submit,
    submitted,
    supplement,
    switch,
    upload,
    verdict,
    verify,
    withdraw,
)
from services.certificate import domain


def refused(code: str, *pointers: str, **params: str) -> Any:
    """Refused with this code, pointing at these places (any, where none is named), with these params."""

    def matches(error: YunkuError) -> bool:
        at = tuple(one.pointer for one in error.errors)
        return error.code == code and (not pointers or at == pointers) and params.items() <= error.params.items()

    return pytest.raises(YunkuError, check=matches)


# -- every command in every state --------------------------------------------------------------------------------------

#: + : its event; abandoned: the supplement is given up; - : nothing, no refusal; otherwise the refusal.
DECISIONS = """
             upload      state            mark             switch      verify           seal                 submit               discard     push          withdraw         supplement         follow
nothing      not_found   not_found        not_found        not_found   not_found        not_found            not_found            not_found   not_found     not_found        not_found          not_found
draft        +           +                document_missing +           document_missing document_missing     field_required       +           not_submitted not_found        not_submitted      not_submitted
document     +           +                +                +           +                verification_missing field_required       +           not_submitted not_found        not_submitted      not_submitted
read_later   +           +                +                +           +                verification_missing field_required       +           not_submitted not_found        not_submitted      not_submitted
recognised   +           +                +                +           +                verification_missing field_required       +           not_submitted not_found        not_submitted      not_submitted
locked       +           +                +                +           +                verification_missing field_required       +           not_submitted not_found        not_submitted      not_submitted
stated       +           +                +                +           +                verification_missing verification_missing +           not_submitted not_found        not_submitted      not_submitted
marked       +           +                +                +           +                verification_missing verification_missing +           not_submitted not_found        not_submitted      not_submitted
running      +           +                +                +           -                verification_running verification_running +           not_submitted not_found        not_submitted      not_submitted
delayed      +           +                +                +           -                verification_running verification_running +           not_submitted not_found        not_submitted      not_submitted
red          +           +                +                +           +                light_red            light_red            +           not_submitted not_found        not_submitted      not_submitted
yellow       +           +                +                +           +                +                    seal_missing         +           not_submitted not_found        not_submitted      not_submitted
green        +           +                +                +           +                +                    seal_missing         +           not_submitted not_found        not_submitted      not_submitted
changed      +           +                +                +           +                verification_stale   verification_stale   +           not_submitted not_found        not_submitted      not_submitted
stale        +           +                +                +           +                verification_stale   verification_stale   +           not_submitted not_found        not_submitted      not_submitted
late         +           +                +                +           +                verification_stale   verification_stale   +           not_submitted not_found        not_submitted      not_submitted
sealed       +           +                +                wrong_state -                +                    +                    +           not_submitted not_found        not_submitted      not_submitted
unsealed     +           +                +                +           +                verification_stale   verification_stale   +           not_submitted not_found        not_submitted      not_submitted
discarded    wrong_state wrong_state      wrong_state      wrong_state wrong_state      wrong_state          wrong_state          -           not_submitted not_found        wrong_state        not_submitted
submitted    wrong_state wrong_state      wrong_state      wrong_state wrong_state      wrong_state          wrong_state          wrong_state +             not_found        light_green_locked +
pushed       wrong_state wrong_state      wrong_state      wrong_state wrong_state      wrong_state          wrong_state          wrong_state push_exists   +                light_green_locked +
asked_back   wrong_state wrong_state      wrong_state      wrong_state wrong_state      wrong_state          wrong_state          wrong_state push_exists   +                light_green_locked +
delivered    wrong_state wrong_state      wrong_state      wrong_state wrong_state      wrong_state          wrong_state          wrong_state push_exists   +                light_green_locked +
acknowledged wrong_state wrong_state      wrong_state      wrong_state wrong_state      wrong_state          wrong_state          wrong_state push_exists   +                light_green_locked +
withdrawn    wrong_state wrong_state      wrong_state      wrong_state wrong_state      wrong_state          wrong_state          wrong_state +             -                light_green_locked +
approved     wrong_state wrong_state      wrong_state      wrong_state wrong_state      wrong_state          wrong_state          wrong_state +             push_not_pending light_green_locked +
rejected     wrong_state wrong_state      wrong_state      wrong_state wrong_state      wrong_state          wrong_state          wrong_state +             push_not_pending light_green_locked +
appealed     wrong_state wrong_state      wrong_state      wrong_state wrong_state      wrong_state          wrong_state          wrong_state +             push_not_pending light_green_locked +
overturned   wrong_state wrong_state      wrong_state      wrong_state wrong_state      wrong_state          wrong_state          wrong_state +             push_not_pending light_green_locked +
contested    wrong_state wrong_state      wrong_state      wrong_state wrong_state      wrong_state          wrong_state          wrong_state +             not_found        +                  +
supplement   +           key_field_locked +                +           +                verification_stale   verification_stale   abandoned   +             not_found        -                  supplement_open
abandoned    wrong_state wrong_state      wrong_state      wrong_state wrong_state      wrong_state          wrong_state          wrong_state +             not_found        +                  +
followed     wrong_state wrong_state      wrong_state      wrong_state wrong_state      wrong_state          wrong_state          wrong_state +             not_found        successor_exists   successor_exists
released     wrong_state wrong_state      wrong_state      wrong_state wrong_state      wrong_state          wrong_state          wrong_state +             not_found        light_green_locked +
superseded   certificate_superseded certificate_superseded certificate_superseded certificate_superseded certificate_superseded certificate_superseded certificate_superseded certificate_superseded certificate_superseded + certificate_superseded certificate_superseded
noticed      wrong_state wrong_state      wrong_state      wrong_state wrong_state      wrong_state          wrong_state          wrong_state +             not_found        light_green_locked +
acknowledged_notice    wrong_state wrong_state      wrong_state      wrong_state wrong_state      wrong_state          wrong_state          wrong_state +             not_found        light_green_locked +
"""  # noqa: E501 (a table)

#: + : taken into the history; - : passed over. The verdict, the seal and the readings are over version 4 and its document.
WORDS_TAKEN = """
              recognition read_later verdict verify_later seal lock delivered acknowledged withdrawn review release supersede
nothing       -           -          -       -            -    -    -         -            -         -  -       -
draft         -           -          -       -            -    -    -         -            -         -  -       -
document      +           +          -       -            -    +    -         -            -         -  -       -
read_later    +           -          -       -            -    +    -         -            -         -  -       -
recognised    -           -          -       -            -    +    -         -            -         -  -       -
locked        +           +          -       -            -    -    -         -            -         -  -       -
stated        +           +          -       -            -    +    -         -            -         -  -       -
marked        +           +          -       -            -    +    -         -            -         -  -       -
running       +           +          +       +            -    +    -         -            -         -  -       -
delayed       +           +          +       -            -    +    -         -            -         -  -       -
red           +           +          -       -            -    +    -         -            -         -  -       -
yellow        +           +          -       -            -    +    -         -            -         -  -       -
green         +           +          -       -            +    +    -         -            -         -  -       -
changed       +           +          +       -            -    +    -         -            -         -  -       -
stale         +           +          -       -            -    +    -         -            -         -  -       -
late          +           +          -       -            -    +    -         -            -         -  -       -
sealed        +           +          -       -            -    +    -         -            -         -  -       -
unsealed      +           +          -       -            -    +    -         -            -         -  -       -
discarded     +           +          -       -            -    +    -         -            -         -  -       -
submitted     +           +          -       -            -    +    -         -            -         -  -       -
pushed        +           +          -       -            -    +    +         +            +         +  -       -
asked_back    +           +          -       -            -    +    +         +            +         +  -       -
delivered     +           +          -       -            -    +    -         +            +         +  -       -
acknowledged  +           +          -       -            -    +    -         -            +         +  -       -
withdrawn     +           +          -       -            -    +    -         -            -         -  -       -
approved      +           +          -       -            -    +    -         -            -         -  -       -
rejected      +           +          -       -            -    +    -         -            -         -  -       -
appealed      +           +          -       -            -    +    -         -            -         -  -       -
overturned    +           +          -       -            -    +    -         -            -         -  -       -
contested     +           +          -       -            -    +    -         -            -         -  -       -
supplement    +           +          -       -            -    +    -         -            -         -  -       -
abandoned     +           +          -       -            -    +    -         -            -         -  -       -
followed      +           +          -       -            -    +    -         -            -         -      +       +
released      +           +          -       -            -    +    -         -            -         -      -       -
superseded    +           +          -       -            -    +    +         +            +         +      -       -
noticed       +           +          -       -            -    +    -         -            -         -  -       -
acknowledged_notice     +           +          -       -            -    +    -         -            -         -  -       -
"""


def cells(table: str) -> list[tuple[str, str, str]]:
    """(state, column, cell) of a table."""
    columns, *rows = (line.split() for line in table.strip().splitlines())
    return [(row[0], column, cell) for row in rows for column, cell in zip(columns, row[1:], strict=True)]


def test_the_tables_leave_nothing_out() -> None:
    assert {(state, command) for state, command, _ in cells(DECISIONS)} == {(s, c) for s in HISTORIES for c in COMMANDS}
    assert {(state, word) for state, word, _ in cells(WORDS_TAKEN)} == {(s, w) for s in HISTORIES for w in WORDS}
    # A person's basic information has one event of its own; its tests are below.
    assert {type(event) for history in HISTORIES.values() for event in history} == set(domain.EVENTS) - {events_pb2.PersonAssigned}
    assert set(MEANINGS) == set(HISTORIES)


@pytest.mark.parametrize(("situation", "command", "expected"), cells(DECISIONS))
def test_what_a_command_does_in_a_state(situation: str, command: str, expected: str) -> None:
    state = given(*HISTORIES[situation])
    decide, kind = COMMANDS[command]
    if expected == "+":
        (event,) = decide(state, ME, 0)
        assert type(event) is kind
    elif expected == "abandoned":
        assert decide(state, ME, 0) == [ABANDONED]
    elif expected == "-":
        assert decide(state, ME, 0) == []
    else:
        with refused(expected):
            decide(state, ME, 0)


@pytest.mark.parametrize(("situation", "word", "expected"), cells(WORDS_TAKEN))
def test_what_another_services_word_does_in_a_state(situation: str, word: str, expected: str) -> None:
    state = given(*HISTORIES[situation])
    taken = WORDS[word](state)
    assert len(taken) == (1 if expected == "+" else 0)
    # None is taken twice.
    for event in taken:
        assert WORDS[word](domain.evolve(state, event, AT)) == []


@pytest.mark.parametrize("situation", HISTORIES)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_another_subjects_isnt_there_whatever_else_is_wrong(situation: str, command: str) -> None:
    state = given(*HISTORIES[situation])
    wrong: dict[str, Callable[[], object]] = {
        "upload": lambda: upload(state, STRANGER, 99),
        "state": lambda: state_fields(state, STRANGER, 99, {"nonsense": "x", "uscc": "!"}, ["uscc"]),
        "mark": lambda: mark_fields(state, STRANGER, 99, [mark("nonsense", 9, box(9, 9, 8, 8))]),
        "switch": lambda: switch(state, STRANGER, 99, types_pb2.MODE_UNSPECIFIED),
        "verify": lambda: verify(state, STRANGER, 99, kind=UNVERIFIED),
        "seal": lambda: may_seal(state, STRANGER, 99),
        "submit": lambda: submit(state, STRANGER, 99),
        "discard": lambda: discard(state, STRANGER, 99),
        "supplement": lambda: supplement(state, STRANGER, 99),
        "push": lambda: push(state, STRANGER, push_id=PUSH),
        "withdraw": lambda: withdraw(state, STRANGER, push_id="unknown"),
        "follow": lambda: follow(state, STRANGER, person="another"),
    }
    with refused("not_found"):
        wrong[command]()


@pytest.mark.parametrize(
    ("situation", "command", "expected"),
    [cell for cell in cells(DECISIONS) if cell[0] not in ("nothing", "discarded") and cell[1] not in ("push", "withdraw", "follow")],
)
def test_who_read_another_version_is_told_first(situation: str, command: str, expected: str) -> None:
    state = given(*HISTORIES[situation])
    decide, _ = COMMANDS[command]
    present = state.view.version
    for other in (present - 1 or 99, present + 1):
        with refused("version_conflict", version=str(present)):
            decide(state, ME, other)
    if expected in ("+", "-", "abandoned"):
        assert decide(state, ME, present) == decide(state, ME, 0)
    else:
        with refused(expected):
            decide(state, ME, present)


def test_what_no_machine_said_raises_the_version() -> None:
    """The content version is what the user states; the revision counts every event."""
    for name, history in HISTORIES.items():
        view = given(*history).view
        assert view.revision == len(history), name
        versions = [event.version for event in history if hasattr(event, "version") and not isinstance(event, type(GREEN))]
        # Only giving a supplement up brings an earlier version back: the one that was accepted.
        assert view.version == (view.accepted.version if history and history[-1] == ABANDONED else max(versions, default=0)), name


@pytest.mark.parametrize("situation", HISTORIES)
def test_evolving_leaves_the_earlier_state_as_it_was(situation: str) -> None:
    state = domain.State()
    for event in HISTORIES[situation]:
        before, told = state.view.SerializeToString(deterministic=True), event.SerializeToString(deterministic=True)
        after = domain.evolve(state, event, AT)
        assert after.view is not state.view
        assert state.view.SerializeToString(deterministic=True) == before
        assert event.SerializeToString(deterministic=True) == told
        assert after == domain.evolve(state, event, AT)
        state = after


@pytest.mark.parametrize("situation", HISTORIES)
def test_deciding_leaves_the_state_as_it_was(situation: str) -> None:
    state = given(*HISTORIES[situation])
    before = state.view.SerializeToString(deterministic=True)
    for command, expected in ((command, cell) for name, command, cell in cells(DECISIONS) if name == situation):
        if expected in "+-":
            COMMANDS[command][0](state, ME, 0)
    for word in WORDS.values():
        word(state)
    assert state.view.SerializeToString(deterministic=True) == before


# -- drafting ----------------------------------------------------------------------------------------------------------


def draft(state: domain.State, **changes: Any) -> list[Message]:
    command: dict[str, Any] = {
        "certificate_id": ID,
        "holder": HOLDER,
        "kind": KIND,
        "catalogue_version": "1",
        "mode": types_pb2.MODE_SMART,
        "fields": {},
    }
    return domain.draft(state, **(command | changes))


def test_drafting() -> None:
    assert draft(given()) == [DRAFTED]
    (event,) = draft(given(), fields={"established_on": "2016年3月1日", "address": " "}, performance_id="y")
    assert isinstance(event, events_pb2.CertificateDrafted)
    assert dict(event.fields) == {"established_on": "2016-03-01"}
    state = given(event)
    view = state.view
    assert (view.id, view.state, view.version, view.revision) == (ID, "draft", 1, 1)
    assert (view.person_id, view.performance_id, state.catalogue_version) == ("", "y", "1")
    assert (view.recognition.state, view.verification.state, view.light) == ("none", "none", types_pb2.LIGHT_NONE)
    assert view.created_at.ToDatetime(UTC) == view.updated_at.ToDatetime(UTC) == AT


TITLE = catalogue.load().type("professional_title")
PERSONAL_ID = catalogue.load().type("personal_id")


def test_a_persons_certificate_is_begun_for_one_whom_the_company_employs() -> None:
    (event,) = draft(given(), kind=TITLE, person_id="n", person_bound=True)
    assert (event.person_id, given(event).view.person_id) == ("n", "n")  # type: ignore[attr-defined]
    for changes, code in (
        ({"kind": TITLE}, "field_required"),
        ({"kind": TITLE, "person_id": "n"}, "person_unknown"),
        ({"kind": PERSONAL_ID, "person_id": "n"}, "person_unknown"),
        ({"person_id": "n", "person_bound": True}, "field_unknown"),
    ):
        with pytest.raises(YunkuError) as refused:
            draft(given(), **changes)
        assert (refused.value.code, [one.pointer for one in refused.value.errors]) == (code, ["/person_id"])


def test_basic_information_may_be_begun_before_its_person_is_bound_and_nothing_is_decided_before() -> None:
    (event,) = draft(given(), kind=PERSONAL_ID)
    state = given(event, UPLOADED)
    for command in (verify, submit):
        with pytest.raises(YunkuError) as refused:
            command(state, kind=PERSONAL_ID)
        assert refused.value.code == "person_missing"
    (assigned,) = domain.assign_person(state, ME, PERSONAL_ID, "n", person_bound=True)
    after = domain.evolve(state, assigned, AT)
    assert (after.view.person_id, after.view.version) == ("n", state.view.version)
    assert verify(after, kind=PERSONAL_ID)
    assert domain.assign_person(after, ME, PERSONAL_ID, "n", person_bound=True) == []
    for other, bound, kind, code in (("m", True, PERSONAL_ID, "wrong_state"), ("m", False, PERSONAL_ID, "person_unknown")):
        with pytest.raises(YunkuError) as denied:
            domain.assign_person(after, ME, kind, other, person_bound=bound)
        assert denied.value.code == code
    with pytest.raises(YunkuError):
        domain.assign_person(given(DRAFTED), ME, KIND, "n", person_bound=True)
    with pytest.raises(YunkuError):
        domain.assign_person(after, STRANGER, PERSONAL_ID, "n", person_bound=True)


@pytest.mark.parametrize("situation", [name for name in HISTORIES if name != "nothing"])
def test_a_draft_is_begun_once(situation: str) -> None:
    assert draft(given(*HISTORIES[situation]), mode=types_pb2.MODE_UNSPECIFIED) == []


def test_drafting_takes_the_types_modes_and_fields_only() -> None:
    for mode in (types_pb2.MODE_UNSPECIFIED, 7):
        with refused("mode_invalid", "/mode"):
            draft(given(), mode=mode)
    with refused("mode_invalid", "/mode"):
        draft(given(), kind=replace(KIND, modes=("MANUAL",)))
    with refused("field_unknown", "/fields/colour"):
        draft(given(), fields={"colour": "red"})


# -- stating -----------------------------------------------------------------------------------------------------------


def test_stating_replaces_what_is_named_and_clears_what_is_empty() -> None:
    state = given(*HISTORIES["stated"])
    (event,) = state_fields(
        state, fields={"legal_rep_name": "李建国", "address": "", "business_term": "2016年3月1日至长期"}, absent=["copy_no"]
    )
    expected = REQUIRED | {"legal_rep_name": "李建国", "business_term": "2016-03-01/长期"}
    del expected["address"]
    assert event == events_pb2.FieldsStated(certificate_id=ID, fields=expected, absent=["copy_no"], version=4)
    view = domain.evolve(state, event, AT).view
    assert (dict(view.fields), list(view.absent)) == (expected, ["copy_no"])


def test_stating_the_same_again_is_nothing() -> None:
    state = given(*HISTORIES["stated"])
    assert state_fields(state, fields={}) == []
    assert state_fields(state, fields={"established_on": "二〇一六年三月一日", "copy_no": ""}) == []
    (event,) = state_fields(state, fields={}, absent=["issued_on", "copy_no", "issued_on"])
    assert isinstance(event, events_pb2.FieldsStated)
    assert list(event.absent) == ["copy_no", "issued_on"]
    absent = domain.evolve(state, event, AT)
    assert state_fields(absent, fields={}) == state_fields(absent, fields={}, absent=["issued_on", "copy_no"]) == []
    (cleared,) = state_fields(absent, fields={}, absent=[])
    assert isinstance(cleared, events_pb2.FieldsStated)
    assert list(cleared.absent) == []


def test_every_wrong_value_is_pointed_at() -> None:
    state = given(*HISTORIES["stated"])
    with refused("value_invalid", "/fields/established_on", "/fields/business_term"):
        state_fields(state, fields={"established_on": "2016年3月", "address": "x", "business_term": "忘了"})
    with refused("field_unknown", "/fields/a~1b~0c"):
        state_fields(state, fields={"a/b~c": "x"})


def test_a_refusal_says_what_is_wrong_with_the_value() -> None:
    with pytest.raises(YunkuError) as caught:
        state_fields(given(*HISTORIES["stated"]), fields={"established_on": "2016年3月"})
    (error,) = caught.value.errors
    assert (error.params["problem"], error.params["field"]) == ("date.no_day", "established_on")


def test_values_are_bounded() -> None:
    state = given(*HISTORIES["stated"])
    with pytest.raises(YunkuError) as caught:
        state_fields(state, fields={"address": "x" * (domain.MAX_VALUE + 1), "nonsense": "x"})
    (error,) = caught.value.errors
    assert (caught.value.code, error.pointer, error.params) == ("value_too_long", "/fields/address", {"max": str(domain.MAX_VALUE)})
    with pytest.raises(YunkuError) as caught:
        state_fields(state, fields={f"{number:04}" + "x" * 200: "x" for number in range(300)})
    assert len(caught.value.errors) == 50
    assert max(len(error.pointer) for error in caught.value.errors) == len("/fields/") + 100


def test_absent_is_what_the_catalogue_allows_to_be_and_pointers_are_the_callers() -> None:
    state = given(*HISTORIES["stated"])
    with refused("field_required", "/absent/1", "/absent/3"):
        state_fields(state, absent=["registered_capital", "uscc", "copy_no", "address"])
    with refused("field_unknown", "/absent/0"):
        state_fields(state, absent=["nonsense", "copy_no"])
    with pytest.raises(YunkuError) as caught:
        state_fields(state, absent=["nonsense"] * 300)
    assert len(caught.value.errors) == 50


def test_what_was_declared_absent_stands_whatever_the_catalogue_says_later() -> None:
    (event,) = state_fields(given(*HISTORIES["stated"]), absent=["copy_no"])
    state = given(*HISTORIES["stated"], event)
    strict = replace(KIND, fields=tuple(replace(one, may_be_absent=False) for one in KIND.fields))
    (further,) = domain.state_fields(state, ME, strict, {"address": "别处"}, None, 0)
    assert isinstance(further, events_pb2.FieldsStated)
    assert list(further.absent) == ["copy_no"]


# -- documents and marks -----------------------------------------------------------------------------------------------


def test_the_same_bytes_again_change_nothing() -> None:
    renamed = types_pb2.Document()
    renamed.CopyFrom(DOCUMENT)
    renamed.file_name = "副本.pdf"
    for situation in ("document", "recognised", "marked", "green", "sealed"):
        assert upload(given(*HISTORIES[situation]), document=renamed) == []


def test_a_new_document_voids_marks_reading_verdict_and_seal() -> None:
    state = given(*HISTORIES["sealed"], RECOGNISED, LOCKED)
    assert state.locked
    (event,) = upload(state)
    assert event == events_pb2.CertificateUploaded(certificate_id=ID, type=KIND.code, mode=types_pb2.MODE_SMART, document=OTHER, version=5)
    after = domain.evolve(state, event, AT)
    view = after.view
    assert (view.document, list(view.marks), view.HasField("seal"), after.locked) == (OTHER, [], False, False)
    assert (view.recognition.state, list(view.recognition.fields)) == ("running", [])
    assert (view.verification.state, view.light) == ("stale", types_pb2.LIGHT_NONE)
    assert dict(view.fields) == REQUIRED


def test_words_about_the_former_document_are_passed_over() -> None:
    (event,) = upload(given(*HISTORIES["document"]))
    state = given(*HISTORIES["document"], event)
    assert domain.record_recognition(state, RECOGNISED) == []
    assert domain.record_recognition_delay(state, READ_LATER) == []
    assert domain.record_lock(state, LOCKED) == []
    # The first document once more: what was read of it holds again.
    (again,) = upload(state, document=DOCUMENT)
    assert domain.record_recognition(domain.evolve(state, again, AT), RECOGNISED) == [RECOGNISED]


def test_reading_shows_what_was_read() -> None:
    view = given(*HISTORIES["read_later"]).view
    assert (view.recognition.state, view.recognition.reason) == ("delayed", "recognition_timeout")
    view = given(*HISTORIES["recognised"]).view
    assert (view.recognition.state, view.recognition.reason, list(view.recognition.fields)) == ("done", "", [READ])
    assert (view.version, dict(view.fields)) == (2, {})


def test_marking() -> None:
    state = given(*HISTORIES["stated"])
    assert mark_fields(state, marks=[mark()]) == [MARKED]
    marked = domain.evolve(state, MARKED, AT)
    assert mark_fields(marked, marks=[mark()]) == []
    (event,) = mark_fields(marked, marks=[])
    assert isinstance(event, events_pb2.FieldsMarked)
    assert list(domain.evolve(marked, event, AT).view.marks) == []
    # Its order is the order in which the pieces are read.
    (swapped,) = mark_fields(marked, marks=[mark(page=2), mark()])
    (back,) = mark_fields(domain.evolve(marked, swapped, AT), marks=[mark(), mark(page=2)])
    assert isinstance(back, events_pb2.FieldsMarked)
    assert [one.page for one in back.marks] == [1, 2]


@pytest.mark.parametrize(
    "outside",
    [
        box(x0=math.nan),
        box(y0=math.nan),
        box(x1=math.nan),
        box(y1=math.nan),
        box(x1=math.inf),
        box(y0=-math.inf),
        box(x0=0.5, x1=0.1),
        box(y0=0.2, y1=0.1),
        box(x0=-0.0001),
        box(y0=-0.0001),
        box(x1=1.0001),
        box(y1=1.0001),
        box(x0=0.3, x1=0.3),
        box(y0=0.2, y1=0.2),
        box(x0=0.5, x1=0.5009),
        types_pb2.Box(),
    ],
)
def test_a_box_lies_within_the_page_and_has_an_area(outside: types_pb2.Box) -> None:
    with refused("box_outside_page", "/marks/1/box"):
        mark_fields(given(*HISTORIES["stated"]), marks=[mark(), mark(at=outside)])


def test_the_whole_page_is_a_box() -> None:
    assert len(mark_fields(given(*HISTORIES["stated"]), marks=[mark(at=box(0, 0, 1, 1)), mark(at=box(0.5, 0.5, 0.502, 0.502))])) == 1


@pytest.mark.parametrize("page", [0, -1, 3, 2**31 - 1])
def test_a_mark_is_on_a_page_of_the_document(page: int) -> None:
    with refused("page_unknown", "/marks/0/page"):
        mark_fields(given(*HISTORIES["stated"]), marks=[mark(page=page)])


def test_every_wrong_mark_is_pointed_at() -> None:
    with refused("field_unknown", "/marks/0/field", "/marks/0/page", "/marks/0/box", "/marks/2/page"):
        mark_fields(given(*HISTORIES["stated"]), marks=[mark("nonsense", 3, types_pb2.Box()), mark(), mark(page=9)])


def test_what_no_print_carries_takes_no_mark() -> None:
    kind = catalogue.load().type("construction_qualification")
    with refused("field_not_markable", "/marks/0/field"):
        domain.mark_fields(given(*HISTORIES["stated"]), ME, kind, [mark("is_primary")], 0)


def test_marks_are_bounded() -> None:
    state = given(*HISTORIES["stated"])
    assert len(mark_fields(state, marks=[mark()] * domain.MAX_MARKS_PER_FIELD)) == 1
    with refused("mark_duplicate", f"/marks/{domain.MAX_MARKS_PER_FIELD}/field"):
        mark_fields(state, marks=[mark()] * (domain.MAX_MARKS_PER_FIELD + 1))
    with refused("value_too_long", "/marks", max=str(domain.MAX_MARKS)):
        mark_fields(state, marks=[mark()] * (domain.MAX_MARKS + 1))
    with pytest.raises(YunkuError) as caught:
        mark_fields(state, marks=[mark("nonsense" * 50)] * domain.MAX_MARKS)
    assert len(caught.value.errors) == 50
    assert max(len(error.params["field"]) for error in caught.value.errors) == 100


# -- modes -------------------------------------------------------------------------------------------------------------


def test_switching_loses_nothing_and_keeps_the_verdict() -> None:
    state = given(*HISTORIES["green"])
    (event,) = switch(state)
    assert event == SWITCHED
    after = domain.evolve(state, event, AT).view
    before = service_pb2.Certificate()
    before.CopyFrom(state.view)
    before.mode, before.revision = types_pb2.MODE_MANUAL, before.revision + 1
    before.updated_at.CopyFrom(after.updated_at)
    assert after == before


def test_switching_to_the_present_mode_is_nothing_even_when_sealed() -> None:
    for situation in ("draft", "sealed"):
        assert switch(given(*HISTORIES[situation]), mode=types_pb2.MODE_SMART) == []
    with refused("mode_invalid", "/mode"):
        switch(given(DRAFTED), mode=types_pb2.MODE_UNSPECIFIED)
    with refused("mode_invalid", "/mode"):
        domain.switch_mode(given(DRAFTED), ME, replace(KIND, modes=("SMART",)), types_pb2.MODE_MANUAL, 0)


# -- verification ------------------------------------------------------------------------------------------------------


def test_a_verification_carries_all_that_its_verdict_is_a_function_of() -> None:
    (stated,) = state_fields(given(*TO_MARKED), absent=["copy_no"])
    (event,) = verify(given(*TO_MARKED, stated), holder=RENAMED)
    assert event == events_pb2.VerificationRequested(
        certificate_id=ID,
        verification_id="k2",
        holder=RENAMED,
        type=KIND.code,
        document=DOCUMENT,
        fields=REQUIRED | {"legal_rep_name": "赵一"},
        absent=["copy_no"],
        marks=[mark()],
        version=5,
        catalogue_version="2",
    )
    view = given(*TO_MARKED, stated, event).view
    assert (view.verification.id, view.verification.state, view.verification.version) == ("k2", "running", 5)
    assert view.holder == RENAMED


def test_a_company_that_changed_its_name_asks_anew() -> None:
    for situation in ("running", "delayed", "green", "sealed"):
        state = given(*HISTORIES[situation])
        (event,) = verify(state, holder=RENAMED)
        view = domain.evolve(state, event, AT).view
        assert (view.light, view.HasField("seal"), view.verification.light) == (types_pb2.LIGHT_NONE, False, types_pb2.LIGHT_NONE)
        assert list(view.verification.fields) == []


def test_a_type_without_verification_has_none() -> None:
    with refused("wrong_state", state="no_verification"):
        verify(given(*TO_MARKED), kind=UNVERIFIED)


def test_a_verdict_colours_the_content_that_it_is_over() -> None:
    for event in (RED, YELLOW, GREEN):
        view = given(*HISTORIES["delayed"], event).view
        assert (view.light, view.verification.light, view.verification.state) == (event.light, event.light, "done")
        assert (view.verification.reason, list(view.verification.fields)) == ("", list(event.fields))
        assert (view.verification.rules_version, view.verification.engine_version) == ("1", "e-1")


CHANGES: Final[dict[str, Callable[[domain.State], list[Message]]]] = {
    "field": lambda state: state_fields(state),
    "cleared": lambda state: state_fields(state, fields={"address": ""}),
    "absent": lambda state: state_fields(state, fields={}, absent=["copy_no"]),
    "mark": lambda state: mark_fields(state),
    "document": lambda state: upload(state),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("situation", ["red", "yellow", "green", "sealed"])
def test_a_change_makes_the_verdict_stale_and_breaks_the_seal(situation: str, change: str) -> None:
    state = given(*HISTORIES[situation])
    (event,) = CHANGES[change](state)
    after = domain.evolve(state, event, AT)
    view = after.view
    assert (view.verification.state, view.light, view.HasField("seal")) == ("stale", types_pb2.LIGHT_NONE, False)
    assert view.version == state.view.version + 1
    with refused("verification_stale"):
        may_seal(after)
    # The seal that was being made meanwhile is over what no longer stands, and so is the verdict when it is said again.
    assert domain.record_seal(after, ID, SEAL) == domain.record_verdict(after, GREEN) == []


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("situation", ["running", "delayed"])
def test_a_late_verdict_doesnt_colour_the_new_content(situation: str, change: str) -> None:
    state = given(*HISTORIES[situation])
    (event,) = CHANGES[change](state)
    state = domain.evolve(state, event, AT)
    assert (state.view.verification.state, state.view.light) == ("stale", types_pb2.LIGHT_NONE)
    assert domain.record_verification_delay(state, VERIFIED_LATER) == []
    (late,) = domain.record_verdict(state, GREEN)
    state = domain.evolve(state, late, AT)
    assert (state.view.verification.state, state.view.light) == ("stale", types_pb2.LIGHT_NONE)
    # What it said of the former content is shown, once.
    assert (state.view.verification.light, len(state.view.verification.fields)) == (types_pb2.LIGHT_GREEN, 1)
    assert domain.record_verdict(state, GREEN) == []
    with refused("verification_stale"):
        may_seal(state)


def test_a_verdict_of_a_former_verification_is_passed_over() -> None:
    (asked,) = verify(given(*HISTORIES["stale"]))
    state = given(*HISTORIES["stale"], asked)
    assert domain.record_verdict(state, GREEN) == domain.record_verification_delay(state, VERIFIED_LATER) == []
    (own,) = domain.record_verdict(state, verdict(types_pb2.LIGHT_YELLOW, 5, "k2"))
    assert domain.evolve(state, own, AT).view.light == types_pb2.LIGHT_YELLOW
    assert domain.record_verdict(given(DRAFTED), verdict(types_pb2.LIGHT_GREEN, 1, "")) == []


def test_a_verdict_that_names_no_engine_is_taken_once_too() -> None:
    silent = verdict(types_pb2.LIGHT_GREEN)
    silent.ClearField("engine_version")
    state = given(*HISTORIES["running"], silent, CHANGED)
    assert domain.record_verdict(state, silent) == []


# -- seals -------------------------------------------------------------------------------------------------------------


def test_what_may_be_sealed_is_what_stands() -> None:
    state = given(*HISTORIES["yellow"])
    assert domain.may_seal(state, ME, KIND, 4) == state.view
    assert domain.may_seal(given(*TO_MARKED), ME, UNVERIFIED, 0).id == ID


@pytest.mark.parametrize("version", [0, 3, 5])
def test_a_seal_of_another_version_is_passed_over(version: int) -> None:
    other = seal_over(given(*HISTORIES["green"]), "y")
    assert domain.record_seal(given(*HISTORIES["green"]), ID, other)
    other.version = version
    assert domain.record_seal(given(*HISTORIES["green"]), ID, other) == []


@pytest.mark.parametrize("verdict_then", [GREEN.light, YELLOW.light])
def test_a_seal_prepared_under_a_former_verification_is_passed_over(verdict_then: types_pb2.Light.ValueType) -> None:
    """The values are the same, so the version is; but the statement in the sealed PDF names a verification that no longer counts."""
    before = given(*HISTORIES["green"])
    prepared = seal_over(before, "y")
    (again,) = verify(before)
    running = given(*HISTORIES["green"], again)
    told = verdict(verdict_then, 4, "k2")
    after = given(*HISTORIES["green"], again, told)
    assert running.view.version == after.view.version == prepared.version
    for state in (running, after):
        assert not domain.covers(prepared, state.view)
        assert domain.record_seal(state, ID, prepared) == []
    assert domain.record_seal(after, ID, seal_over(after, "y2"))


def test_a_seal_without_its_statement_is_none() -> None:
    state = given(*HISTORIES["green"])
    bare = seal_over(state, "y")
    bare.ClearField("statement_sha256")
    assert domain.record_seal(state, ID, bare) == []


def test_a_seal_is_taken_once_and_of_this_certificate_only() -> None:
    state = given(*HISTORIES["green"])
    assert domain.record_seal(state, "other", SEAL) == []
    (event,) = domain.record_seal(state, ID, SEAL)
    assert event == SEALED
    sealed = domain.evolve(state, event, AT)
    assert (sealed.view.seal, sealed.view.light, sealed.view.version) == (SEAL, types_pb2.LIGHT_GREEN, 4)
    assert domain.record_seal(sealed, ID, SEAL) == []
    # Sealed once more, e.g. with a renewed key: the newer seal stands.
    (newer,) = domain.record_seal(sealed, ID, seal_over(sealed, "y"))
    assert domain.evolve(sealed, newer, AT).view.seal.seal_id == "y"


# -- submission --------------------------------------------------------------------------------------------------------


def test_submitting() -> None:
    assert submit(given(*HISTORIES["sealed"]), version=4) == [SUBMITTED]
    view = given(*TO_SUBMITTED).view
    assert (view.state, view.unique_code) == ("submitted", SUBMITTED.unique_code)
    assert view.submitted_at.ToDatetime(UTC) == AT + timedelta(seconds=len(TO_SUBMITTED) - 1)
    assert (view.light, view.seal, view.version, dict(view.fields)) == (types_pb2.LIGHT_GREEN, SEAL, 4, REQUIRED)


def test_every_missing_required_field_is_pointed_at_in_the_types_order() -> None:
    order = [one.name for one in KIND.fields if one.required]
    assert set(order) == set(REQUIRED)
    with refused("field_required", *(f"/fields/{name}" for name in order)):
        submit(given(DRAFTED, UPLOADED))
    for name in order:
        rest = {one: value for one, value in REQUIRED.items() if one != name}
        with refused("field_required", f"/fields/{name}"):
            submit(given(DRAFTED, UPLOADED, events_pb2.FieldsStated(certificate_id=ID, fields=rest, version=3)))


def test_a_required_field_that_the_print_doesnt_carry_may_be_absent() -> None:
    lenient = replace(KIND, fields=tuple(replace(one, may_be_absent=True) for one in KIND.fields))
    fields = {name: value for name, value in REQUIRED.items() if name != "address"}
    state = given(DRAFTED, UPLOADED, events_pb2.FieldsStated(certificate_id=ID, fields=fields, absent=["address"], version=3))
    with refused("verification_missing"):
        submit(state, kind=lenient)


def test_submitting_needs_a_document() -> None:
    with refused("document_missing"):
        submit(given(DRAFTED, events_pb2.FieldsStated(certificate_id=ID, fields=REQUIRED, version=2)))


def sealed_until(term: str) -> domain.State:
    stated = events_pb2.FieldsStated(certificate_id=ID, fields=REQUIRED | {"business_term": term}, version=3)
    return given(DRAFTED, UPLOADED, stated, MARKED, ASKED, GREEN, SEALED)


@pytest.mark.parametrize(("term", "valid_until"), [("2016-03-01/2026-11-23", "2026-11-23"), ("2016-03-01/长期", ""), ("长期", "")])
def test_what_is_valid_today_may_be_submitted(term: str, valid_until: str) -> None:
    (event,) = submit(sealed_until(term))
    assert isinstance(event, events_pb2.Submitted)
    assert event.valid_until == valid_until


def test_what_has_expired_may_not() -> None:
    with refused("document_expired", valid_until="2026-11-22"):
        submit(sealed_until("2016-03-01/2026-11-22"))
    assert len(submit(sealed_until("2016-03-01/2026-11-22"), today=TODAY - timedelta(days=1))) == 1


def test_without_verification_document_and_seal_are_what_counts() -> None:
    with refused("seal_missing"):
        submit(given(*TO_MARKED), kind=UNVERIFIED)
    (event,) = submit(given(*TO_MARKED, SEALED), kind=UNVERIFIED)
    assert isinstance(event, events_pb2.Submitted)
    assert event.light == types_pb2.LIGHT_NONE


# -- unique codes ------------------------------------------------------------------------------------------------------

IDS = [f"0193f000-0000-7000-8000-00000000c{number:03}" for number in range(40)]


def standing(kind: str, **fields: str) -> service_pb2.Certificate:
    """An entry of the type that stands in the register; a supplement of it is open, in which something else is stated."""
    one = service_pb2.Certificate(type=kind, fields=dict.fromkeys(fields, "9"))
    one.accepted.fields.update(fields)
    return one


def test_a_second_entry_of_the_same_year_is_refused() -> None:
    audit = catalogue.load().type("annual_audit_report")
    submitted = service_pb2.Certificate(type=audit.code, fields={"fiscal_year": "2023"})
    domain.stands_alone(audit, submitted, [])
    domain.stands_alone(audit, submitted, [standing(audit.code, fiscal_year="2022"), standing(audit.code, fiscal_year="2024")])
    with refused("entry_exists", "/fields/fiscal_year"):
        domain.stands_alone(audit, submitted, [standing(audit.code, fiscal_year="2022"), standing(audit.code, fiscal_year="2023")])


def test_all_of_what_is_unique_together_must_be_the_same() -> None:
    tax = catalogue.load().type("tax_payment_certificate")
    submitted = service_pb2.Certificate(type=tax.code, fields={"month": "2024-03", "certificate_no": "A1"})
    domain.stands_alone(tax, submitted, [standing(tax.code, month="2024-03", certificate_no="A2")])
    with refused("entry_exists", "/fields/month", "/fields/certificate_no"):
        domain.stands_alone(tax, submitted, [standing(tax.code, month="2024-03", certificate_no="A1")])


def test_shares_come_to_a_hundred_at_most() -> None:
    shareholder = catalogue.load().type("shareholder")
    others = [standing(shareholder.code, holder="甲", ratio="33.33"), standing(shareholder.code, holder="乙", ratio="33.33")]
    domain.stands_alone(shareholder, service_pb2.Certificate(fields={"holder": "丙", "ratio": "33.34"}), others)
    with refused("total_exceeded", "/fields/ratio"):
        domain.stands_alone(shareholder, service_pb2.Certificate(fields={"holder": "丙", "ratio": "33.35"}), others)
    with refused("entry_exists", "/fields/holder"):
        domain.stands_alone(shareholder, service_pb2.Certificate(fields={"holder": "乙", "ratio": "1"}), others)


def test_other_types_stand_as_often_as_one_likes() -> None:
    licence = catalogue.load().type("business_license")
    domain.stands_alone(licence, service_pb2.Certificate(fields={"uscc": "9"}), [standing(licence.code, uscc="9")])


def sound(code: str) -> bool:
    return domain.check_character(code[:-1]) == code[-1]


def test_a_unique_code_follows_from_the_id() -> None:
    codes = [domain.unique_code("L", one) for one in IDS]
    assert codes == [domain.unique_code("L", one) for one in IDS]
    assert len(set(codes)) == len(IDS)
    for code in codes:
        assert len(code) == 20
        assert code.startswith("21L")
        assert set(code[3:-1]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
        assert sound(code)
    assert domain.unique_code("Q", IDS[0])[3:-1] == codes[0][3:-1]


def test_the_check_character_is_that_of_iso_7064() -> None:
    """MOD 37-2 by its definition: the values, weighted by powers of two from the right, leave 1."""
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*"
    for code in (domain.unique_code("L", one) for one in IDS):
        assert sum(alphabet.index(one) * 2**place for place, one in enumerate(reversed(code))) % 37 == 1
    assert domain.check_character("A999914123456") == "N"


def test_the_check_character_finds_every_single_wrong_character() -> None:
    for code in (domain.unique_code("L", one) for one in IDS[:10]):
        for place in range(len(code)):
            for other in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*":
                if other == code[place] or (other == "*" and place < len(code) - 1):
                    continue
                assert not sound(code[:place] + other + code[place + 1 :])


def test_the_check_character_finds_every_swap_of_neighbours() -> None:
    swaps = 0
    for code in (domain.unique_code("L", one) for one in IDS):
        for place in range(len(code) - 1):
            if code[place] != code[place + 1] and code[place + 1] != "*":
                swaps += 1
                assert not sound(code[:place] + code[place + 1] + code[place] + code[place + 2 :])
    assert swaps > 600


# -- discarding, pushing, reviews --------------------------------------------------------------------------------------


def test_discarding_keeps_what_was_stated_and_is_done_once() -> None:
    view = given(*HISTORIES["discarded"]).view
    assert (view.state, dict(view.fields), view.document) == ("discarded", REQUIRED, DOCUMENT)
    assert discard(given(*HISTORIES["discarded"]), version=99) == []
    with refused("wrong_state", state="submitted"):
        discard(given(*TO_SUBMITTED))


def test_a_push_pins_what_was_submitted() -> None:
    state = given(*TO_SUBMITTED)
    assert push(state, push_id=PUSH) == [PUSHED]
    (record,) = given(*TO_SUBMITTED, PUSHED).view.pushes
    assert (record.id, record.number, record.domain_id, record.state, record.version) == (PUSH, 1, DOMAIN, "requested", 4)
    assert record.pushed_at.ToDatetime(UTC) == AT + timedelta(seconds=len(TO_SUBMITTED))


def test_one_pending_push_a_domain() -> None:
    state = given(*HISTORIES["pushed"])
    assert push(state, push_id=PUSH) == []
    with refused("push_exists", "/domain"):
        push(state)
    (elsewhere,) = push(state, to="sy-bidding")
    assert isinstance(elsewhere, events_pb2.PushRequested)
    assert elsewhere.number == 2
    after = domain.evolve(state, elsewhere, AT)
    assert [one.state for one in after.view.pushes] == ["requested", "requested"]
    assert push(after, push_id="p2", to="sy-bidding") == []


@pytest.mark.parametrize("situation", ["approved", "rejected", "withdrawn"])
def test_after_a_decision_it_may_be_pushed_again(situation: str) -> None:
    (event,) = push(given(*HISTORIES[situation]))
    assert isinstance(event, events_pb2.PushRequested)
    assert event.number == 2


def test_a_push_that_isnt_there_cant_be_withdrawn() -> None:
    with refused("not_found"):
        withdraw(given(*HISTORIES["pushed"]), push_id="p9")
    for decided in ("approved", "rejected"):
        with refused("push_not_pending", state=decided):
            withdraw(given(*HISTORIES[decided]))


def test_a_review_is_taken_once_and_nothing_undoes_it() -> None:
    for decision, other in (("approved", "rejected"), ("rejected", "approved")):
        state = given(*HISTORIES["acknowledged"], reviewed(decision))
        (record,) = state.view.pushes
        assert (record.state, record.opinion, record.reviewed_at.seconds) == (decision, "已核", 1)
        assert domain.record_review(state, reviewed(other)) == []
        for step in ("DELIVERED", "ACKNOWLEDGED", "WITHDRAWN"):
            assert domain.record_progress(state, progress(step)) == []


def test_words_about_an_unknown_push_are_passed_over() -> None:
    state = given(*HISTORIES["pushed"])
    unknown = events_pb2.PushProgressRecorded(certificate_id=ID, push_id="p9", state="DELIVERED", at_us=1)
    assert domain.record_progress(state, unknown) == []
    assert domain.record_review(state, events_pb2.ReviewRecorded(certificate_id=ID, push_id="p9", decision="approved")) == []


def test_a_review_concerns_its_push_only() -> None:
    elsewhere = events_pb2.PushRequested()
    elsewhere.CopyFrom(PUSHED)
    elsewhere.push_id, elsewhere.domain_id, elsewhere.number = "p2", "sy-bidding", 2
    state = given(*HISTORIES["pushed"], elsewhere, reviewed("approved"))
    assert [(one.id, one.state) for one in state.view.pushes] == [(PUSH, "approved"), ("p2", "requested")]


# -- locks -------------------------------------------------------------------------------------------------------------


def test_a_lock_is_of_the_present_document() -> None:
    state = given(*HISTORIES["document"])
    assert domain.record_lock(state, LOCKED) == [LOCKED]
    locked = domain.evolve(state, LOCKED, AT)
    assert (locked.locked, domain.record_lock(locked, LOCKED)) == (True, [])
    replaced = given(*HISTORIES["locked"], *upload(locked))
    assert not replaced.locked
    assert domain.record_lock(replaced, LOCKED) == []
    assert not domain.evolve(replaced, LOCKED, AT).locked


# -- supplements 补充完善: what may change, what stands meanwhile, and how they end ------------------------------------------

#: A field that may change, and one that never may.
FREE: Final = "business_scope"
KEPT: Final = "company_name"


OPEN: Final[tuple[Message, ...]] = (*ACCEPTED, BEGUN)
COMPLETED: Final = events_pb2.FieldsStated(certificate_id=ID, fields=REQUIRED | {FREE: "改后"}, version=6)


def asked(version: int, identity: str = "k2") -> events_pb2.VerificationRequested:
    event = events_pb2.VerificationRequested()
    event.CopyFrom(ASKED)
    event.verification_id, event.version = identity, version
    return event


def begin(*events: Message, subject: str = ME, kind: catalogue.CertificateType = KIND, version: int = 0) -> list[Message]:
    return domain.begin_supplement(given(*events), subject, kind, version)


def enter(*events: Message) -> list[Message]:
    return domain.submit(given(*events), ME, KIND, today=TODAY, expected_version=0)


def test_a_yellow_certificate_takes_one_and_a_green_one_is_locked() -> None:
    assert begin(*ACCEPTED) == [BEGUN]
    assert begin(*OPEN) == []  # it is open
    with refused("light_green_locked"):
        begin(*TO_SUBMITTED)
    with refused("not_submitted"):
        begin(*TO_MARKED)
    with refused("wrong_state"):
        begin(*TO_MARKED, events_pb2.Discarded(certificate_id=ID))
    with refused("not_found"):
        begin(*ACCEPTED, subject=STRANGER)
    with refused("version_conflict"):
        begin(*ACCEPTED, version=3)


def test_a_type_without_verification_takes_one_with_light_none() -> None:
    history = (*TO_MARKED, SEALED, submitted(types_pb2.LIGHT_NONE))
    assert begin(*history, kind=UNVERIFIED) == [BEGUN]


def test_while_it_is_open_what_was_accepted_stands_and_verdict_and_seal_are_missing() -> None:
    view = given(*OPEN, COMPLETED).view
    assert view.state == domain.SUBMITTED
    assert view.supplementing
    assert not view.HasField("seal")
    assert view.light == types_pb2.LIGHT_NONE
    assert view.verification.state == "stale"
    assert (view.accepted.version, view.accepted.light, view.accepted.seal) == (4, types_pb2.LIGHT_YELLOW, SEAL)
    assert dict(view.accepted.fields) == REQUIRED
    assert view.fields[FREE] == "改后"
    with refused("verification_stale"):
        enter(*OPEN)


def test_a_key_field_never_changes_nor_is_said_absent() -> None:
    state = given(*OPEN)
    with refused("key_field_locked", f"/fields/{KEPT}"):
        domain.state_fields(state, ME, KIND, {KEPT: "另一家公司"}, None, 0)
    with refused("key_field_locked", f"/fields/{KEPT}"):
        domain.state_fields(state, ME, KIND, {KEPT: ""}, None, 0)
    may_be_absent = replace(KIND, fields=tuple(replace(one, may_be_absent=True) for one in KIND.fields))
    with refused("key_field_locked", f"/fields/{KEPT}"):
        domain.state_fields(state, ME, may_be_absent, {}, [KEPT], 0)
    assert domain.state_fields(state, ME, KIND, {FREE: "改后"}, None, 0) == [COMPLETED]
    assert upload(state)
    assert mark_fields(state)


@pytest.mark.parametrize("light", [types_pb2.LIGHT_YELLOW, types_pb2.LIGHT_GREEN])
def test_submitting_it_makes_a_new_version_under_the_same_code(light: types_pb2.Light.ValueType) -> None:
    history = (*OPEN, COMPLETED, asked(6), verdict(light, 6, "k2"))
    with refused("seal_missing"):
        enter(*history)
    sealed = (*history, *domain.record_seal(given(*history), ID, seal_over(given(*history), "z2")))
    (event,) = enter(*sealed)
    view = given(*sealed, event).view
    assert (view.unique_code, view.version, view.light, view.supplementing) == (SUBMITTED.unique_code, 6, light, False)
    assert (view.accepted.version, view.accepted.seal.seal_id, view.accepted.fields[FREE]) == (6, "z2", "改后")
    if light == types_pb2.LIGHT_GREEN:
        with refused("light_green_locked"):
            begin(*sealed, event)
    else:
        assert begin(*sealed, event) == [events_pb2.SupplementBegun(certificate_id=ID, version=7)]


def test_one_that_would_turn_it_red_is_refused() -> None:
    history = (*OPEN, COMPLETED, asked(6), verdict(types_pb2.LIGHT_RED, 6, "k2"))
    with refused("light_red_supplement"):
        enter(*history)
    with refused("light_red_supplement"):
        domain.may_seal(given(*history), ME, KIND, 0)
    assert given(*history).view.accepted.light == types_pb2.LIGHT_YELLOW


def test_giving_it_up_brings_back_what_was_accepted() -> None:
    replaced = events_pb2.CertificateUploaded(certificate_id=ID, type=KIND.code, mode=types_pb2.MODE_SMART, document=OTHER, version=7)
    history = (*OPEN, COMPLETED, replaced)
    assert discard(given(*history)) == [ABANDONED]
    before, after = given(*ACCEPTED).view, given(*history, ABANDONED).view
    for view in (before, after):
        for name in ("updated_at", "revision"):
            view.ClearField(name)
    assert after == before


def test_no_content_version_comes_twice_so_a_late_seal_finds_no_other_content() -> None:
    seal = seal_over(given(*OPEN, COMPLETED), "z2")
    assert domain.record_seal(given(*OPEN, COMPLETED), ID, seal)
    history = (*OPEN, COMPLETED, ABANDONED)
    assert domain.record_seal(given(*history), ID, seal) == []
    (again,) = begin(*history)
    assert again == events_pb2.SupplementBegun(certificate_id=ID, version=7)
    assert domain.record_seal(given(*history, again), ID, seal) == []


def test_a_push_pins_the_accepted_version_while_a_supplement_is_open() -> None:
    (event,) = push(given(*OPEN, COMPLETED), to=DOMAIN)
    assert isinstance(event, events_pb2.PushRequested)
    assert (event.version, event.light, event.seal, event.holder) == (4, types_pb2.LIGHT_YELLOW, SEAL, HOLDER)
    assert dict(event.fields) == REQUIRED
    with refused("push_exists"):
        push(given(*OPEN, COMPLETED, event), push_id="p3")


# -- appeals -----------------------------------------------------------------------------------------------------------


def test_an_appeal_is_taken_in_once_and_an_answer_only_to_one_that_waits() -> None:
    appealed = [name for name in HISTORIES if domain.record_appeal(given(*HISTORIES[name]), APPEALED)]
    answered = [name for name in HISTORIES if domain.record_appeal_answer(given(*HISTORIES[name]), OVERTURNED)]
    assert (appealed, answered) == (["rejected"], ["appealed"])


def test_an_overturned_rejection_is_an_approval_and_an_upheld_one_stays() -> None:
    (push,) = given(*HISTORIES["overturned"]).view.pushes
    assert (push.state, push.opinion, push.appeal.state, push.appeal.grounds, push.appeal.opinion) == (
        "approved",
        reviewed("rejected").opinion,
        "overturned",
        "请复核",
        "属实",
    )
    upheld = events_pb2.AppealAnswerRecorded(certificate_id=ID, push_id=PUSH, decision="upheld", opinion="维持", answered_at_us=2)
    (push,) = given(*HISTORIES["appealed"], upheld).view.pushes
    assert (push.state, push.appeal.state) == ("rejected", "upheld")


# -- the light contested -----------------------------------------------------------------------------------------------

def contest(*events: Message, grounds: str = " 以原件为准 ", subject: str = ME, version: int = 0) -> list[Message]:
    return domain.contest_light(given(*events), subject, grounds, version)


def test_a_yellow_light_is_contested_once_and_the_grounds_go_with_later_pushes() -> None:
    assert contest(*ACCEPTED) == [CONTESTED]
    assert contest(*OPEN) == [CONTESTED]
    view = given(*ACCEPTED, CONTESTED).view
    assert view.light == view.accepted.light == types_pb2.LIGHT_YELLOW
    assert view.accepted.objection.grounds == "以原件为准"
    (event,) = push(given(*ACCEPTED, CONTESTED))
    assert isinstance(event, events_pb2.PushRequested)
    assert event.objection == "以原件为准"
    with refused("objection_exists"):
        contest(*ACCEPTED, CONTESTED)


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ((), "not_found"),
        (TO_MARKED, "not_submitted"),
        ((*TO_MARKED, events_pb2.Discarded(certificate_id=ID)), "not_submitted"),
        (TO_SUBMITTED, "light_not_contestable"),
        ((*ACCEPTED, FOLLOWED, events_pb2.Superseded(certificate_id=ID, successor_id=NEXT)), "certificate_superseded"),
    ],
)
def test_only_a_yellow_light_that_stands_is_contested(events: tuple[Message, ...], code: str) -> None:
    with refused(code):
        contest(*events)


@pytest.mark.parametrize(
    ("grounds", "code"),
    [(" \n", "field_required"), ("x" * 2001, "value_too_long"), ("a\x00", "value_invalid"), ("\ud800", "value_invalid")],
)
def test_bad_grounds_are_refused(grounds: str, code: str) -> None:
    with refused(code, "/grounds"):
        contest(*ACCEPTED, grounds=grounds)


def test_only_the_holder_contests_what_it_has_seen() -> None:
    with refused("not_found"):
        contest(*ACCEPTED, subject=STRANGER)
    with refused("version_conflict"):
        contest(*ACCEPTED, version=3)


# -- certificates that follow one another -------------------------------------------------------------------------------


def test_what_is_to_be_followed_is_of_the_same_kind_and_told_where_it_is_wrong() -> None:
    state = given(*TO_SUBMITTED)
    assert follow(state, successor=NEXT) == [FOLLOWED]
    for wrong in (follow_other_type, follow_other_person):
        with refused("supersedes_other", "/supersedes"):
            wrong(state)
    with refused("not_found", "/supersedes"):
        follow(state, STRANGER)
    with refused("not_submitted", "/supersedes"):
        follow(given(*HISTORIES["discarded"]))


def follow_other_type(state: domain.State) -> list[Message]:
    return follow(state, kind=catalogue.load().type("patent"))


def follow_other_person(state: domain.State) -> list[Message]:
    return follow(state, person="n")


def test_one_living_successor_until_it_is_discarded() -> None:
    followed = given(*HISTORIES["followed"])
    assert follow(followed, successor=NEXT) == []  # the same again
    with refused("successor_exists", "/supersedes"):
        follow(followed)
    assert domain.release_successor(followed, "c3") == []
    released = given(*HISTORIES["released"])
    assert released.view.successor_id == ""
    assert follow(released) == [events_pb2.SuccessorBegun(certificate_id=ID, successor_id="c3")]


def test_who_was_followed_shows_its_successor_and_changes_no_more() -> None:
    before, after = given(*HISTORIES["followed"]).view, given(*HISTORIES["superseded"]).view
    assert (before.state, before.successor_id) == ("submitted", NEXT)
    assert (after.state, after.successor_id, after.unique_code, after.accepted) == ("superseded", NEXT, before.unique_code, before.accepted)
    assert domain.supersede(given(*HISTORIES["followed"]), "c3") == []
    # What a domain still had to say about it is taken in.
    assert [one.state for one in given(*HISTORIES["superseded"], reviewed("approved")).view.pushes] == ["approved"]


def test_a_successor_names_whom_it_follows_from_its_draft_to_its_seal() -> None:
    (drafted,) = draft(given(), supersedes="c0")
    assert isinstance(drafted, events_pb2.CertificateDrafted)
    past = (drafted, *HISTORIES["green"][1:])
    state = given(*past)
    assert state.view.supersedes == "c0"
    assert b'"supersedes":"c0"' in domain.statement(state.view)
    assert b"supersedes" not in domain.statement(given(*HISTORIES["green"]).view)
    (sealed,) = domain.record_seal(state, ID, seal_over(state, "z"))
    (event,) = submit(given(*past, sealed))
    assert isinstance(event, events_pb2.Submitted)
    assert event.supersedes == "c0"


# -- what the catalogue leaves out, and basic information --------------------------------------------------------------


def test_a_type_without_document_and_seal_is_submitted_by_its_fields_alone() -> None:
    kind = catalogue.load().type("litigation_case")
    fields = {"description": "买卖合同纠纷", "occurred_on": "2026-01-05"}
    drafted = events_pb2.CertificateDrafted(
        certificate_id=ID, holder=HOLDER, type=kind.code, mode=types_pb2.MODE_MANUAL, fields=fields, catalogue_version="1", version=1
    )
    (submitted,) = domain.submit(given(drafted), ME, kind, today=TODAY, expected_version=0)
    assert isinstance(submitted, events_pb2.Submitted)
    assert not submitted.HasField("document")
    assert not submitted.HasField("seal")
    (pushed,) = domain.request_push(given(drafted, submitted), ME, push_id=PUSH, domain_id=DOMAIN)
    assert isinstance(pushed, events_pb2.PushRequested)
    assert not pushed.HasField("document")
    assert not pushed.HasField("seal")
    with pytest.raises(YunkuError, match="wrong_state"):
        domain.may_seal(given(drafted), ME, kind, 0)


def test_a_report_of_entry_needs_its_document_and_no_seal() -> None:
    kind = catalogue.load().type("outside_entry_report")
    fields = {"contact": "王建国", "phone": "13900000001", "valid_until": "2027-01-05"}
    drafted = events_pb2.CertificateDrafted(
        certificate_id=ID, holder=HOLDER, type=kind.code, mode=types_pb2.MODE_MANUAL, fields=fields, catalogue_version="1", version=1
    )
    with pytest.raises(YunkuError, match="document_missing"):
        domain.submit(given(drafted), ME, kind, today=TODAY, expected_version=0)
    (submitted,) = domain.submit(given(drafted, UPLOADED), ME, kind, today=TODAY, expected_version=0)
    assert isinstance(submitted, events_pb2.Submitted)
    assert submitted.document == DOCUMENT


def test_basic_information_is_changed_at_green_and_in_its_key_fields() -> None:
    past = (DRAFTED, UPLOADED, STATED, MARKED, ASKED, verdict(types_pb2.LIGHT_GREEN), SEALED, SUBMITTED)
    with pytest.raises(YunkuError, match="light_green_locked"):
        domain.begin_supplement(given(*past), ME, KIND, 0)
    (begun,) = domain.begin_supplement(given(*past), ME, LICENCE, 0)
    (stated,) = domain.state_fields(given(*past, begun), ME, LICENCE, {"legal_rep_name": "李建国"}, None, 0)
    state = given(*past, begun, stated)
    assert state.view.fields["legal_rep_name"] == "李建国"
    assert state.view.accepted.fields["legal_rep_name"] == "王建国"
    with pytest.raises(YunkuError, match="verification_stale"):
        domain.submit(state, ME, LICENCE, today=TODAY, expected_version=0)
