"""The life of a performance, and what its materials make of it: pure decisions (domain.md, module 5; manual 三 (五)).

A performance's own stream holds its overall information, its submissions and pushes. Its materials are certificates that carry its
id: what they say together (``table``, ``light``, ``contract``) is computed from them each time, so that it can't be out of date.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from yunku.certificate.v1 import events_pb2, performance_pb2, service_pb2, types_pb2

from catalogue import Catalogue, Performances
from kernel.calendar import CHINA
from kernel.errors import FieldError, YunkuError
from kernel.values import BadValue
from services.certificate.domain import DISCARDED, DRAFT, PENDING, SUBMITTED, unique_code

#: First letter of performances' unique codes; their materials' codes begin with the same.
CODE_LETTER: Final = "J"
#: Living materials and contract changes of one performance, drafts included.
MAX_MATERIALS: Final = 100
MAX_VALUE: Final = 4000


def _nothing() -> performance_pb2.Performance:
    return performance_pb2.Performance()


@dataclass(frozen=True)
class State:
    """One performance. ``view`` must not be changed in place; ``highest`` is the highest version that ever stood."""

    view: performance_pb2.Performance = field(default_factory=_nothing)
    highest: int = 0

    @property
    def exists(self) -> bool:
        return bool(self.view.id)


# -- events to state ---------------------------------------------------------------------------------------------------


def _drafted(view: performance_pb2.Performance, event: events_pb2.PerformanceDrafted, at: Timestamp) -> None:
    view.id = event.performance_id
    view.holder.CopyFrom(event.holder)
    view.category = event.category
    view.state = DRAFT
    view.information.update(event.information)
    view.version = event.version
    view.created_at.CopyFrom(at)


def _stated(view: performance_pb2.Performance, event: events_pb2.PerformanceInformationStated, at: Timestamp) -> None:
    view.version = event.version
    view.ClearField("information")
    view.information.update(event.information)


def _submitted(view: performance_pb2.Performance, event: events_pb2.PerformanceSubmitted, at: Timestamp) -> None:
    view.state = SUBMITTED
    view.reopened = False
    view.unique_code = event.unique_code
    view.submitted_at.CopyFrom(at)
    view.ClearField("accepted")
    accepted = view.accepted
    accepted.version = event.version
    accepted.information.update(event.information)
    accepted.light = event.light
    accepted.confirmed.extend(event.confirmed)
    accepted.submitted_at.CopyFrom(at)
    accepted.holder.CopyFrom(event.holder)
    for one in event.materials:
        accepted.materials.add(
            certificate_id=one.certificate_id, type=one.type, version=one.version, unique_code=one.unique_code, light=one.light
        )


def _discarded(view: performance_pb2.Performance, event: events_pb2.PerformanceDiscarded, at: Timestamp) -> None:
    view.state = DISCARDED


def _reopened(view: performance_pb2.Performance, event: events_pb2.PerformanceReopened, at: Timestamp) -> None:
    view.reopened = True
    view.version = event.version


def _abandoned(view: performance_pb2.Performance, event: events_pb2.PerformanceReopeningAbandoned, at: Timestamp) -> None:
    view.reopened = False
    view.version = event.version
    view.ClearField("information")
    view.information.update(view.accepted.information)


def _pushed(view: performance_pb2.Performance, event: events_pb2.PerformancePushRequested, at: Timestamp) -> None:
    push = view.pushes.add(id=event.push_id, number=event.number, domain_id=event.domain_id, version=event.version)
    push.pushed_at.CopyFrom(at)
    for one in event.materials:
        push.materials.add(certificate_id=one.certificate_id, push_id=one.push_id)


_EVOLVE: Final[dict[type[Message], Callable[[performance_pb2.Performance, Any, Timestamp], None]]] = {
    events_pb2.PerformanceDrafted: _drafted,
    events_pb2.PerformanceInformationStated: _stated,
    events_pb2.PerformanceSubmitted: _submitted,
    events_pb2.PerformanceDiscarded: _discarded,
    events_pb2.PerformanceReopened: _reopened,
    events_pb2.PerformanceReopeningAbandoned: _abandoned,
    events_pb2.PerformancePushRequested: _pushed,
}
EVENTS: Final = tuple(_EVOLVE)


def evolve(state: State, event: Any, at: datetime) -> State:
    """The state after one event; pure."""
    view = performance_pb2.Performance()
    view.CopyFrom(state.view)
    stamp = Timestamp()
    stamp.FromDatetime(at)
    _EVOLVE[type(event)](view, event, stamp)
    view.revision = state.view.revision + 1
    view.updated_at.CopyFrom(stamp)
    return State(view, max(state.highest, view.version))


# -- commands ----------------------------------------------------------------------------------------------------------


def owned(state: State, subject_id: str) -> performance_pb2.Performance:
    """The performance, where it is the subject's; ``not_found`` otherwise (whether it exists isn't told)."""
    if not state.exists or state.view.holder.subject_id != subject_id:
        raise YunkuError("not_found")
    return state.view


def is_open(view: performance_pb2.Performance) -> bool:
    """Whether its information and materials may change: a draft, or a submitted performance that was reopened."""
    return view.state == DRAFT or (view.state == SUBMITTED and view.reopened)


def opened(state: State, subject_id: str, expected_version: int = 0) -> performance_pb2.Performance:
    """The subject's own performance, where it is open. Raises ``not_found``, ``version_conflict``, ``wrong_state``."""
    view = owned(state, subject_id)
    if expected_version and view.version != expected_version:
        raise YunkuError("version_conflict", version=str(view.version))
    if not is_open(view):
        raise YunkuError("wrong_state", state=view.state)
    return view


