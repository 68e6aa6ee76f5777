"""What the public interface takes and gives: the source of docs/openapi.json.

Every field stands in every answer; what isn't there is null. Timestamps are RFC 3339 in UTC, dates ``YYYY-MM-DD``.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

# -- words -------------------------------------------------------------------------------------------------------------

Light = Literal["RED", "YELLOW", "GREEN", "NONE"]
Mode = Literal["SMART", "MANUAL"]
SubjectType = Literal["TENDERER", "BIDDER", "AGENCY"]
MemberRole = Literal["ADMINISTRATOR", "OPERATOR", "READER"]
BusinessType = Literal[
    "SURVEY",
    "DESIGN",
    "CONSTRUCTION",
    "SUPERVISION",
    "ENGINEERING_CONSULTING",
    "COST_CONSULTING",
    "PROJECT_MANAGEMENT",
    "MATERIAL_SUPPLY",
]
Verdict = Literal["MATCH", "MISMATCH", "UNREADABLE", "UNMARKED", "ABSENT", "NOT_COMPARED"]
CertificateState = Literal["draft", "submitted", "superseded", "discarded"]
ProgressState = Literal["none", "running", "delayed", "done"]
PushState = Literal["requested", "delivered", "acknowledged", "approved", "rejected", "withdrawn"]
ValidityState = Literal["VALID", "EXPIRING", "EXPIRED", "NOT_YET"]
Sort = Literal[
    "created",
    "-created",
    "updated",
    "-updated",
    "submitted",
    "-submitted",
    "valid_until",
    "-valid_until",
    "type",
    "-type",
]
ReviewState = Literal["pending", "approved", "rejected", "withdrawn"]
AppealState = Literal["pending", "upheld", "overturned"]
DomainState = Literal["active", "closed"]

Timestamp = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$", examples=["2026-11-23T08:00:00.123456Z"])]
Date = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$", examples=["2026-11-23"])]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
#: x0, y0, x1, y1 as fractions of the page as seen, origin top left.
Fraction = Annotated[float, Field(allow_inf_nan=False)]
Box = Annotated[list[Fraction], Field(min_length=4, max_length=4, description="x0, y0, x1, y1: fractions of the page, origin top left")]

Short = Annotated[str, StringConstraints(max_length=200)]
FieldName = Annotated[str, StringConstraints(max_length=100)]
#: Longer values are refused by the certificate service with their own code; this bounds what is looked at.
FieldValue = Annotated[str, StringConstraints(max_length=20_000)]
FieldValues = Annotated[dict[FieldName, FieldValue], Field(max_length=300)]


class Body(BaseModel):
    """What is sent: unknown members are refused, so that a misspelt one isn't silently left out."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    """What is answered: exactly this."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=True)


# -- problems ----------------------------------------------------------------------------------------------------------


class ProblemError(Answer):
    """One thing wrong with one field."""

    pointer: str = Field(description="JSON pointer into the request's body; for parameters and headers their name")
    code: str
    message: str = Field(description="Chinese, to be shown beside the field")


class Problem(Answer):
    """RFC 9457. ``code`` is stable; ``title`` is Chinese and may change."""

    type: str = Field(examples=["urn:yunku:problem:not_found"])
    title: str
    status: int
    code: str = Field(examples=["not_found"])
    detail: str | None = None
    errors: list[ProblemError] = []
    correlation_id: str


# -- accounts, sessions, subjects --------------------------------------------------------------------------------------


class PhoneCodeRequest(Body):
    phone: Short


class PhoneCode(Answer):
    expires_at: Timestamp
    code: str | None = Field(description="Only in the development profile")


class AccountRequest(Body):
    phone: Short
    code: Short
    password: Annotated[str, StringConstraints(max_length=1000)]
    name: Short


class Account(Answer):
    id: str
    name: str
    phone: str = Field(description="Masked", examples=["138****0000"])


class ChallengeRequest(Body):
    """Nothing is said to ask for a challenge."""


class Challenge(Answer):
    id: str
    text: str = Field(description="Four lines: yunku-login:v1, origin, nonce, expiry. Check the form, hash and sign it yourself.")
    expires_at: Timestamp


class PasswordLogin(Body):
    method: Literal["password"]
    phone: Short
    password: Annotated[str, StringConstraints(max_length=1000)]


class KeyLogin(Body):
    method: Literal["ca"]
    challenge_id: Short
    certificate: Annotated[str, StringConstraints(max_length=65_536)] = Field(description="PEM chain, leaf first")
    signature: Annotated[str, StringConstraints(max_length=8192)] = Field(
        description="Base64: RSA PKCS#1 v1.5 or ECDSA with SHA-256 over the challenge's text"
    )


class QrLoginRequest(Body):
    """Nothing is said to ask for a QR code."""


class QrLogin(Answer):
    """A login by 辽易通 that waits for a phone."""

    id: str
    qr_text: str = Field(
        description="What the QR code holds and the phone shows and signs. Seven lines: yunku-qr-login:v1, origin, browser's address, id, "
        "nonce, number, expiry"
    )
    number: str = Field(description="Two digits, shown beside the QR code; the phone shows them too, and the user compares")
    claim: str = Field(description="Kept by the browser: who has it takes the session. Not in the QR code")
    expires_at: Timestamp


class QrLoginState(Answer):
    state: Literal["pending", "approved", "used", "expired"]
    approved_by: str | None = Field(description="The company whose certificate approved: whoever sits before the browser confirms it")
    expires_at: Timestamp


