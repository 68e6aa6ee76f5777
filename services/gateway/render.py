"""Messages of the services to what the public interface shows: words for enums, RFC 3339 for moments, Chinese beside
codes, null for what isn't there."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any, Final, get_args

from google.protobuf.timestamp_pb2 import Timestamp
from yunku.certificate.v1 import service_pb2, transfer_pb2, types_pb2
from yunku.identity.v1 import service_pb2 as identity_pb2
from yunku.push.v1 import service_pb2 as push_pb2
from yunku.signing.v1 import service_pb2 as signing_pb2
from yunku.subject.v1 import persons_pb2, profile_pb2
from yunku.subject.v1 import service_pb2 as subject_pb2

import catalogue
from catalogue import CertificateType, listing
from kernel import texts, values
from kernel.calendar import CHINA
from services.gateway import models

#: Kinds of values (kernel.values) that are personal numbers, and how many characters of either end are shown.
_PERSONAL: Final = {"id18": (4, 2), "phone": (3, 4)}
#: An ID number (GB 11643) within another: 18 characters by themselves, with a date of birth where it stands.
_ID_WITHIN: Final = re.compile(r"(?<!\d)[1-9]\d{5}(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])\d{3}[\dX](?![\dX])")

_LIGHTS: Final = {
    types_pb2.LIGHT_RED: "RED",
    types_pb2.LIGHT_YELLOW: "YELLOW",
    types_pb2.LIGHT_GREEN: "GREEN",
}
#: What of a company is kept as words, and where their Chinese stands.
_SUBJECT_WORDS: Final = {
    "types": "gateway.subject_type",
    "profile_state": "gateway.profile_state",
    "profile.is_sme": "gateway.bool",
    "profile.business_types": "gateway.business_type",
}
_STATES: Final = frozenset(get_args(models.ProgressState))
#: What a line of a person's operation record says, in this order.
_PERSON_PARTS: Final = ("source", "bound_on", "unbound_on", "position", "former_position", "phone", "reason")
_REASON_SECTIONS: Final = ("verify", "verify.postponed", "ocr.postponed")


def moment(stamp: Timestamp) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    return _rfc3339(stamp.ToDatetime(tzinfo=UTC))


def microseconds(count: int) -> str:
    """A moment given in microseconds since 1970."""
    return _rfc3339(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=count))


def _rfc3339(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"


def word(value: str | list[str] | None) -> Any:
    """A word that a service gave: pydantic holds it to the words that the interface has."""
    return value


def light(value: int) -> Any:
    """The word of a light; NONE for everything that is no verdict."""
    return _LIGHTS.get(value, "NONE")  # type: ignore[call-overload]


def mode(text: str) -> types_pb2.Mode.ValueType:
    """The enum of a mode's word; the unspecified one, which the service refuses, for other words."""
    known = {"SMART": types_pb2.MODE_SMART, "MANUAL": types_pb2.MODE_MANUAL}
    return known.get(text, types_pb2.MODE_UNSPECIFIED)


def mask(kind: str, value: str) -> str:
    """A personal number with its middle hidden, also where it is part of a certificate's number (T and the ID number, TSG Z6001);
    other kinds as they are."""
    if kind == "certno":
        return _ID_WITHIN.sub(lambda found: found.group() if values.checks("id18", found.group()) else mask("id18", found.group()), value)
    shown = _PERSONAL.get(kind)
    if shown is None or not value:
        return value
    head, tail = shown
    if len(value) <= head + tail:
        return "*" * len(value)
    return value[:head] + "*" * (len(value) - head - tail) + value[-tail:]


def masked_fields(type_code: str, fields: Mapping[str, str]) -> dict[str, str]:
    """The values with personal numbers masked; a type that the catalogue no longer has shows nothing that could be one."""
    kind = known_type(type_code)
    if kind is None:
        return {name: "*" * len(value) if any(c.isdecimal() for c in value) else value for name, value in sorted(fields.items())}
    return {name: mask(kind.field(name).type if kind.has_field(name) else "", value) for name, value in sorted(fields.items())}


def known_type(code: str) -> CertificateType | None:
    """The catalogue's type, None where it has none of this code."""
    known = catalogue.load()
    return known.type(code) if known.has_type(code) else None


@cache
def _keys(section: str) -> frozenset[str]:
    return texts.keys(section)


def reason(code: str, params: Mapping[str, str]) -> str:
    """The Chinese text of a verdict's or a delay's reason."""
    for section in _REASON_SECTIONS:
        if code in _keys(section):
            return texts.text(f"{section}.{code}", **params)
    return texts.text("gateway.reason_unknown", code=code)