def draft(
    state: State,
    *,
    performance_id: str,
    holder: types_pb2.Holder,
    known: Catalogue,
    category: str,
    information: Mapping[str, str],
) -> list[Message]:
    """Begins a performance of a category 业绩类别. Raises ``category_unknown`` and what is wrong with the information."""
    if state.exists:
        return []
    try:
        chosen = known.performances.category(category)
    except KeyError:
        raise YunkuError("category_unknown", field="/category") from None
    return [
        events_pb2.PerformanceDrafted(
            performance_id=performance_id,
            holder=holder,
            category=chosen.code,
            information=_canonical(known.performances, information),
            catalogue_version=known.version,
            version=1,
        )
    ]


def state_information(
    state: State, subject_id: str, known: Performances, information: Mapping[str, str], category: str, expected_version: int
) -> list[Message]:
    """States the overall information 业绩总体信息 anew, whole. The category is fixed once chosen (manual 三 (五) 1 note a)."""
    view = opened(state, subject_id, expected_version)
    if category and category not in (view.category, known.category(view.category).label):
        raise YunkuError("category_fixed", field="/category")
    canonical = _canonical(known, information)
    if canonical == dict(view.information):
        return []
    if view.reopened and view.accepted.light == types_pb2.LIGHT_GREEN:
        raise YunkuError("light_green_locked")
    return [events_pb2.PerformanceInformationStated(performance_id=view.id, information=canonical, version=state.highest + 1)]


def submit(
    state: State,
    subject_id: str,
    *,
    materials: Sequence[service_pb2.Certificate],
    light: types_pb2.Light.ValueType,
    confirmed: Sequence[types_pb2.CheckFinding],
    expected_version: int,
) -> list[Message]:
    """Enters the register with its materials as they are after their own submission. What must hold of them was looked at before."""
    view = opened(state, subject_id, expected_version)
    return [
        events_pb2.PerformanceSubmitted(
            performance_id=view.id,
            holder=view.holder,
            category=view.category,
            information=view.information,
            version=view.version,
            unique_code=unique_code(CODE_LETTER, view.id),
            light=light,
            materials=[
                events_pb2.PerformanceSubmitted.Material(
                    certificate_id=one.id,
                    type=one.type,
                    version=one.accepted.version,
                    unique_code=one.unique_code,
                    light=one.accepted.light,
                )
                for one in materials
            ],
            confirmed=confirmed,
        )
    ]


def reopen(state: State, subject_id: str, expected_version: int) -> list[Message]:
    """Opens a submitted performance to be changed. One that is open is answered.

    Its materials keep their own rules: a YELLOW one is supplemented, a GREEN one followed by a new one.
    """
    view = owned(state, subject_id)
    if expected_version and view.version != expected_version:
        raise YunkuError("version_conflict", version=str(view.version))
    if view.state == DRAFT:
        raise YunkuError("performance_not_submitted")
    if view.state != SUBMITTED:
        raise YunkuError("wrong_state", state=view.state)
    if view.reopened:
        return []
    return [events_pb2.PerformanceReopened(performance_id=view.id, version=state.highest + 1)]


def discard(state: State, subject_id: str, expected_version: int) -> list[Message]:
    """Gives a draft, or a reopening, up; the history stays readable, and what was submitted stands."""
    view = owned(state, subject_id)
    if view.state == DISCARDED:
        return []
    view = opened(state, subject_id, expected_version)
    if view.reopened:
        return [events_pb2.PerformanceReopeningAbandoned(performance_id=view.id, version=view.accepted.version)]
    return [events_pb2.PerformanceDiscarded(performance_id=view.id)]