class QrApprovalRequest(Body):
    certificate: Annotated[str, StringConstraints(max_length=65_536)] = Field(description="PEM chain, leaf first")
    signature: Annotated[str, StringConstraints(max_length=8192)] = Field(
        description="Base64: RSA PKCS#1 v1.5 or ECDSA with SHA-256 over the whole `qr_text`"
    )


class QrApproval(Answer):
    approved_by: str


class QrSessionLogin(Body):
    method: Literal["qr"]
    qr_login_id: Short
    claim: Short


class RenewalRequest(Body):
    refresh_token: Annotated[str, StringConstraints(max_length=1000)]


class SubjectChoice(Body):
    subject_id: Short
    subject_type: Short


class MemberSubject(Answer):
    id: str
    uscc: str
    name: str
    types: list[SubjectType]
    role: MemberRole = Field(description="OPERATOR may do all but members and name, READER reads")
    invited: bool = Field(description="Invited, and never acted for it so far: picking it accepts")


class Session(Answer):
    token: str
    expires_at: Timestamp
    refresh_token: str | None = Field(description="Null where the one that the client holds stays good")
    subjects: list[MemberSubject]
    subject_id: str | None
    subject_type: SubjectType | None


class RoleHeld(Answer):
    role: str
    domain_id: str | None


class CurrentSession(Answer):
    """Who this session is."""

    account_id: str
    name: str | None
    method: Literal["password", "ca", "qr"]
    expires_at: Timestamp
    subjects: list[MemberSubject]
    subject_id: str | None
    subject_type: SubjectType | None
    roles: list[RoleHeld]


class SubjectRequest(Body):
    uscc: Short
    name: Annotated[str, StringConstraints(max_length=1000)]
    types: Annotated[list[Short], Field(max_length=20)]
    confirm_uscc: bool = Field(False, description="Register it although the USCC's check digit fails")


class ProfileFields(Answer):
    """Basic information 企业基本信息 besides USCC and name; null is what isn't stated."""

    registered_place: str | None
    company_type: str | None
    contact: str | None
    contact_phone: str | None
    website: str | None
    fax: str | None
    postal_code: str | None
    is_sme: bool | None
    founded_on: Date | None
    business_types: list[BusinessType] = Field(description="经营类型")


class AcceptedProfile(Answer):
    """Basic information as submitted last: it stands while a change is open."""

    number: int = Field(description="Counts the submissions from 1")
    name: str
    submitted_at: Timestamp
    fields: ProfileFields


class SubjectProfile(Answer):
    state: Literal["none", "draft", "submitted", "changing"] = Field(
        description="changing: submitted, and name or fields are others since; accepted stands until they are submitted"
    )
    fields: ProfileFields = Field(description="As stated last")
    accepted: AcceptedProfile | None


class Subject(Answer):
    id: str
    uscc: str
    name: str
    former_names: list[str]
    types: list[SubjectType]
    registered_at: Timestamp
    profile: SubjectProfile
    version: int


class TypeNamed(Answer):
    code: str
    label: str


class StateCounts(Answer):
    draft: int
    submitted: int
    superseded: int


class LightCounts(Answer):
    """Of the submitted ones."""

    RED: int
    YELLOW: int
    GREEN: int
    NONE: int


class ModuleCompleteness(Answer):
    module: str
    number: int
    label: str
    required: list[TypeNamed] = Field(description="Certificate types that the company must have submitted")
    missing: list[TypeNamed] = Field(description="Those of them of which none is submitted")
    states: StateCounts
    lights: LightCounts
    profile: Literal["none", "draft", "submitted", "changing"] | None = Field(
        description="State of the basic information; null in every other module"
    )
    complete: bool = Field(description="Nothing required is missing; true where nothing is required")


class Completeness(Answer):
    """What each of the nine modules requires of the session's company, what is there and what is missing."""

    subject_id: str
    outside: bool = Field(description="Registered outside of the province (by its USCC): 外埠入辽 is required")
    complete: bool
    modules: list[ModuleCompleteness]


class ProfileRequest(Body):
    """What is named is stated; null, or an empty text, clears it."""

    registered_place: FieldValue | None = None
    company_type: FieldValue | None = None
    contact: FieldValue | None = None
    contact_phone: FieldValue | None = Field(None, description="Mobile number, or landline with its area code")
    website: FieldValue | None = Field(None, description="无 where the company has none")
    fax: FieldValue | None = Field(None, description="无 where the company has none")
    postal_code: FieldValue | None = None
    is_sme: bool | None = None
    founded_on: FieldValue | None = None
    business_types: Annotated[list[Short], Field(max_length=20)] | None = None


class MemberRequest(Body):
    phone: Short
    role: Short


class MemberRoleRequest(Body):
    role: Short


class Member(Answer):
    account_id: str
    kind: Literal["person", "key"] = Field(description="key: the company's CA keys")
    name: str | None = Field(description="Null as long as the person is only invited")
    phone: str | None = Field(description="Masked", examples=["138****0000"])
    role: MemberRole
    state: Literal["invited", "active"] = Field(description="An invited person becomes active by acting for the company")


class MemberPage(Answer):
    items: list[Member]
    next_cursor: str | None


class NameRequest(Body):
    name: Annotated[str, StringConstraints(max_length=1000)]


# -- catalogue ---------------------------------------------------------------------------------------------------------