# -- accounts and subjects ---------------------------------------------------------------------------------------------


def member(one: identity_pb2.MemberSubject) -> models.MemberSubject:
    return models.MemberSubject(
        id=one.id, uscc=one.uscc, name=one.name, types=word(list(one.types)), role=word(one.role), invited=one.invited
    )


def company_member(one: identity_pb2.Member) -> models.Member:
    """A member of a company, for the company."""
    return models.Member(
        account_id=one.account_id,
        kind=word(one.kind),
        name=one.name or None,
        phone=one.masked_phone or None,
        role=word(one.role),
        state=word(one.state),
    )


def session(one: identity_pb2.Session) -> models.Session:
    return models.Session(
        token=one.token,
        expires_at=moment(one.expires_at),
        refresh_token=one.refresh_token or None,
        subjects=[member(subject) for subject in one.subjects],
        subject_id=one.subject_id or None,
        subject_type=word(one.subject_type or None),
    )


def current_session(one: identity_pb2.AuthenticateResponse, name: str | None) -> models.CurrentSession:
    return models.CurrentSession(
        account_id=one.account_id,
        name=name,
        method=word(one.method),
        expires_at=moment(one.expires_at),
        subjects=[member(subject) for subject in one.subjects],
        subject_id=one.subject_id or None,
        subject_type=word(one.subject_type or None),
        roles=[models.RoleHeld(role=role.role, domain_id=role.domain_id or None) for role in one.roles],
    )


def subject(one: subject_pb2.Subject) -> models.Subject:
    accepted = one.accepted_profile
    return models.Subject(
        id=one.id,
        uscc=one.uscc,
        name=one.name,
        former_names=list(one.former_names),
        types=word(list(one.types)),
        registered_at=moment(one.registered_at),
        profile=models.SubjectProfile(
            state=word(one.profile_state),
            fields=profile_fields(one.profile),
            accepted=models.AcceptedProfile(
                number=accepted.number,
                name=accepted.name,
                submitted_at=moment(accepted.submitted_at),
                fields=profile_fields(accepted.profile),
            )
            if one.HasField("accepted_profile")
            else None,
        ),
        version=one.version,
    )


def profile_fields(one: profile_pb2.Profile) -> models.ProfileFields:
    return models.ProfileFields(
        registered_place=one.registered_place or None,
        company_type=one.company_type or None,
        contact=one.contact or None,
        contact_phone=one.contact_phone or None,
        website=one.website or None,
        fax=one.fax or None,
        postal_code=one.postal_code or None,
        is_sme=one.is_sme == "true" if one.is_sme else None,
        founded_on=one.founded_on or None,
        business_types=word(list(one.business_types)),
    )


def profile_version(one: subject_pb2.ProfileVersion, names: Mapping[str, str]) -> models.ProfileVersion:
    """One submission of the basic information. ``names`` are accounts' by id."""
    return models.ProfileVersion(
        number=one.number,
        name=one.name,
        submitted_at=moment(one.submitted_at),
        actor=actor("account", one.account_id, names, {}),
        fields=profile_fields(one.profile),
        changes=[subject_change(change) for change in json.loads(one.changes_json or "[]")],
    )


def subject_history_item(one: subject_pb2.SubjectHistoryItem, names: Mapping[str, str], *, masked: bool) -> models.SubjectHistoryItem:
    """One line of a company's operation record. ``names`` are accounts' by id."""
    event: dict[str, Any] = json.loads(one.event_json or "{}")
    params = {key: str(event.get(key, "")) for key in ("name", "former_name", "number")}
    return models.SubjectHistoryItem(
        number=one.number,
        at=moment(one.at),
        actor=actor(one.actor_kind, one.actor_id, names, {}),
        action=_word("gateway.action", one.type),
        type=one.type,
        summary=texts.text(f"gateway.summary.{one.type}", **params) if one.type in _keys("gateway.summary") else one.type,
        changes=[subject_change(change, masked=masked) for change in json.loads(one.changes_json or "[]")],
        version=one.version,
        event_id=one.event_id,
        hash=one.hash,
    )


def subject_change(one: Mapping[str, Any], *, masked: bool = False) -> models.Change:
    """What changed of a company, with the field's Chinese name and words; ``masked`` hides its contact's number."""
    path = str(one["path"])
    label = _word("gateway.subject_change", path.removeprefix("profile."))
    before, after = (_subject_value(path, one.get(side), masked) for side in ("before", "after"))
    return models.Change(path=path, label=label, before=before, after=after)