def request_push(
    state: State, subject_id: str, *, push_id: str, domain_id: str, materials: Sequence[tuple[str, str]], fresh: bool
) -> list[Message]:
    """Pushes the whole to a domain. ``materials`` are (certificate id, id of its push); ``fresh``: some of these pushes are new."""
    view = owned(state, subject_id)
    if view.state != SUBMITTED:
        raise YunkuError("performance_not_submitted")
    if not fresh:
        raise YunkuError("push_exists", field="/domain")
    return [
        events_pb2.PerformancePushRequested(
            performance_id=view.id,
            push_id=push_id,
            number=len(view.pushes) + 1,
            domain_id=domain_id,
            version=view.accepted.version,
            materials=[events_pb2.PerformancePushRequested.Material(certificate_id=one, push_id=push) for one, push in materials],
        )
    ]


def missing_information(known: Performances, information: Mapping[str, str]) -> list[str]:
    """Fields of the overall information that must be stated to submit and aren't."""
    return [one.name for one in known.information if one.required and one.name not in information]


def _canonical(known: Performances, information: Mapping[str, str]) -> dict[str, str]:
    """The canonical values; an empty one is left out. Every mistake is told with its pointer."""
    canonical: dict[str, str] = {}
    wrong: list[FieldError] = []
    fields = {one.name: one for one in known.information}
    # In the form's order: a map comes in any, and the first mistake names the refusal.
    for name in sorted(information, key=lambda name: (list(fields).index(name) if name in fields else len(fields), name)):
        text = information[name]
        at = "/" + name[:100].replace("~", "~0").replace("/", "~1")
        if name not in fields:
            wrong.append(FieldError(at, "field_unknown", {"field": name[:100]}))
        elif len(text) > MAX_VALUE:
            wrong.append(FieldError(at, "value_too_long", {"max": str(MAX_VALUE)}))
        elif text.strip():
            try:
                canonical[name] = fields[name].parse(text)
            except BadValue as problem:
                wrong.append(FieldError(at, "value_invalid", {**problem.details, "field": name, "problem": problem.code}))
    if wrong:
        raise YunkuError(wrong[0].code, errors=wrong[:50])
    return canonical


# -- what its materials make of it -------------------------------------------------------------------------------------


def fits(known: Performances, category: str, type_code: str) -> bool:
    """Whether a certificate of the type may be a material of a performance of the category."""
    chosen = known.category(category)
    return type_code in (*chosen.required, *chosen.optional, known.supporting, known.change)


def single(known: Performances, type_code: str) -> bool:
    """Whether a performance has at most one living certificate of the type: supporting materials and changes may be several."""
    return type_code not in (known.supporting, known.change) and any(
        type_code in (*one.required, *one.optional) for one in known.categories
    )


def is_material(known: Performances, type_code: str) -> bool:
    """Whether certificates of the type are materials, submitted with their performance and never alone."""
    return any(fits(known, one.code, type_code) for one in known.categories)


def living(certificates: Iterable[service_pb2.Certificate]) -> list[service_pb2.Certificate]:
    """Those that aren't discarded or superseded, in the order of their making; one that is being followed is left out for its
    successor."""
    there = sorted((one for one in certificates if one.state in (DRAFT, SUBMITTED)), key=lambda one: one.id)
    ids = {one.id for one in there}
    return [one for one in there if one.successor_id not in ids]


def supported_type(known: Catalogue, certificate: service_pb2.Certificate) -> str:
    """The type of the material that a supporting material supports; empty where it doesn't say."""
    stated = certificate.fields.get("supports", "")
    return next((one.code for one in known.types if stated and one.label == stated and is_material(known.performances, one.code)), "")


def table(
    known: Catalogue, view: performance_pb2.Performance, certificates: Iterable[service_pb2.Certificate]
) -> list[performance_pb2.MaterialRow]:
    """The table of materials (manual 三 (五) 1 (5)): each required one with what supports it, then the optional ones."""
    performances = known.performances
    category = performances.category(view.category)
    there = living(certificates)
    supporting_needed = view.information.get("performance_type", "") in performances.supporting_for
    supporting = [(supported_type(known, one), one) for one in there if one.type == performances.supporting]
    rows: list[performance_pb2.MaterialRow] = []
    for code in (*category.required, *category.optional):
        required = code in category.required
        found = [one for one in there if one.type == code]
        rows.append(performance_pb2.MaterialRow(type=code, required=required, certificate=found[-1] if found else None))
        support = [one for supports, one in supporting if supports == code]
        needed = required and supporting_needed
        for number, one in enumerate(support):
            rows.append(
                performance_pb2.MaterialRow(type=performances.supporting, supports=code, required=needed and number == 0, certificate=one)
            )
        if needed and not support:
            rows.append(performance_pb2.MaterialRow(type=performances.supporting, supports=code, required=True))
    rows += [performance_pb2.MaterialRow(type=performances.supporting, certificate=one) for supports, one in supporting if not supports]
    return rows