class CatalogueField(Answer):
    name: str
    label: str
    type: str = Field(description="Kind of value: date, money, uscc, …")
    role: Literal["KEY", "DIGITAL", "PLAIN"]
    required: bool
    may_be_absent: bool
    takes_mark: bool
    choices: list[str]
    open: bool
    holder: str | None


class CatalogueDocument(Answer):
    name: str
    label: str
    required: bool
    sides: list[str]


class CatalogueType(Answer):
    code: str
    label: str
    module: str
    owner: Literal["subject", "person", "performance"]
    modes: list[Mode]
    verification: bool
    sealed: bool = Field(description="False: submitted without a seal")
    revisable: bool = Field(description="Basic information: changed at any light, each submission a version")
    section: str | None = Field(description="The tab of the person under which it is shown")
    unique_by: list[str] = Field(description="Fields whose values together stand once in the register for one holder; empty: no limit")
    documents: list[CatalogueDocument]
    valid_from: str | None
    valid_until: str | None
    fields: list[CatalogueField]


class PerformanceCategory(Answer):
    code: str
    label: str
    manager: str = Field(description="What the right person is called: 项目经理, 项目总监, 项目负责人")
    required: list[str] = Field(description="Types of the materials that must be there")
    optional: list[str]


class ChangeItem(Answer):
    code: str
    label: str


class CataloguePerformances(Answer):
    """What makes up a performance 业绩."""

    information: list[CatalogueField] = Field(description="业绩总体信息")
    categories: list[PerformanceCategory]
    supporting: str = Field(description="Type of the supporting materials 佐证材料")
    supporting_for: list[str] = Field(description="业绩类型 that need one with every required material")
    change: str = Field(description="Type of the contract changes' certificates")
    change_items: list[ChangeItem]


class CatalogueModule(Answer):
    code: str
    number: int
    label: str
    types: list[CatalogueType]
    performances: CataloguePerformances | None


class Notice(Answer):
    """温馨提示, as the manual prints it beside every verification."""

    title: str
    lines: list[str]


class Catalogue(Answer):
    version: str
    modules: list[CatalogueModule]
    verification_notice: Notice


# -- digital certificates ----------------------------------------------------------------------------------------------


class DigitalCertificate(Answer):
    """What the register attests of a GREEN, submitted certificate 数字证照. It names no person: the values are in the sealed PDF."""

    unique_code: str
    status: Literal["VALID", "EXPIRED", "REVOKED"] = Field(description="EXPIRED: the certificate's own validity has ended")
    reason: Literal["replaced", "superseded"] | None = Field(
        description="Of a revoked one: a later version of the same certificate was submitted, or another certificate took its place"
    )
    type: str
    type_label: str
    holder_name: str
    holder_uscc: str
    version: int
    issued_at: Timestamp
    valid_until: Date | None
    document_sha256: str
    sealed_sha256: str
    key_id: str = Field(description="Of the register's key, see `/digital-certificates/keys`")
    token: str = Field(description="The attestation itself: compact JWS, ES256; checks offline with the register's keys")


class JsonWebKeys(Answer):
    """RFC 7517: the register's public keys, the present one first."""

    keys: list[dict[str, str]]


# -- certificates ------------------------------------------------------------------------------------------------------


class DraftRequest(Body):
    type: Short
    mode: Short = Field(description="SMART or MANUAL")
    fields: FieldValues = {}
    person_id: Short | None = None
    performance_id: Short | None = None
    supersedes: Short | None = Field(
        None, description="A submitted certificate of the same type (and person, performance) that the new one is to follow"
    )


class FieldsRequest(Body):
    fields: FieldValues = Field({}, description="Replaces the values of the fields named; an empty value clears one")
    absent: Annotated[list[FieldName], Field(max_length=300)] | None = Field(
        None, description="Fields that the print doesn't carry; replaces the earlier list where it is given"
    )


class MarkRequest(Body):
    field: FieldName
    page: int = Field(ge=-(2**31), lt=2**31, description="From 1")
    box: Box


class MarksRequest(Body):
    marks: Annotated[list[MarkRequest], Field(max_length=1000)]


class ModeRequest(Body):
    mode: Short = Field(description="SMART or MANUAL")


class SealPlace(Body):
    page: int = Field(ge=1, lt=2**31, description="From 1")
    box: Box


class SealPreparationRequest(Body):
    certificate: Annotated[str, StringConstraints(max_length=65_536)] = Field(description="PEM chain of the company's key, leaf first")
    seal: SealPlace | None = Field(None, description="Where the seal is shown; default: bottom right of the last page")


class SealPreparation(Answer):
    id: str
    to_sign: str = Field(description="Base64 of the CMS signed attributes (DER); sign them as they are with SHA-256")
    digest_algorithm: str
    expires_at: Timestamp


class SealRequest(Body):
    preparation_id: Short
    signature: Annotated[str, StringConstraints(max_length=8192)] = Field(description="Base64")


class PushRequest(Body):
    domain: Short


class Holder(Answer):
    subject_id: str
    uscc: str
    name: str


class Page(Answer):
    number: int
    width: float = Field(description="Points for PDF, pixels for images")
    height: float


class Document(Answer):
    sha256: Sha256
    size: int
    media_type: Literal["application/pdf", "image/jpeg", "image/png", "image/tiff"]
    file_name: str
    born_digital: bool
    pages: list[Page]


class RecognisedField(Answer):
    value: str
    confidence: float
    page: int | None
    box: Box | None