def _subject_value(path: str, value: Any, masked: bool) -> Any:
    section = _SUBJECT_WORDS.get(path)
    if section is not None:
        return [_word(section, one) for one in value] if isinstance(value, list) else _word(section, value) if value else value
    return mask("phone", value) if masked and path == "profile.contact_phone" and value else value


# -- certificates ------------------------------------------------------------------------------------------------------


def certificate(one: service_pb2.Certificate, *, expiring_days: int, masked: bool = False) -> models.Certificate:
    """The whole of a certificate; ``masked`` for readers who aren't its holder."""
    kind = known_type(one.type)

    def shown(name: str, value: str) -> str:
        if not masked:
            return value
        return mask(kind.field(name).type if kind is not None and kind.has_field(name) else "", value)

    return models.Certificate(
        id=one.id,
        holder=holder(one.holder),
        type=one.type,
        state=word(one.state),
        mode=word(types_pb2.Mode.Name(one.mode).removeprefix("MODE_")),
        light=light(one.light),
        fields=masked_fields(one.type, one.fields) if masked else dict(sorted(one.fields.items())),
        absent=list(one.absent),
        document=document(one.document) if one.HasField("document") else None,
        recognition=_recognition(one.recognition, shown),
        marks=[models.Mark(field=mark.field, page=mark.page, box=box(mark.box)) for mark in one.marks],
        verification=_verification(one.verification, shown),
        seal=seal(one.seal) if one.HasField("seal") else None,
        unique_code=one.unique_code or None,
        validity=validity(one, expiring_days),
        pushes=[push(record) for record in one.pushes],
        accepted=_accepted(one, masked) if one.HasField("accepted") else None,
        supplementing=one.supplementing,
        predecessor_id=one.supersedes or None,
        successor_id=one.successor_id or None,
        provenance=provenance(one.provenance) if one.HasField("provenance") else None,
        person_id=one.person_id or None,
        performance_id=one.performance_id or None,
        version=one.version,
        created_at=moment(one.created_at),
        updated_at=moment(one.updated_at),
        submitted_at=moment(one.submitted_at) if one.HasField("submitted_at") else None,
    )


def _accepted(one: service_pb2.Certificate, masked: bool) -> models.Accepted:
    stands = one.accepted
    return models.Accepted(
        version=stands.version,
        light=light(stands.light),
        fields=masked_fields(one.type, stands.fields) if masked else dict(sorted(stands.fields.items())),
        document=document(stands.document) if stands.HasField("document") else None,
        seal=seal(stands.seal) if stands.HasField("seal") else None,
        submitted_at=moment(stands.submitted_at),
        objection=models.Objection(grounds=stands.objection.grounds, at=moment(stands.objection.at))
        if stands.HasField("objection")
        else None,
    )


def summary(one: service_pb2.Certificate, *, expiring_days: int) -> models.CertificateSummary:
    """A certificate in a list."""
    kind = known_type(one.type)
    last = {record.domain_id: record.state for record in one.pushes}
    return models.CertificateSummary(
        id=one.id,
        holder=holder(one.holder),
        type=one.type,
        name=listing.name(kind, one.fields) if kind is not None else one.type,
        level=(listing.level(kind, one.fields) if kind is not None else "") or None,
        number=(listing.number(kind, one.fields) if kind is not None else "") or None,
        state=word(one.state),
        mode=word(types_pb2.Mode.Name(one.mode).removeprefix("MODE_")),
        light=light(one.light),
        fields=masked_fields(one.type, one.fields),
        unique_code=one.unique_code or None,
        validity=validity(one, expiring_days),
        document_sha256=one.document.sha256 or None,
        sealed=one.HasField("seal"),
        supplementing=one.supplementing,
        predecessor_id=one.supersedes or None,
        successor_id=one.successor_id or None,
        pushes=[models.DomainPush(domain_id=domain_id, state=word(state)) for domain_id, state in sorted(last.items())],
        person_id=one.person_id or None,
        performance_id=one.performance_id or None,
        version=one.version,
        created_at=moment(one.created_at),
        updated_at=moment(one.updated_at),
        submitted_at=moment(one.submitted_at) if one.HasField("submitted_at") else None,
    )


def provenance(one: types_pb2.Provenance) -> models.Provenance:
    return models.Provenance(
        source=word(one.source),
        source_id=one.source_id,
        retrieved_at=microseconds(one.retrieved_at_us),
        answer_sha256=one.answer_sha256,
        row=json.loads(one.row_json),
    )


