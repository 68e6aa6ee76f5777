"""What the register and domains' systems say to each other: CloudEvents 1.0, JSON, structured mode.

``push.<domain>`` carries what a domain is told, ``review.<domain>`` what its system answers. The models are the contract; the
AsyncAPI document is made of them. What comes in is bounded in size and depth before it is read, and refused whole if it is not
exactly what the models say.

Specification: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from yunku.certificate.v1 import types_pb2

from catalogue import Catalogue
from kernel.nats_accounts import review_subject
from services.push import domain

#: Who speaks: the push service of the register.
SOURCE: Final = "/yunku/push"
MEDIA_TYPE: Final = "application/cloudevents+json; charset=UTF-8"

#: Largest answer that is read, in bytes, and how deep it may nest.
MAX_ANSWER: Final = 64 * 1024
MAX_DEPTH: Final = 8

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Light = Literal["GREEN", "YELLOW", "RED", "NONE"]
Decision = Literal["approved", "rejected"]
AppealDecision = Literal["upheld", "overturned"]


# -- what a domain is told ---------------------------------------------------------------------------------------------


class Outgoing(BaseModel):
    """Values that the register sends."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Holder(Outgoing):
    """The company whose certificate it is, as the register knew it when it was pushed."""

    uscc: str = Field(description="统一社会信用代码")
    name: str


class FieldValue(Outgoing):
    """One stated value."""

    label: str = Field(description="Chinese name of the field in the catalogue")
    value: str = Field(description="Canonical value; ID and mobile numbers are masked")


class PushRequested(Outgoing):
    """A certificate's version to be reviewed. It stays as it is here, whatever happens to the certificate since."""

    push_id: str = Field(description="UUID; names the push in answers")
    number: int = Field(description="Counts the certificate's pushes from 1")
    domain: str
    certificate_id: str
    type: str = Field(description="Code of the certificate type in the catalogue")
    type_label: str = Field(description="Its Chinese name")
    version: int = Field(description="Version of the certificate that is to be reviewed")
    unique_code: str = Field(description="唯一标识码")
    light: Light
    holder: Holder
    fields: dict[str, FieldValue] = Field(description="By field name, in the order of the catalogue")
    document_sha256: str | None = Field(description="SHA-256 of the uploaded document, hex")
    sealed_sha256: str | None = Field(description="SHA-256 of the sealed PDF, hex; null where the type has no seal")
    sealed_at: datetime | None
    signer: str | None = Field(description="Name in the certificate that sealed it")
    pushed_at: datetime
    objection: str | None = Field(description="Why the company contests the light; null where it doesn't")
    review: Literal["manual", "automatic"] = Field(
        description="automatic: approved by rule (GREEN, and the domain reviews the type automatically); no answer is expected"
    )
    review_subject: str = Field(description="Where the answer is published")


class PushWithdrawn(Outgoing):
    """The company took the push back before it was decided."""

    push_id: str
    domain: str
    certificate_id: str
    unique_code: str
    withdrawn_at: datetime


class Reason(Outgoing):
    """What is said about one field."""

    field: str = Field(description="Name of the field in the catalogue")
    text: str


class PushDecided(Outgoing):
    """The push was decided by one of the domain's reviewers on the register's pages, or by rule."""

    push_id: str
    domain: str
    certificate_id: str
    version: int
    unique_code: str
    decision: Decision
    opinion: str
    reasons: list[Reason] = Field(description="What was said about single fields")
    channel: Literal["REVIEWER", "RULE"]
    reviewed_at: datetime


class PushAppealed(Outgoing):
    """The company contests the rejection. A reviewer other than the one who rejected answers, here or on the register's pages."""

    push_id: str
    domain: str
    certificate_id: str
    version: int
    unique_code: str
    grounds: str
    opinion: str = Field(description="What the rejection said")
    rejected_by: Literal["REVIEWER", "SYSTEM"]
    appealed_at: datetime


class AppealDecided(Outgoing):
    """The appeal was answered by one of the domain's reviewers on the register's pages."""

    push_id: str
    domain: str
    certificate_id: str
    unique_code: str
    decision: AppealDecision = Field(description="overturned: the push is approved")
    opinion: str
    answered_at: datetime