class Recognition(Answer):
    state: ProgressState
    fields: dict[str, RecognisedField]
    engine: str | None
    engine_version: str | None
    reason: str | None = Field(description="Why it is delayed, Chinese")
    reason_code: str | None


class Mark(Answer):
    field: str
    page: int
    box: Box


class FieldVerdict(Answer):
    verdict: Verdict
    stated: str | None
    recognised: str | None
    reason: str = Field(description="Chinese")
    reason_code: str
    confidence: float


class RuleFailure(Answer):
    rule: str
    fields: list[str]
    reason: str = Field(description="Chinese")
    reason_code: str
    effect: Literal["red", "yellow", "note"]


class Verification(Answer):
    id: str | None
    state: Literal["none", "running", "delayed", "done", "stale"]
    light: Light
    version: int | None = Field(description="Content version that it is over")
    fields: dict[str, FieldVerdict]
    rules: list[RuleFailure]
    rules_version: str | None
    engine_version: str | None
    reason: str | None = Field(description="Why it is delayed, Chinese")
    reason_code: str | None


class Seal(Answer):
    id: str
    version: int
    sha256: Sha256 = Field(description="Of the sealed PDF")
    size: int
    signer_name: str
    signer_uscc: str
    certificate_fingerprint: str
    certificate_serial: str
    signed_at: Timestamp
    statement_sha256: Sha256 | None = Field(description="Of the statement (fields, marks, verification) in the sealed PDF that it covers")


class FieldReason(Answer):
    """What a reviewer says about one field of what was pushed."""

    field: str
    text: str


class Appeal(Answer):
    """A rejection that the company contests 申诉."""

    state: AppealState
    grounds: str
    appealed_at: Timestamp
    opinion: str | None = Field(description="The answer's; null while pending")
    answered_at: Timestamp | None


class Push(Answer):
    """One line of the push record 推送记录."""

    id: str
    number: int
    domain_id: str
    state: PushState
    version: int
    pushed_at: Timestamp
    reviewed_at: Timestamp | None
    opinion: str | None
    reasons: list[FieldReason] = Field(description="What the review says about single fields")
    appeal: Appeal | None = Field(description="Null unless the company appealed; overturned makes the push approved")


class Validity(Answer):
    state: ValidityState | None = Field(description="Null where the dates aren't stated yet")
    valid_from: Date | None
    valid_until: Date | None = Field(description="Null where it has no end")


class Objection(Answer):
    """Why the company contests the light of a version."""

    grounds: str
    at: Timestamp


class Accepted(Answer):
    """What was submitted last."""

    version: int
    light: Light
    fields: dict[str, str]
    document: Document | None
    seal: Seal | None
    submitted_at: Timestamp
    objection: Objection | None = Field(description="Null unless the company contests the light")


class DomainPush(Answer):
    """How the last push to one domain stands 推送领域情况."""

    domain_id: str
    state: PushState


class Provenance(Answer):
    """Where an entry was taken over from."""

    source: Literal["national_platform/qualifications", "national_platform/registrations"]
    source_id: str = Field(description="The row's id there")
    retrieved_at: Timestamp
    answer_sha256: Sha256 = Field(description="Of the whole answer that the row stood in, as it came")
    row: dict[str, Any] = Field(description="The row as it came")


class CertificateSummary(Answer):
    """A line of a list, with the manual's columns."""

    id: str
    holder: Holder
    type: str
    name: str = Field(description="证照名称: the type's, with which one of its kind it is")
    level: str | None = Field(description="Level or category, where the type has one")
    number: str | None = Field(description="The certificate's own number")
    state: CertificateState
    mode: Mode
    light: Light
    fields: dict[str, str] = Field(description="Personal numbers are masked in lists")
    unique_code: str | None
    validity: Validity
    document_sha256: Sha256 | None
    sealed: bool
    supplementing: bool
    predecessor_id: str | None
    successor_id: str | None
    pushes: list[DomainPush] = Field(description="The last push to each domain")
    person_id: str | None
    performance_id: str | None
    version: int
    created_at: Timestamp
    updated_at: Timestamp
    submitted_at: Timestamp | None


class Certificate(Answer):
    id: str
    holder: Holder
    type: str
    state: CertificateState
    mode: Mode
    light: Light = Field(description="What counts now: NONE while the verification is stale or hasn't ended")
    fields: dict[str, str]
    absent: list[str]
    document: Document | None
    recognition: Recognition
    marks: list[Mark]
    verification: Verification
    seal: Seal | None = Field(description="Null while not sealed, or when a change broke it")
    unique_code: str | None
    validity: Validity
    pushes: list[Push]
    accepted: Accepted | None = Field(description="The version that stands; null before the first submission")
    supplementing: bool = Field(description="Whether a supplement is open: what is shown beside `accepted` is being changed")
    predecessor_id: str | None = Field(description="The certificate that this one follows, or is to follow once it is submitted")
    successor_id: str | None = Field(description="The one that follows: being made, or in its place once this is superseded")
    provenance: Provenance | None = Field(description="Where it was taken over from; null for what the company entered itself")
    person_id: str | None
    performance_id: str | None
    version: int = Field(description="Content version, for If-Match")
    created_at: Timestamp
    updated_at: Timestamp
    submitted_at: Timestamp | None


class CertificatePage(Answer):
    items: list[CertificateSummary]
    next_cursor: str | None