def platform_listing(one: service_pb2.ListPlatformEntriesResponse) -> models.PlatformListing:
    reasons = _keys("platform")
    return models.PlatformListing(
        items=[
            models.PlatformEntry(
                id=entry.id,
                name=entry.name,
                level=entry.level or None,
                valid_until=entry.valid_until or None,
                primary=entry.primary,
                type=entry.type,
                fields=dict(sorted(entry.fields.items())),
                certificate_id=entry.certificate_id or None,
            )
            for entry in one.items
        ],
        faults=[
            models.PlatformFault(
                row=fault.row,
                id=fault.id or None,
                code=fault.reason,
                message=texts.text(f"platform.{fault.reason}", member=fault.member) if fault.reason in reasons else fault.reason,
                member=fault.member or None,
            )
            for fault in one.faults
        ],
        retrieved_at=moment(one.retrieved_at),
        answer_sha256=one.answer_sha256,
        next_cursor=None,
    )


def notice(one: service_pb2.Notice) -> models.ExpiryNotice:
    kind = known_type(one.type)
    standing = one.notice
    left = (date.fromisoformat(standing.valid_until) - datetime.now(CHINA).date()).days
    return models.ExpiryNotice(
        id=standing.id,
        certificate_id=one.certificate_id,
        type=one.type,
        type_label=kind.label if kind is not None else one.type,
        name=one.name,
        valid_until=standing.valid_until,
        days_left=left,
        days_before=standing.days_before if standing.days_before >= 0 else None,
        noticed_at=moment(standing.noticed_at),
        unique_code=one.unique_code,
        person_id=one.person_id or None,
        performance_id=one.performance_id or None,
    )


def taken_over(one: service_pb2.TakeOverResponse, *, expiring_days: int) -> models.TakenOverList:
    return models.TakenOverList(
        items=[
            models.TakenOver(id=item.id, created=item.created, certificate=summary(item.certificate, expiring_days=expiring_days))
            for item in one.items
        ]
    )


def holder(one: types_pb2.Holder) -> models.Holder:
    return models.Holder(subject_id=one.subject_id, uscc=one.uscc, name=one.name)


def document(one: types_pb2.Document) -> models.Document:
    return models.Document(
        sha256=one.sha256,
        size=one.size,
        media_type=word(one.media_type),
        file_name=one.file_name,
        born_digital=one.born_digital,
        pages=[models.Page(number=page.number, width=page.width, height=page.height) for page in one.pages],
    )


def box(one: types_pb2.Box) -> list[float]:
    return [one.x0, one.y0, one.x1, one.y1]


def _recognition(one: service_pb2.Recognition, shown: Any) -> models.Recognition:
    return models.Recognition(
        state=word(one.state if one.state in _STATES else "none"),
        fields={
            field.field: models.RecognisedField(
                value=shown(field.field, field.value),
                confidence=field.confidence,
                page=field.page or None,
                box=box(field.box) if field.HasField("box") else None,
            )
            for field in one.fields
        },
        engine=one.engine or None,
        engine_version=one.engine_version or None,
        reason=reason(one.reason, {}) if one.reason else None,
        reason_code=one.reason or None,
    )


def verification(one: service_pb2.Verification) -> models.Verification:
    """The verification alone, for its holder."""
    return _verification(one, lambda name, value: value)


def _verification(one: service_pb2.Verification, shown: Any) -> models.Verification:
    return models.Verification(
        id=one.id or None,
        state=word(one.state or "none"),
        light=light(one.light),
        version=one.version or None,
        fields={
            field.field: models.FieldVerdict(
                verdict=word(types_pb2.Verdict.Name(field.verdict).removeprefix("VERDICT_")),
                stated=shown(field.field, field.stated) or None,
                recognised=shown(field.field, field.recognised) or None,
                reason=reason(field.reason, field.params),
                reason_code=field.reason,
                confidence=field.confidence,
            )
            for field in one.fields
        },
        rules=[
            models.RuleFailure(
                rule=rule.rule,
                fields=list(rule.fields),
                reason=reason(rule.reason, rule.params),
                reason_code=rule.reason,
                effect="red" if rule.decisive else "note" if rule.note else "yellow",
            )
            for rule in one.rules
        ],
        rules_version=one.rules_version or None,
        engine_version=one.engine_version or None,
        reason=reason(one.reason, {}) if one.reason else None,
        reason_code=one.reason or None,
    )