#: From the worst to the best.
_LIGHTS: Final = (types_pb2.LIGHT_RED, types_pb2.LIGHT_NONE, types_pb2.LIGHT_YELLOW, types_pb2.LIGHT_GREEN)


def light(known: Catalogue, rows: Iterable[performance_pb2.MaterialRow]) -> types_pb2.Light.ValueType:
    """The worst of the lights of the required materials that have one; NONE while one of them isn't there."""
    lights = [
        row.certificate.light if row.HasField("certificate") else types_pb2.LIGHT_NONE
        for row in rows
        if row.required and known.type(row.type).verification
    ]
    return min(lights, key=_LIGHTS.index, default=types_pb2.LIGHT_NONE)


@dataclass(frozen=True)
class Change:
    """A contract change as its certificate states it. ``value`` is None where the new value isn't one of the item's kind."""

    certificate: service_pb2.Certificate
    item: str
    value: str | None
    on: str
    """Day by which changes of one item are put in order: the one stated, else the one of the record."""


def change_value(known: Catalogue, item: str, text: str) -> str:
    """The canonical new value of a change item; raises BadValue."""
    performances = known.performances
    return known.type(performances.contract).field(performances.item(item).field).parse(text)


def changes(known: Catalogue, certificates: Iterable[service_pb2.Certificate]) -> list[Change]:
    """The living contract changes, in the order in which they took effect."""
    performances = known.performances
    found: list[Change] = []
    for one in living(certificates):
        if one.type != performances.change or "item" not in one.fields:
            continue
        item = performances.item(one.fields["item"]).code
        try:
            value = change_value(known, item, one.fields.get("new_value", ""))
        except BadValue:
            value = None
        created = one.created_at.ToDatetime(tzinfo=UTC).astimezone(CHINA).date().isoformat()
        found.append(Change(one, item, value, one.fields.get("changed_on") or created))
    return sorted(found, key=lambda change: (change.on, change.certificate.id))


def contract(
    known: Catalogue, certificates: Sequence[service_pb2.Certificate]
) -> tuple[list[performance_pb2.ContractItem], list[performance_pb2.ContractChange]]:
    """Original and effective value of each item of the contract, and the changes: both are kept (domain.md, module 5)."""
    performances = known.performances
    there = [one for one in living(certificates) if one.type == performances.contract]
    original: Mapping[str, str] = there[-1].fields if there else {}
    made = changes(known, certificates)
    last = {change.item: change for change in made if change.value is not None}
    items = []
    for item in performances.changes:
        stated = original.get(item.field, "")
        effective = last[item.code].value if item.code in last else None
        items.append(performance_pb2.ContractItem(item=item.code, original=stated, effective=effective or stated))
    listed = [
        performance_pb2.ContractChange(
            item=change.item,
            content=change.certificate.fields.get("content", ""),
            value=change.value or change.certificate.fields.get("new_value", ""),
            changed_on=change.certificate.fields.get("changed_on", ""),
            certificate=change.certificate,
            effective=last.get(change.item) is change,
        )
        for change in made
    ]
    return items, listed


# -- pushes ------------------------------------------------------------------------------------------------------------


def counts(known: Catalogue, category: str, type_code: str) -> bool:
    """Whether a domain must approve it for the performance to be approved: required materials, and contract changes, which override."""
    return type_code in (*known.performances.category(category).required, known.performances.change)


def push_state(states: Iterable[tuple[bool, str]]) -> str:
    """The combined state of one push, by (whether it counts, state) of each material's push."""
    told = list(states)
    if any(state == "rejected" for _, state in told):
        return "rejected"
    deciding = [state for counting, state in told if counting]
    if deciding and all(state == "approved" for state in deciding):
        return "approved"
    if any(state in PENDING for state in deciding) or not deciding:
        return "pending"
    return "withdrawn"


def pushed(
    known: Catalogue, view: performance_pb2.Performance, certificates: Iterable[service_pb2.Certificate]
) -> performance_pb2.Performance:
    """The performance with the states of its pushes, by its materials'."""
    told = performance_pb2.Performance()
    told.CopyFrom(view)
    types = {one.id: one.type for one in certificates}
    records = {push.id: push for one in certificates for push in one.pushes}
    for push in told.pushes:
        for one in push.materials:
            record = records.get(one.push_id)
            one.type = types.get(one.certificate_id, "")
            one.state = record.state if record is not None else "requested"
            one.opinion = record.opinion if record is not None else ""
        push.state = push_state((counts(known, view.category, one.type), one.state) for one in push.materials)
    return told