class ExpiryNotice(Answer):
    """A reminder of coming or past expiry that waits to be acknowledged."""

    id: str
    certificate_id: str
    type: str
    type_label: str
    name: str = Field(description="As lists show it")
    valid_until: Date
    days_left: int = Field(description="From today; negative once it has ended")
    days_before: int | None = Field(description="The threshold that was reached; null: it has ended")
    noticed_at: Timestamp
    unique_code: str
    person_id: str | None
    performance_id: str | None


class ExpiryNoticePage(Answer):
    items: list[ExpiryNotice]
    next_cursor: str | None


# -- taking over from the national platform ----------------------------------------------------------------------------


class PlatformEntry(Answer):
    """A row of the national platform (manual 三 (二) 1), and the entry that it became."""

    id: str
    name: str = Field(description="资质名称, or certificate and speciality of a registration, as the platform writes it")
    level: str | None = Field(description="资质等级")
    valid_until: Date | None = Field(description="有效期至")
    primary: bool = Field(description="主项资质")
    type: str = Field(description="The certificate type that it becomes")
    fields: dict[str, str] = Field(description="What the draft will state")
    certificate_id: str | None = Field(description="The entry that it became; null while it can be taken over")


class PlatformFault(Answer):
    """A row that can't be taken over; the others can."""

    row: int = Field(description="Place in the platform's answer, from 0")
    id: str | None
    code: str
    message: str = Field(description="Chinese")
    member: str | None = Field(description="What of it is wrong, where one thing is")


class PlatformListing(Answer):
    items: list[PlatformEntry]
    faults: list[PlatformFault]
    retrieved_at: Timestamp
    answer_sha256: Sha256
    next_cursor: None = Field(description="Always null: what the platform holds is answered whole")


class TakeOverRequest(Body):
    items: list[Annotated[str, StringConstraints(min_length=1, max_length=100)]] = Field(
        min_length=1, max_length=100, description="Ids of the platform's rows"
    )


class TakenOver(Answer):
    id: str = Field(description="The platform's row")
    created: bool = Field(description="False: it had been taken over before, and this is its entry")
    certificate: CertificateSummary


class TakenOverList(Answer):
    items: list[TakenOver]


class PushPage(Answer):
    items: list[Push]
    next_cursor: str | None


class Actor(Answer):
    kind: Literal["account", "service", "domain_system", "unknown"]
    id: str
    name: str = Field(description="As shown; erased accounts show as such")


class Change(Answer):
    path: str
    label: str = Field(description="Chinese")
    before: Any
    after: Any


class HistoryItem(Answer):
    """One line of the operation record 操作记录, made from one event of the log."""

    number: int
    at: Timestamp
    actor: Actor
    action: str = Field(description="Chinese name of the operation")
    type: str = Field(description="Event type")
    summary: str = Field(description="Chinese")
    changes: list[Change]
    version: int
    event_id: str
    hash: Sha256


class HistoryPage(Answer):
    items: list[HistoryItem]
    next_cursor: str | None


class VersionBefore(Answer):
    certificate_id: str
    version: int


class Version(Answer):
    """A version that entered the register."""

    number: int = Field(description="Counts the certificate's submissions from 1")
    version: int = Field(description="Content version")
    submitted_at: Timestamp
    light: Light
    fields: dict[str, str]
    document: Document | None
    seal: Seal | None
    before: VersionBefore | None = Field(description="What `changes` compares with: the own version before, or the predecessor's last")
    changes: list[Change]


class VersionPage(Answer):
    items: list[Version]
    state: CertificateState
    predecessor_id: str | None
    successor_id: str | None
    next_cursor: str | None


class SubjectHistoryItem(Answer):
    """One line of a company's operation record, made from one event of the log."""

    number: int
    at: Timestamp
    actor: Actor
    action: str = Field(description="Chinese name of the operation")
    type: str = Field(description="Event type")
    summary: str = Field(description="Chinese")
    changes: list[Change]
    version: int
    event_id: str
    hash: Sha256


class SubjectHistoryPage(Answer):
    items: list[SubjectHistoryItem]
    next_cursor: str | None


class ProfileVersion(Answer):
    """One submission of the basic information, with what changed against the one before."""

    number: int
    name: str
    submitted_at: Timestamp
    actor: Actor
    fields: ProfileFields
    changes: list[Change]


class ProfileVersions(Answer):
    items: list[ProfileVersion] = Field(description="Newest first")


class Activity(Answer):
    """The ``data`` of one server-sent event; its ``id`` is the position and its ``event`` the type."""

    position: int
    certificate_id: str | None = Field(description="Null where it happened to a performance")
    performance_id: str | None = Field(description="The performance that it happened to")
    type: str
    at: Timestamp
    event_id: str


# -- performances ------------------------------------------------------------------------------------------------------

PerformanceState = Literal["draft", "submitted", "discarded"]
Text = Annotated[str, StringConstraints(max_length=20_000)]


class PerformanceInformationRequest(Body):
    """业绩总体信息; what isn't named, or is empty, is cleared."""

    category: Short | None = Field(None, description="业绩类别, fixed once chosen: the catalogue's code or label")
    section_name: Text | None = Field(None, description="标段名称")
    performance_type: Text | None = Field(None, description="业绩类型: A类, B类, …")
    region: Text | None = Field(None, description="项目地区")
    funding_source: Text | None = Field(None, description="资金来源")
    project_category: Text | None = Field(None, description="项目类别")
    speciality: Text | None = Field(None, description="工程专业")
    section_no: Text | None = Field(None, description="标段编号")
    construction_nature: Text | None = Field(None, description="建设性质: 新建, 改造")