def seal(one: types_pb2.Seal) -> models.Seal:
    return models.Seal(
        id=one.seal_id,
        version=one.version,
        sha256=one.sealed_sha256,
        size=one.size,
        signer_name=one.signer_name,
        signer_uscc=one.signer_uscc,
        certificate_fingerprint=one.certificate_fingerprint,
        certificate_serial=one.certificate_serial,
        signed_at=microseconds(one.signed_at_us),
        statement_sha256=one.statement_sha256 or None,
    )


def push(one: service_pb2.PushRecord) -> models.Push:
    return models.Push(
        id=one.id,
        number=one.number,
        domain_id=one.domain_id,
        state=word(one.state),
        version=one.version,
        pushed_at=moment(one.pushed_at),
        reviewed_at=moment(one.reviewed_at) if one.HasField("reviewed_at") else None,
        opinion=one.opinion or None,
        reasons=reasons(one.reasons),
        appeal=appeal(one.appeal) if one.HasField("appeal") else None,
    )


def reasons(said: Iterable[types_pb2.FieldReason]) -> list[models.FieldReason]:
    return [models.FieldReason(field=one.field, text=one.text) for one in said]


def appeal(one: service_pb2.Appeal) -> models.Appeal:
    return models.Appeal(
        state=word(one.state),
        grounds=one.grounds,
        appealed_at=moment(one.appealed_at),
        opinion=one.opinion or None,
        answered_at=moment(one.answered_at) if one.HasField("answered_at") else None,
    )


def validity(one: service_pb2.Certificate, expiring_days: int) -> models.Validity:
    """Beside the light, never part of it (domain.md, "The light")."""
    today = datetime.now(CHINA).date()
    start = date.fromisoformat(one.valid_from) if one.valid_from else None
    end = date.fromisoformat(one.valid_until) if one.valid_until else None
    if start is None and end is None:
        state = "VALID" if one.endless else None
    elif start is not None and start > today:
        state = "NOT_YET"
    elif end is not None and end < today:
        state = "EXPIRED"
    elif end is not None and end - today <= timedelta(days=expiring_days):
        state = "EXPIRING"
    else:
        state = "VALID"
    return models.Validity(state=word(state), valid_from=one.valid_from or None, valid_until=one.valid_until or None)


def activity(one: service_pb2.Activity) -> models.Activity:
    return models.Activity(
        position=one.position,
        certificate_id=one.certificate_id or None,
        performance_id=one.performance_id or None,
        type=one.type,
        at=moment(one.at),
        event_id=one.event_id,
    )


# -- persons -----------------------------------------------------------------------------------------------------------


def person_summary(one: persons_pb2.Person) -> models.PersonSummary:
    """A person in a list; the service has masked the numbers."""
    return models.PersonSummary(
        id=one.id,
        document_kind=word(one.document_kind),
        id_no=one.number,
        name=one.name,
        phone=one.phone or None,
        position=one.position or None,
        state=word(one.state),
        bound_on=one.bound_on,
        unbound_on=one.unbound_on or None,
    )


def person(one: persons_pb2.Person) -> models.Person:
    return models.Person(
        id=one.id,
        document_kind=word(one.document_kind),
        id_no=one.number,
        name=one.name,
        phone=one.phone or None,
        position=one.position or None,
        source=word(one.source),
        details=_details(one.details) if one.HasField("details") else None,
        state=word(one.state),
        bound_on=one.bound_on,
        unbound_on=one.unbound_on or None,
        bound_at=moment(one.bound_at),
        unbound_at=moment(one.unbound_at) if one.HasField("unbound_at") else None,
        version=one.version,
    )


def _details(one: persons_pb2.Details) -> models.PersonDetails:
    return models.PersonDetails(
        gender=one.gender,
        ethnicity=one.ethnicity,
        birth_date=one.birth_date,
        address=one.address,
        issuing_authority=one.issuing_authority,
        valid_from=one.valid_from,
        valid_until=one.valid_until,
        photo_sha256=one.photo_sha256 or None,
        reader_serial=one.reader_serial,
        read_at=one.read_at,
    )


def bound_person(one: persons_pb2.Person, certificate_id: str) -> models.BoundPerson:
    """A person who was just bound, with the certificate that came of it."""
    return models.BoundPerson(**person(one).model_dump(), certificate_id=certificate_id or None)


#: The tabs of a person in the manual's order (三 (三)); those without types are automatic.
_SECTIONS: Final = (
    "basic",
    "insurance",
    "title",
    "registration",
    "post",
    "special_operation",
    "performance",
    "award",
    "honour",
    "ability",
)