class ReviewRefused(Outgoing):
    """An answer of the domain's system that changed nothing, and why."""

    code: str = Field(description="Stable code of the refusal")
    title: str = Field(description="The same in Chinese")
    push_id: str | None = Field(description="The push that the answer named, if it could be read")
    answer_id: str | None = Field(description="Id of the answer's CloudEvent, if it could be read")
    answer_sha256: Sha256 = Field(description="SHA-256 of the answer as it came, hex")
    received_at: datetime


class CloudEvent(Outgoing):
    """The envelope."""

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(description="Unique with the source: the same event sent twice has the same id")
    source: Literal["/yunku/push"] = SOURCE
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    subject: str | None = Field(default=None, description="唯一标识码 of the certificate")


class PushRequestedEvent(CloudEvent):
    """A push; its id is the push's id."""

    type: Literal["yunku.push.requested"] = "yunku.push.requested"
    data: PushRequested


class PushWithdrawnEvent(CloudEvent):
    """A push that is no longer to be reviewed."""

    type: Literal["yunku.push.withdrawn"] = "yunku.push.withdrawn"
    data: PushWithdrawn


class PushDecidedEvent(CloudEvent):
    """A push that was decided elsewhere."""

    type: Literal["yunku.push.decided"] = "yunku.push.decided"
    data: PushDecided


class PushAppealedEvent(CloudEvent):
    """An appeal that waits for its answer."""

    type: Literal["yunku.push.appealed"] = "yunku.push.appealed"
    data: PushAppealed


class AppealDecidedEvent(CloudEvent):
    """An appeal that was answered elsewhere."""

    type: Literal["yunku.push.appeal_decided"] = "yunku.push.appeal_decided"
    data: AppealDecided


class ReviewRefusedEvent(CloudEvent):
    """An answer that was refused."""

    type: Literal["yunku.review.refused"] = "yunku.review.refused"
    data: ReviewRefused


#: Everything that push.<domain> may carry.
OUTGOING: Final[tuple[type[CloudEvent], ...]] = (
    PushRequestedEvent,
    PushWithdrawnEvent,
    PushDecidedEvent,
    PushAppealedEvent,
    AppealDecidedEvent,
    ReviewRefusedEvent,
)


def requested_id(push_id: str) -> str:
    return push_id


def withdrawn_id(push_id: str) -> str:
    return f"{push_id}:withdrawn"


def decided_id(push_id: str) -> str:
    return f"{push_id}:decided"


def appealed_id(push_id: str) -> str:
    return f"{push_id}:appealed"


def appeal_decided_id(push_id: str) -> str:
    return f"{push_id}:appeal-decided"


def requested(push: domain.Push, catalogue: Catalogue) -> PushRequestedEvent:
    """The event of an opened push."""
    opened = push.opened
    assert opened is not None
    kind = catalogue.type(opened.type) if catalogue.has_type(opened.type) else None
    known = [one.name for one in kind.fields if one.name in opened.fields] if kind is not None else []
    labels = {one.name: one.label for one in kind.fields} if kind is not None else {}
    names = known + sorted(set(opened.fields) - set(known))
    light = types_pb2.Light.Name(opened.light).removeprefix("LIGHT_")
    sealed = opened.HasField("seal") and bool(opened.seal.sealed_sha256)
    pushed_at = _moment(opened.requested_at_us)
    return PushRequestedEvent(
        id=requested_id(opened.push_id),
        time=pushed_at,
        subject=opened.unique_code,
        data=PushRequested(
            push_id=opened.push_id,
            number=opened.number,
            domain=opened.domain_id,
            certificate_id=opened.certificate_id,
            type=opened.type,
            type_label=kind.label if kind is not None else opened.type,
            version=opened.version,
            unique_code=opened.unique_code,
            light="NONE" if light == "UNSPECIFIED" else light,  # type: ignore[arg-type]  # pydantic checks it
            holder=Holder(uscc=opened.holder.uscc, name=opened.holder.name),
            fields={name: FieldValue(label=labels.get(name, name), value=opened.fields[name]) for name in names},
            document_sha256=opened.document.sha256 or None,
            sealed_sha256=opened.seal.sealed_sha256 if sealed else None,
            sealed_at=_moment(opened.seal.signed_at_us) if sealed else None,
            signer=opened.seal.signer_name or None if sealed else None,
            pushed_at=pushed_at,
            objection=opened.objection or None,
            review="automatic" if opened.automatic and opened.light == types_pb2.LIGHT_GREEN else "manual",
            review_subject=review_subject(opened.domain_id),
        ),
    )