class PerformanceRequest(PerformanceInformationRequest):
    category: Short = Field(description="业绩类别, fixed once chosen: the catalogue's code or label")


class ContractChangeRequest(Body):
    item: Short = Field(description="section_name, contractor, client, project_manager, contract_price, contract_content")
    content: Text = Field("", description="变更内容")
    value: Text = Field("", description="The item's new value")
    changed_on: Text = ""


class PerformanceSubmissionRequest(Body):
    confirm: Annotated[list[Short], Field(max_length=1000)] = Field([], description="Ids of the check's warnings, or its digest for all")


class Material(Answer):
    """One row of the material table (序号, 证照名称, 唯一标识码, 智能核验, 是否签章)."""

    type: str
    name: str = Field(description="Chinese")
    required: bool = Field(description="必要材料")
    supports: str | None = Field(description="Type of the material that a supporting material supports")
    certificate_id: str | None = Field(description="Null until it is begun")
    state: CertificateState | None
    supplementing: bool
    unique_code: str | None
    light: Light
    sealed: bool
    version: int | None


class ContractItem(Answer):
    item: str
    label: str
    original: str | None = Field(description="As the contract states it")
    effective: str | None = Field(description="After all changes")
    changed: bool


class ContractChange(Answer):
    item: str
    label: str
    content: str
    value: str
    changed_on: Date | None
    effective: bool = Field(description="Whether its value is what holds now")
    certificate_id: str
    state: CertificateState
    unique_code: str | None
    document_sha256: Sha256 | None
    sealed: bool


class CheckSource(Answer):
    certificate_id: str | None = Field(description="Null: the overall information, or the holder")
    type: str | None
    material: str = Field(description="Chinese")
    field: str
    label: str = Field(description="Chinese")
    value: str


class CheckFinding(Answer):
    id: str = Field(description="Follows from code and values: what is confirmed is exactly this")
    code: str
    severity: Literal["WARNING", "ERROR"] = Field(description="A WARNING may be confirmed, an ERROR blocks")
    text: str = Field(description="Chinese")
    sources: list[CheckSource]


class MissingMaterial(Answer):
    type: str
    name: str
    supports: str | None


class PerformanceCheck(Answer):
    """业绩信息录入规范化逻辑校验."""

    findings: list[CheckFinding]
    digest: str = Field(description="Confirms all warnings at once")
    missing_materials: list[MissingMaterial]
    missing_information: list[str]


class PushedMaterial(Answer):
    certificate_id: str
    type: str | None
    push_id: str
    state: PushState
    opinion: str | None


class PerformancePush(Answer):
    """A push of the whole: one push of each material."""

    id: str
    number: int
    domain_id: str
    version: int
    state: Literal["pending", "approved", "rejected", "withdrawn"] = Field(
        description="approved: every required material and contract change is; rejected: one of the materials is"
    )
    pushed_at: Timestamp
    materials: list[PushedMaterial]


class PerformancePushPage(Answer):
    items: list[PerformancePush]
    next_cursor: str | None


class AcceptedMaterial(Answer):
    certificate_id: str
    type: str
    version: int
    unique_code: str
    light: Light


class AcceptedPerformance(Answer):
    """What was submitted last."""

    version: int
    light: Light
    information: dict[str, str]
    materials: list[AcceptedMaterial]
    confirmed: list[CheckFinding] = Field(description="Warnings that were confirmed by 继续提交")
    submitted_at: Timestamp


class PerformanceSummary(Answer):
    id: str
    category: str
    category_label: str
    state: PerformanceState
    light: Light = Field(description="The worst of its required materials'")
    section_name: str | None
    performance_type: str | None
    region: str | None
    funding_source: str | None
    project_category: str | None
    speciality: str | None
    section_no: str | None
    construction_nature: str | None
    unique_code: str | None
    reopened: bool
    version: int
    created_at: Timestamp
    updated_at: Timestamp
    submitted_at: Timestamp | None


class Performance(PerformanceSummary):
    holder: Holder
    manager_label: str = Field(description="What the right person is called in this category")
    materials: list[Material]
    contract: list[ContractItem] = Field(description="Original and effective values of what a contract change may override")
    contract_changes: list[ContractChange]
    pushes: list[PerformancePush]
    accepted: AcceptedPerformance | None = Field(description="The version that stands; null before the first submission")


class PerformancePage(Answer):
    items: list[PerformanceSummary]
    next_cursor: str | None


class PersonPerformancePage(Answer):
    """业绩信息 of a person: what names the person as manager, once both are approved."""

    items: list[PerformanceSummary]
    next_cursor: str | None


class ContractChangePage(Answer):
    items: list[ContractChange]
    next_cursor: str | None


# -- persons -----------------------------------------------------------------------------------------------------------

DocumentKind = Literal["id_card", "passport", "hk_macao_permit", "taiwan_permit", "residence_permit", "foreigner_permit"]
PersonSource = Literal["typed", "document", "reader"]
PersonState = Literal["bound", "unbound"]
ClaimState = Literal["open", "objected", "withdrawn", "released"]


class ReadingRequest(Body):
    """What a local ID-card reader read (docs/id-reader.md)."""

    name: Short
    gender: Short = Field(description="男 or 女")
    ethnicity: Short
    birth_date: Short
    address: Annotated[str, StringConstraints(max_length=1000)]
    id_no: Short
    issuing_authority: Short
    valid_from: Short
    valid_until: Short = Field(description="A date, or 长期")
    photo_sha256: Short = Field("", description="SHA-256 of the chip's photo as the reader gave it, hex")
    reader_serial: Short
    read_at: Short = Field(description="RFC 3339, UTC")
    nonce: Short = Field(description="Unique for each reading: 32 to 64 hex digits")