def person_sections(counts: Sequence[service_pb2.CertificateCount]) -> models.PersonSections:
    """The ten tabs with what stands under each."""
    return models.PersonSections(items=[_section(code, counts) for code in _SECTIONS], next_cursor=None)


def _section(code: str, counts: Sequence[service_pb2.CertificateCount]) -> models.PersonSection:
    types = [one.code for one in catalogue.load().types if one.section == code]
    found = [one for one in counts if one.type in types]
    entered = [one for one in found if one.state in ("submitted", "superseded")]
    lights = {name: sum(one.count for one in entered if light(one.light) == name) for name in get_args(models.Light)}
    return models.PersonSection(
        code=word(code),
        label=texts.text(f"gateway.person_section.{code}"),
        automatic=not types,
        types=types,
        count=sum(one.count for one in found) if types else None,
        submitted=sum(one.count for one in entered) if types else None,
        lights=models.LightCounts(**lights) if types else None,
    )


def claim(one: persons_pb2.Claim) -> models.Claim:
    return models.Claim(
        id=one.id,
        side=word(one.side),
        id_no=one.number,
        name=one.name,
        reason=one.reason,
        state=word(one.state),
        objection=one.objection or None,
        made_at=moment(one.made_at),
        answered_at=moment(one.answered_at) if one.HasField("answered_at") else None,
        person_id=one.person_id or None,
        claimant_uscc=one.claimant_uscc or None,
        claimant_name=one.claimant_name or None,
    )


def person_history_item(one: subject_pb2.PersonHistoryItem, names: Mapping[str, str]) -> models.PersonHistoryItem:
    """One line of a person's operation record. ``names`` are accounts', by id."""
    params = dict(one.params)
    if "source" in params:
        params["source"] = _word("gateway.person_source", params["source"])
    shown = [texts.text(f"gateway.person.{key}", value=params[key]) for key in _PERSON_PARTS if params.get(key)]
    action = texts.text(f"gateway.action.{one.type}")
    return models.PersonHistoryItem(
        number=one.number,
        at=moment(one.at),
        actor=actor(one.actor_kind, one.actor_id, names, {}) if one.actor_kind else None,
        action=action,
        type=one.type,
        summary="；".join(shown) or action,
        event_id=one.event_id,
        hash=one.hash,
    )


# -- domains and reviews -----------------------------------------------------------------------------------------------


def domain(one: push_pb2.Domain) -> models.Domain:
    return models.Domain(**_domain(one))


def registered_domain(one: push_pb2.Domain, credentials_file: str) -> models.RegisteredDomain:
    return models.RegisteredDomain(
        **_domain(one), push_subject=one.push_subject, review_subject=one.review_subject, credentials_file=credentials_file
    )


def _domain(one: push_pb2.Domain) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "automatic_types": list(one.automatic_types),
        "state": "closed" if one.closed else "active",
        "registered_at": moment(one.registered_at),
    }


def role_holder(one: identity_pb2.RoleHolder) -> models.RoleHolder:
    return models.RoleHolder(account_id=one.account_id, name=one.name, phone=one.masked_phone or None)


def review(one: push_pb2.Push) -> models.Review:
    return models.Review(**_review(one))


def review_detail(one: push_pb2.Push, accepted: service_pb2.Accepted) -> models.ReviewDetail:
    def shown(name: str, value: str) -> str:
        return masked_fields(one.type, {name: value})[name]

    marks = [models.Mark(field=mark.field, page=mark.page, box=box(mark.box)) for mark in accepted.marks]
    return models.ReviewDetail(**_review(one), marks=marks, verification=_verification(accepted.verification, shown))


def _review(one: push_pb2.Push) -> dict[str, Any]:
    return {
        "id": one.id,
        "certificate_id": one.certificate_id,
        "domain_id": one.domain_id,
        "number": one.number,
        "state": word(one.state),
        "delivery": word(one.delivery or "requested"),
        "holder": holder(one.holder),
        "type": one.type,
        "version": one.version,
        "unique_code": one.unique_code,
        "light": light(one.light),
        "fields": masked_fields(one.type, one.fields),
        "document": document(one.document) if one.HasField("document") else None,
        "seal": seal(one.seal) if one.HasField("seal") else None,
        "pushed_at": moment(one.pushed_at),
        "reviewed_at": moment(one.reviewed_at) if one.HasField("reviewed_at") else None,
        "opinion": one.opinion or None,
        "reviewer_id": one.reviewer_id or None,
        "channel": word(one.channel or None),
        "waiting_seconds": one.waiting_seconds,
        "reasons": reasons(one.reasons),
        "appeal": reviewed_appeal(one.appeal) if one.HasField("appeal") else None,
        "objection": one.objection or None,
    }