def withdrawn(push: domain.Push) -> PushWithdrawnEvent:
    """The event of a push that was taken back."""
    opened, at = push.opened, push.withdrawn_at
    assert opened is not None
    assert at is not None
    return PushWithdrawnEvent(
        id=withdrawn_id(opened.push_id),
        time=at,
        subject=opened.unique_code,
        data=PushWithdrawn(
            push_id=opened.push_id,
            domain=opened.domain_id,
            certificate_id=opened.certificate_id,
            unique_code=opened.unique_code,
            withdrawn_at=at,
        ),
    )


def decided(push: domain.Push) -> PushDecidedEvent:
    """The event of a push that a reviewer or the rule decided."""
    opened, review, at = push.opened, push.reviewed, push.reviewed_at
    assert opened is not None
    assert review is not None
    assert at is not None
    return PushDecidedEvent(
        id=decided_id(opened.push_id),
        time=at,
        subject=opened.unique_code,
        data=PushDecided(
            push_id=opened.push_id,
            domain=opened.domain_id,
            certificate_id=opened.certificate_id,
            version=review.version,
            unique_code=opened.unique_code,
            decision=review.decision,  # type: ignore[arg-type]  # pydantic checks it
            opinion=review.opinion,
            reasons=[Reason(field=one.field, text=one.text) for one in review.reasons],
            channel=domain.CHANNELS[review.channel],  # type: ignore[arg-type]  # pydantic checks it
            reviewed_at=at,
        ),
    )


def appealed(push: domain.Push) -> PushAppealedEvent:
    """The event of an appeal."""
    opened, review, said, at = push.opened, push.reviewed, push.appealed, push.appealed_at
    assert opened is not None
    assert review is not None
    assert said is not None
    assert at is not None
    return PushAppealedEvent(
        id=appealed_id(opened.push_id),
        time=at,
        subject=opened.unique_code,
        data=PushAppealed(
            push_id=opened.push_id,
            domain=opened.domain_id,
            certificate_id=opened.certificate_id,
            version=opened.version,
            unique_code=opened.unique_code,
            grounds=said.grounds,
            opinion=review.opinion,
            rejected_by=domain.CHANNELS[review.channel],  # type: ignore[arg-type]  # pydantic checks it
            appealed_at=at,
        ),
    )


def appeal_decided(push: domain.Push) -> AppealDecidedEvent:
    """The event of an appeal that a reviewer answered."""
    opened, said, at = push.opened, push.answered, push.answered_at
    assert opened is not None
    assert said is not None
    assert at is not None
    return AppealDecidedEvent(
        id=appeal_decided_id(opened.push_id),
        time=at,
        subject=opened.unique_code,
        data=AppealDecided(
            push_id=opened.push_id,
            domain=opened.domain_id,
            certificate_id=opened.certificate_id,
            unique_code=opened.unique_code,
            decision=said.decision,  # type: ignore[arg-type]  # pydantic checks it
            opinion=said.opinion,
            answered_at=at,
        ),
    )


def encode(event: CloudEvent) -> bytes:
    """The event as it is published: JSON, attributes that have no value left out, Chinese readable."""
    values = event.model_dump(mode="json")
    return json.dumps({name: value for name, value in values.items() if value is not None}, ensure_ascii=False).encode()


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(microsecond=microseconds % 1_000_000)


# -- what a domain's system answers ------------------------------------------------------------------------------------


class Incoming(BaseModel):
    """Values that a domain's system sends: exactly these, nothing guessed (a number is no text)."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


SystemReviewer = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9._-]{0,64}$"),
    Field(description="How the domain's system calls the person who decided (a staff number, no name)"),
]
PushId = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Acknowledgement(Incoming):
    """The domain's system has the push."""

    push_id: PushId


class FieldReason(Incoming):
    """What is said about one field."""

    field: str = Field(max_length=100, description="Name of a field of the certificate's type")
    text: str = Field(max_length=MAX_ANSWER, description=f"At most {domain.MAX_REASON} characters")


class ReviewAnswer(Incoming):
    """The domain's decision."""

    push_id: PushId
    decision: str = Field(max_length=64, description="approved or rejected")
    opinion: str = Field(default="", max_length=MAX_ANSWER, description=f"Required with rejected; at most {domain.MAX_OPINION} characters")
    reasons: list[FieldReason] = Field(default=[], max_length=domain.MAX_REASONS, description="What is said about single fields")
    reviewer: SystemReviewer = ""