class PersonRequest(Body):
    source: PersonSource = Field(description="typed: id_no and name; document: certificate_id; reader: reader")
    id_no: Short | None = Field(None, description="Number of the ID document")
    document_kind: DocumentKind = "id_card"
    name: Short | None = None
    phone: Short | None = None
    position: Short | None = Field(None, description="职务")
    bound_on: Short | None = Field(None, description="When the employment began, as the company confirms it; default: today")
    certificate_id: Short | None = Field(
        None, description="The company's draft of type personal_id whose fields are confirmed; it becomes the person's"
    )
    reader: ReadingRequest | None = None
    claim: bool = Field(False, description="Where another company has bound the person, claim them instead of being refused")
    reason: Annotated[str, StringConstraints(max_length=4000)] | None = Field(None, description="Of the claim")


class PersonChangeRequest(Body):
    position: Short | None = Field(None, description="Left out: stays; empty: cleared")
    phone: Short | None = Field(None, description="Left out: stays; empty: cleared")


class UnbindingRequest(Body):
    unbound_on: Short | None = Field(None, description="When the employment ended, as the company confirms it; default: today")


class PersonDetails(Answer):
    """What the reader read besides name and number."""

    gender: str
    ethnicity: str
    birth_date: Date
    address: str
    issuing_authority: str
    valid_from: Date
    valid_until: str = Field(description="A date, or 长期")
    photo_sha256: str | None
    reader_serial: str
    read_at: Timestamp


class PersonSummary(Answer):
    """One line of 人员管理."""

    id: str
    document_kind: DocumentKind
    id_no: str = Field(description="Masked")
    name: str
    phone: str | None = Field(description="Masked")
    position: str | None
    state: PersonState
    bound_on: Date
    unbound_on: Date | None


class PersonPage(Answer):
    items: list[PersonSummary]
    next_cursor: str | None


class Person(Answer):
    """A person as the session's company sees them; once unbound, who it was and from when to when."""

    id: str
    document_kind: DocumentKind
    id_no: str = Field(description="Masked once unbound")
    name: str
    phone: str | None
    position: str | None
    source: PersonSource
    details: PersonDetails | None
    state: PersonState
    bound_on: Date
    unbound_on: Date | None
    bound_at: Timestamp
    unbound_at: Timestamp | None
    version: int


class BoundPerson(Person):
    certificate_id: str | None = Field(
        description="The personal_id certificate that became the person's (document), or was begun with what was read (reader)"
    )


class PersonSection(Answer):
    """One tab of a person. Of an automatic one the entries are the company's performances and awards that name the person."""

    code: Literal["basic", "insurance", "title", "registration", "post", "special_operation", "performance", "award", "honour", "ability"]
    label: str = Field(description="Chinese")
    automatic: bool = Field(description="Its entries come about by themselves: `…/performances`, `…/awards`")
    types: list[str] = Field(description="The certificate types shown under it")
    count: int | None = Field(description="Certificates but discarded ones; null for automatic sections")
    submitted: int | None
    lights: LightCounts | None


class PersonSections(Answer):
    items: list[PersonSection]
    next_cursor: str | None


class Claim(Answer):
    """A company says that it employs a person whom another one has bound. Who has isn't told to the claimant."""

    id: str
    side: Literal["made", "received"]
    id_no: str = Field(description="Masked")
    name: str
    reason: str
    state: ClaimState = Field(description="released: the other company unbound, and the person can be bound")
    objection: str | None
    made_at: Timestamp
    answered_at: Timestamp | None
    person_id: str | None = Field(description="Null for the claimant, for whom there is no such person yet")
    claimant_uscc: str | None
    claimant_name: str | None


class ClaimPage(Answer):
    items: list[Claim]
    next_cursor: str | None


class ClaimObjectionRequest(Body):
    reason: Annotated[str, StringConstraints(max_length=4000)]


class PersonHistoryItem(Answer):
    """One line of the operation record of a person at the session's company."""

    number: int
    at: Timestamp
    actor: Actor | None = Field(description="Null for people of another company")
    action: str = Field(description="Chinese name of the operation")
    type: str = Field(description="Event type")
    summary: str = Field(description="Chinese")
    event_id: str
    hash: Sha256


class PersonHistoryPage(Answer):
    items: list[PersonHistoryItem]
    next_cursor: str | None


# -- domains and reviews -----------------------------------------------------------------------------------------------


class Domain(Answer):
    id: str
    name: str
    automatic_types: list[str] = Field(
        description="Review mode AUTOMATIC: certificate types whose GREEN entries are approved by rule; all others are MANUAL"
    )
    state: DomainState = Field(description="A closed domain takes no new pushes")
    registered_at: Timestamp


class RegisteredDomain(Domain):
    """A domain with what its own system needs: an account at NATS of its own."""

    push_subject: str
    review_subject: str
    credentials_file: str = Field(description="On the machine that runs the suite")


class DomainRequest(Body):
    id: Short = Field(description="Lower-case letters, digits and hyphens")
    name: Short
    automatic_types: Annotated[list[Short], Field(max_length=500)] = []


class DomainChangeRequest(Body):
    name: Short
    automatic_types: Annotated[list[Short], Field(max_length=500)]
    state: DomainState