def reviewed_appeal(one: push_pb2.Appeal) -> models.ReviewedAppeal:
    return models.ReviewedAppeal(
        state=word(one.state),
        grounds=one.grounds,
        appealed_at=moment(one.appealed_at),
        opinion=one.opinion or None,
        answered_at=moment(one.answered_at) if one.HasField("answered_at") else None,
        reviewer_id=one.reviewer_id or None,
        channel=word(one.channel or None),
    )


# -- imports and exports -----------------------------------------------------------------------------------------------


def import_(one: transfer_pb2.Import) -> models.Import:
    return models.Import(
        id=one.id,
        state=word(one.state),
        file_name=one.file_name,
        size=one.archive_size,
        rows=one.rows,
        created=one.created,
        updated=one.updated,
        unchanged=one.unchanged,
        failed=one.failed,
        requested_at=moment(one.requested_at),
        finished_at=moment(one.finished_at) if one.HasField("finished_at") else None,
        reason_code=one.reason or None,
    )


def export(one: transfer_pb2.Export) -> models.Export:
    return models.Export(
        id=one.id,
        subject_id=one.subject_id,
        state=word(one.state),
        sha256=one.archive_sha256 or None,
        size=one.archive_size or None,
        manifest_sha256=one.manifest_sha256 or None,
        certificates=one.certificates,
        persons=one.persons,
        objects=one.objects,
        events=one.events,
        requested_at=moment(one.requested_at),
        finished_at=moment(one.finished_at) if one.HasField("finished_at") else None,
        expires_at=moment(one.expires_at) if one.HasField("expires_at") else None,
        reason_code=one.reason or None,
    )


# -- the operation record ----------------------------------------------------------------------------------------------


def history_item(
    one: service_pb2.HistoryItem | push_pb2.HistoryItem,
    names: Mapping[str, str],
    domains: Mapping[str, str],
    type_code: str,
    *,
    masked: bool,
) -> models.HistoryItem:
    """One line of the operation record. ``names`` are accounts' and ``domains`` domains', by id."""
    actions = _keys("gateway.action")
    return models.HistoryItem(
        number=one.number,
        at=moment(one.at),
        actor=actor(one.actor_kind, one.actor_id, names, domains),
        action=texts.text(f"gateway.action.{one.type}") if one.type in actions else one.type,
        type=one.type,
        summary=_summary(one, names, domains),
        changes=[_change(change, type_code, masked) for change in json.loads(one.changes_json or "[]")],
        version=one.version,
        event_id=one.event_id,
        hash=one.hash,
    )


def version(one: service_pb2.CertificateVersion, type_code: str, *, masked: bool) -> models.Version:
    """A submitted version, with what changed from the one before."""
    stands = one.accepted
    return models.Version(
        number=one.number,
        version=stands.version,
        submitted_at=moment(stands.submitted_at),
        light=light(stands.light),
        fields=masked_fields(type_code, stands.fields) if masked else dict(sorted(stands.fields.items())),
        document=document(stands.document) if stands.HasField("document") else None,
        seal=seal(stands.seal) if stands.HasField("seal") else None,
        before=models.VersionBefore(certificate_id=one.before_certificate_id, version=one.before_version)
        if one.before_certificate_id
        else None,
        changes=[_change(change, type_code, masked) for change in json.loads(one.changes_json or "[]")],
    )


def actor(kind: str, actor_id: str, names: Mapping[str, str], domains: Mapping[str, str]) -> models.Actor:
    """Who did something. ``names`` are accounts' and ``domains`` domains', by id."""
    match kind:
        case "account":
            return models.Actor(kind="account", id=actor_id, name=names.get(actor_id) or texts.text("gateway.actor.erased"))
        case "service":
            known = actor_id in _keys("gateway.actor")
            return models.Actor(kind="service", id=actor_id, name=texts.text(f"gateway.actor.{actor_id if known else 'service'}"))
        case "domain_system":
            return models.Actor(kind="domain_system", id=actor_id, name=domains.get(actor_id, actor_id))
    return models.Actor(kind="unknown", id=actor_id, name=texts.text("gateway.actor.service"))


def account_named(one: push_pb2.HistoryItem) -> str:
    """The account that an event is about; empty where it is about none."""
    return str(json.loads(one.event_json or "{}").get("account_id", ""))