class AppealAnswer(Incoming):
    """The domain's answer to an appeal. Where its system rejected, both answers must name their reviewer, and not the same."""

    push_id: PushId
    decision: str = Field(max_length=64, description="upheld, or overturned: the push is approved")
    opinion: str = Field(max_length=MAX_ANSWER, description=f"At most {domain.MAX_OPINION} characters")
    reviewer: SystemReviewer = ""


class AnswerEvent(Incoming):
    """The envelope of an answer."""

    specversion: Literal["1.0"]
    id: Annotated[str, StringConstraints(min_length=1, max_length=200)] = Field(
        description="Unique with the source; the same answer sent again has the same id and takes effect once"
    )
    source: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    time: str | None = Field(default=None, max_length=64, description="RFC 3339")
    datacontenttype: str | None = Field(default=None, max_length=100, description="application/json")


class AcknowledgedEvent(AnswerEvent):
    """Says that a push arrived at the domain's system (acknowledging it on the durable consumer `system` says the same)."""

    type: Literal["yunku.push.acknowledged"]
    data: Acknowledgement


class ReviewedEvent(AnswerEvent):
    """Decides a push. A bare JSON object of the data alone is taken for the same."""

    type: Literal["yunku.push.reviewed"]
    data: ReviewAnswer


class AppealAnsweredEvent(AnswerEvent):
    """Answers an appeal."""

    type: Literal["yunku.push.appeal_answered"]
    data: AppealAnswer


#: Everything that review.<domain> may carry.
INCOMING: Final[tuple[type[AnswerEvent], ...]] = (AcknowledgedEvent, ReviewedEvent, AppealAnsweredEvent)


class Refused(Exception):
    """An answer that is not taken; ``code`` says why, the rest is what could be read of it."""

    def __init__(self, code: str, *, answer_id: str | None = None, push_id: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.answer_id = answer_id
        self.push_id = push_id


class Answer(BaseModel):
    """An answer, read. ``identity`` is what makes it the same answer when it comes again."""

    model_config = ConfigDict(frozen=True)

    identity: str
    answer_id: str | None
    data: Acknowledgement | ReviewAnswer | AppealAnswer


_EVENT: Final[TypeAdapter[AcknowledgedEvent | ReviewedEvent | AppealAnsweredEvent]] = TypeAdapter(
    Annotated[AcknowledgedEvent | ReviewedEvent | AppealAnsweredEvent, Field(discriminator="type")]
)


def sha256(body: bytes) -> str:
    """The digest by which an answer is told from another, hex."""
    return hashlib.sha256(body).hexdigest()


def read_answer(body: bytes) -> Answer:
    """Reads what a domain's system published. Raises Refused: ``too_large`` or ``request_malformed``."""
    if len(body) > MAX_ANSWER:
        raise Refused("too_large")
    content = _json(body)
    if not isinstance(content, dict):
        raise Refused("request_malformed")
    answer_id, push_id = _text(content.get("id")), None
    if isinstance(content.get("data"), dict):
        push_id = _text(content["data"].get("push_id"))
    try:
        if "specversion" not in content and "type" not in content:
            review = ReviewAnswer.model_validate(content)
            return Answer(identity=sha256(body), answer_id=None, data=review)
        event = _EVENT.validate_python(content)
        return Answer(identity=_identity(event), answer_id=event.id, data=event.data)
    except ValidationError:
        raise Refused("request_malformed", answer_id=answer_id, push_id=push_id or _text(content.get("push_id"))) from None


def _identity(event: AnswerEvent) -> str:
    return sha256(json.dumps([event.source, event.id]).encode())


def _text(value: object) -> str | None:
    """A short text that may be repeated to the domain, if it is one."""
    if not isinstance(value, str) or not 1 <= len(value) <= 200 or not value.isprintable():
        return None
    return value


def _json(body: bytes) -> Any:
    """The JSON value. Raises Refused for anything that two readers could read differently: duplicate names, NaN, broken UTF-8."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("duplicate name")
        return found

    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    try:
        text = body.decode("utf-8")
        # No nesting can be deeper than its brackets are many; the parser's own recursion is bounded by the interpreter.
        value = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # halves of surrogate pairs
    except (ValueError, RecursionError):
        raise Refused("request_malformed") from None
    if _deeper_than(value, MAX_DEPTH):
        raise Refused("request_malformed")
    return value


def _deeper_than(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    return any(_deeper_than(one, levels - 1) for one in (value.values() if isinstance(value, dict) else value))