class RoleHolder(Answer):
    """An account that holds a role."""

    account_id: str
    name: str
    phone: str | None = Field(description="Masked; null for a company's key", examples=["138****0000"])


class RoleHolderPage(Answer):
    items: list[RoleHolder]
    next_cursor: str | None


class RoleGrantRequest(Body):
    phone: Short = Field(description="The account's phone number")


class DomainPage(Answer):
    items: list[Domain]
    next_cursor: str | None


class ReasonRequest(Body):
    field: FieldName = Field(description="A field of the pushed certificate's type")
    text: Annotated[str, StringConstraints(max_length=4000)]


class ReviewRequest(Body):
    decision: Short = Field(description="approved or rejected")
    opinion: Annotated[str, StringConstraints(max_length=4000)] = ""
    reasons: Annotated[list[ReasonRequest], Field(max_length=100, description="What is said about single fields")] = []


class ObjectionRequest(Body):
    grounds: Annotated[str, StringConstraints(max_length=4000)]


class AppealRequest(Body):
    grounds: Annotated[str, StringConstraints(max_length=4000)]


class AppealAnswerRequest(Body):
    decision: Short = Field(description="upheld, or overturned: the push is approved")
    opinion: Annotated[str, StringConstraints(max_length=4000)]


class ReviewedAppeal(Appeal):
    """An appeal, as its domain sees it."""

    reviewer_id: str | None
    channel: Literal["REVIEWER", "SYSTEM"] | None


class Review(Answer):
    """A push as its domain sees it: the version that was pushed, whatever happened to the certificate since."""

    id: str
    certificate_id: str
    domain_id: str
    number: int
    state: ReviewState
    delivery: Literal["requested", "delivered", "acknowledged"]
    holder: Holder
    type: str
    version: int
    unique_code: str
    light: Light
    fields: dict[str, str] = Field(description="Personal numbers are masked")
    document: Document | None
    seal: Seal | None
    pushed_at: Timestamp
    reviewed_at: Timestamp | None
    opinion: str | None
    reasons: list[FieldReason]
    reviewer_id: str | None
    channel: Literal["REVIEWER", "SYSTEM", "RULE"] | None = Field(description="How the review came about")
    waiting_seconds: float = Field(description="For how long the domain has said nothing of a pending push")
    appeal: ReviewedAppeal | None
    objection: str | None = Field(description="Why the company contests the light")


class ReviewDetail(Review):
    """A push with what the reviewer compares: where the document shows the fields, and both columns of the verification."""

    marks: list[Mark]
    verification: Verification


class ReviewPage(Answer):
    items: list[Review]
    next_cursor: str | None


# -- imports and exports -----------------------------------------------------------------------------------------------


class Import(Answer):
    id: str
    state: Literal["waiting", "done", "failed"]
    file_name: str
    size: int
    rows: int = Field(description="Rows of the table, its head not counted")
    created: int
    updated: int
    unchanged: int
    failed: int
    requested_at: Timestamp
    finished_at: Timestamp | None
    reason_code: str | None = Field(description="Why it failed as a whole")


class ImportPage(Answer):
    items: list[Import]
    next_cursor: str | None


class ImportRowError(Answer):
    pointer: str = Field(description="As in the request that would have made the entry: /fields/uscc")
    column: str | None = Field(description="Head of the column")
    code: str
    message: str


class ImportRow(Answer):
    row: int = Field(description="From 1, the head not counted")
    key: str | None
    type: str | None
    outcome: Literal["created", "updated", "unchanged", "failed"]
    certificate_id: str | None
    errors: list[ImportRowError]


class ImportReport(Import):
    items: list[ImportRow] = Field(description="The rows carried out so far, in the table's order")
    next_cursor: str | None


class ExportRequest(Body):
    subject_id: Annotated[str, StringConstraints(max_length=64)] | None = Field(None, description="For auditors: whose record")


class Export(Answer):
    id: str
    subject_id: str
    state: Literal["waiting", "done", "failed", "expired"]
    sha256: Sha256 | None = Field(description="Of the archive")
    size: int | None
    manifest_sha256: Sha256 | None = Field(description="Of the archive's manifest, which names everything else in it")
    certificates: int
    persons: int
    objects: int
    events: int
    requested_at: Timestamp
    finished_at: Timestamp | None
    expires_at: Timestamp | None = Field(description="When the archive is dropped; it can be made again")
    reason_code: str | None = Field(description="Why it failed; while it waits, why it was put off last")


class ExportPage(Answer):
    items: list[Export]
    next_cursor: str | None


# -- operations --------------------------------------------------------------------------------------------------------


class Health(Answer):
    service: str
    ok: bool


class Readiness(Answer):
    service: str
    ready: bool
    dependencies: dict[str, str]


class DemoOperator(Answer):
    phone: str
    password: str
    subject_id: str
    key_file: str
    key_password: str


class DemoReviewer(Answer):
    phone: str
    password: str
    domain: str


class DemoAdministrator(Answer):
    phone: str
    password: str


class DemoDomain(Answer):
    id: str
    name: str
    nats_url: str
    credentials_file: str
    push_subject: str
    review_subject: str


class Demo(BaseModel):
    """What a script needs to run the main job in the development profile; files are absolute paths on the suite's machine."""

    model_config = ConfigDict(extra="allow")

    operator: DemoOperator
    reviewer: DemoReviewer
    administrator: DemoAdministrator
    domains: list[DemoDomain]