def _summary(one: service_pb2.HistoryItem | push_pb2.HistoryItem, names: Mapping[str, str], domains: Mapping[str, str]) -> str:
    if one.type not in _keys("gateway.summary"):
        return texts.text(f"gateway.action.{one.type}") if one.type in _keys("gateway.action") else one.type
    event: dict[str, Any] = json.loads(one.event_json or "{}")
    kind = known_type(str(event.get("type", "")))
    document: dict[str, Any] = event.get("document") or {}
    seal: dict[str, Any] = event.get("seal") or {}
    lights = _keys("light")
    light = str(event.get("light", "")).removeprefix("LIGHT_")
    params = {
        "type": kind.label if kind is not None else str(event.get("type", "")),
        "mode": _word("gateway.mode", str(event.get("mode", "")).removeprefix("MODE_")),
        "file": str(document.get("file_name", "")),
        "pages": str(len(document.get("pages", ()))),
        "fields": str(len(event.get("fields", ()))),
        "marks": str(len(event.get("marks", ()))),
        "light": texts.text(f"light.{light}") if light in lights else "",
        "reason": reason(str(event["reason"]), {}) if event.get("reason") else "",
        "signer": str(seal.get("signer_name", "")),
        "unique_code": str(event.get("unique_code", "")),
        "number": str(event.get("number", "")),
        "domain": domains.get(str(event.get("domain_id", "")), str(event.get("domain_id", ""))),
        "state": _word("gateway.push", str(event.get("state", "")).lower()),
        "decision": _word("gateway.push", str(event.get("decision", ""))),
        "opinion": str(event.get("opinion", "")),
        "account": names.get(str(event.get("account_id", "")), ""),
        "name": str(event.get("name", "")),
        "grounds": str(event.get("grounds", "")),
        "version": str(event.get("version", "")),
        "category": _category(str(event.get("category", ""))),
        "materials": str(len(event.get("materials", ()))),
        "confirmed": str(len(event.get("confirmed", ()))),
        "valid_until": str(event.get("valid_until", "")),
        "days_before": str(event.get("days_before", 0)),
    }
    told = one.type
    if one.type == "CertificateDrafted" and event.get("provenance"):
        told = "CertificateTakenOver"
    elif one.type == "ExpiryNoticed" and int(event.get("days_before", 0)) < 0:
        told = "ExpiryPassed"
    return texts.text(f"gateway.summary.{told}", **params)


def _category(code: str) -> str:
    try:
        return catalogue.load().performances.category(code).label
    except KeyError:
        return code


def _word(section: str, key: str) -> str:
    return texts.text(f"{section}.{key}") if key in _keys(section) else key


def _change(one: Mapping[str, Any], type_code: str, masked: bool) -> models.Change:
    path = str(one["path"])
    section, _, name = path.partition(".")
    kind = known_type(type_code)
    before, after = one.get("before"), one.get("after")
    label = _word("gateway.change", section)
    if section in ("fields", "marks") and name:
        field = kind.field(name) if kind is not None and kind.has_field(name) else None
        named = field.label if field is not None else name
        label = named if section == "fields" else f"{label}：{named}"
        if masked and section == "fields":
            before, after = (mask(field.type if field is not None else "", v) if isinstance(v, str) else v for v in (before, after))
    elif section == "pushes":
        number, _, part = name.partition(".")
        label = f"{label} {number}{_word('gateway.change', part)}"
    elif section == "information":
        label = next((field.label for field in catalogue.load().performances.information if field.name == name), name)
    elif section == "materials":
        material = known_type(name.partition(".")[0])
        label = f"{label}：{material.label if material is not None else name}"
    elif section == "category":
        before, after = (_category(v) if isinstance(v, str) else v for v in (before, after))
    return models.Change(path=path, label=label, before=before, after=after)


def digital_certificate(one: signing_pb2.DigitalCertificate) -> models.DigitalCertificate:
    """The attestation of one version, as it is now."""
    known = known_type(one.type)
    return models.DigitalCertificate(
        unique_code=one.unique_code,
        status=word(one.status),
        reason=word(one.reason) or None,
        type=one.type,
        type_label=known.label if known is not None else one.type,
        holder_name=one.holder_name,
        holder_uscc=one.holder_uscc,
        version=one.version,
        issued_at=moment(one.issued_at),
        valid_until=one.valid_until or None,
        document_sha256=one.document_sha256,
        sealed_sha256=one.sealed_sha256,
        key_id=one.key_id,
        token=one.token,
    )
