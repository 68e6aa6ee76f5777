"""What a refused call says: one exception with a stable code, and the registry of every code that exists.

A code is part of the public contract (http-api.md): it reaches the client as ``code`` of the RFC 9457 problem. Its
Chinese title stands in ``kernel/texts/zh_CN.toml`` under ``[errors]``; the code that raises never holds sentences.
Standard library only, so that every room of a service may raise it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One registered refusal.

    ``grpc_status`` is the name of the gRPC status (``grpc.StatusCode[...]``) under which it travels between services;
    ``meaning`` says when it is raised, for developers.
    """

    code: str
    http_status: int
    grpc_status: str
    meaning: str


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field of a request.

    ``pointer`` is a JSON pointer into the HTTP request's body (``/fields/uscc``); ``code`` is a registered code;
    ``params`` fill the placeholders of its text and must not hold personal numbers.
    """

    pointer: str
    code: str
    params: dict[str, str] = field(default_factory=dict)


ERROR_CODES: Final[dict[str, ErrorCode]] = {}


def _register(http_status: int, grpc_status: str, **meanings: str) -> None:
    for code, meaning in meanings.items():
        if code in ERROR_CODES:
            raise ValueError(f"error code registered twice: {code}")
        ERROR_CODES[code] = ErrorCode(code, http_status, grpc_status, meaning)


# -- who asks
_register(
    401,
    "UNAUTHENTICATED",
    unauthenticated="No session, or its token is forged or closed.",
    session_expired="The session's token was good and has expired; renewing it helps.",
    credentials_wrong="Phone and password, or certificate and account, don't belong together.",
    challenge_unknown="The CA login challenge was never issued here.",
    challenge_expired="The CA login challenge is older than 60 s.",
    challenge_used="The CA login challenge was answered before; each serves once.",
)
_register(
    403,
    "PERMISSION_DENIED",
    role_missing="The caller lacks the role that this needs.",
    not_member="The account is no member of the subject that it wants to act for.",
    subject_not_picked="The session acts for no subject yet, and this needs one.",
    reviewer_of_company="The reviewer may act for the company whose certificate it is; another one must decide.",
    appeal_same_reviewer="An appeal is answered by another reviewer than the one who rejected.",
)
_register(
    404,
    "NOT_FOUND",
    not_found="It doesn't exist, or isn't the caller's to see (which of the two isn't told).",
    seal_not_prepared="No seal preparation of this id exists for this certificate.",
)

# -- state
_register(
    409,
    "FAILED_PRECONDITION",
    wrong_state="The state of the resource doesn't allow this.",
    code_wrong="The phone code is wrong, expired or used up.",
    document_missing="The certificate has no document yet.",
    page_not_ready="The page's image hasn't been made yet.",
    verification_missing="The certificate was never verified.",
    verification_stale="Field, mark or document changed after the verification.",
    verification_running="A verification runs already.",
    category_fixed="The category of a performance is fixed once chosen.",
    performance_not_submitted="The performance isn't submitted yet.",
    performance_not_open="A material is changed only while its performance is a draft or reopened.",
    submitted_with_performance="Materials are submitted with their performance, never alone.",
    section_unknown="The performance has no section of this name.",
    material_missing="A required material of the performance isn't there (param material).",
    material_not_ready="A material of the performance can't be submitted yet (errors say which and why).",
    check_failed="The logic check over the performance found errors, which block the submission.",
    check_unconfirmed="The logic check found warnings that weren't confirmed.",
    light_red="The light is RED: neither sealing nor submitting is possible.",
    light_red_supplement="The supplement would turn the light RED; the accepted version stands.",
    key_field_locked="A supplement can't change a KEY field; make a new certificate.",
    light_green_locked="A GREEN certificate can't be changed; make a new one.",
    recognition_running="The document is being recognised.",
    qr_login_pending="The login's QR code was not approved on the phone yet; ask again.",
    seal_missing="The certificate isn't sealed.",
    seal_outdated="The certificate was verified again since the seal was prepared; prepare again.",
    certificate_superseded="Another certificate has followed this one; it changes no more and isn't pushed any more.",
    entry_exists="An entry of the same values (catalogue: unique_by) stands in the register; make one that supersedes it.",
    total_exceeded="The type's entries that stand would come to more than they may together (catalogue: at_most; param total).",
    successor_exists="A successor of the certificate is being made already; submit or discard that one first.",
    supplement_open="A supplement of the certificate is open; submit or discard it first.",
    seal_used="The seal preparation was completed before.",
    seal_expired="The seal preparation is too old; prepare again.",
    document_expired="The document has expired already and can't be submitted.",
    not_submitted="The certificate isn't submitted yet.",
    push_not_pending="The push was decided or withdrawn already.",
    push_not_rejected="Only a rejected push can be appealed.",
    appeal_exists="The rejection was appealed before; each review can be once.",
    light_not_contestable="Only the YELLOW light of a submitted version can be contested.",
    objection_exists="The light of this version was contested before.",
    appeal_not_pending="There is no appeal that waits for an answer.",
    export_not_ready="The export's archive is still being made.",
    export_failed="The export failed; `reason_code` says why. Ask for another.",
    export_expired="The export's archive was dropped after its time; ask for another.",
    domain_closed="The domain doesn't take pushes.",
    last_administrator="The company would be left without an administrator.",
    key_member_stays="The company's CA keys are always a member; only their role changes.",
    members_full="The company has as many members as it may have (param max).",
    certificates_missing="Certificates of the basic information aren't submitted yet (param types names them, errors has one for each).",
    person_missing="The certificate is a person's, and no person was bound for it yet.",
    person_not_bound="The person isn't bound to the subject (any more).",
    claim_answered="The claim was answered or withdrawn already.",
    reading_used="The reading of the ID card bound the person before; read the card again.",
    too_many_claims="As many companies claim the person already as may at once.",
)
_register(
    409,
    "ALREADY_EXISTS",
    subject_registered="A subject of this USCC exists already.",
    member_exists="The person is a member already, with another role.",
    phone_registered="An account of this phone number exists already.",
    domain_registered="A domain of this id exists already, with another name or other rules.",
    material_exists="The performance has a material of this kind already.",
    push_exists="The same version is pending at this domain already.",
    person_bound="The subject has bound the person already.",
    person_bound_elsewhere="Another company has bound the person (which one isn't told); `claim` records that this one employs them.",
)
_register(
    409,
    "ABORTED",
    version_conflict="Someone else changed it since it was read (If-Match, expected_version); nothing was changed.",
)

# -- bad values
_register(
    422,
    "INVALID_ARGUMENT",
    idempotency_key_reused="The idempotency key was used with another request.",
    value_invalid="The value doesn't fit the field's type or limits.",
    value_too_long="The value is longer than the field allows (param max).",
    field_unknown="The certificate type has no such field.",
    field_required="A required field is missing or empty.",
    type_unknown="The catalogue has no such certificate type.",
    supersedes_other="The certificate to be followed is of another type, person or performance.",
    category_unknown="No such category of performances.",
    material_unfit="A certificate of this type is no material of a performance of this category.",
    material_limit="The performance has as many materials as it may have (param max).",
    type_not_allowed="The subject's type may not have such a certificate.",
    mode_invalid="The mode is neither SMART nor MANUAL, or the type doesn't have it.",
    box_outside_page="The box isn't within the page, or has no area.",
    page_unknown="The document has no such page.",
    mark_duplicate="More marks name the same field than a field may have.",
    field_not_markable="The field's role needs no mark.",
    uscc_malformed="Not the form of a USCC (GB 32100: 18 characters of its alphabet).",
    uscc_check_digit="The USCC's check digit fails; confirm_uscc registers it all the same.",
    phone_malformed="Not a mobile number of the mainland (11 digits).",
    password_weak="The password is too short, too long or too common.",  # noqa: S106 (a code, no password)
    name_malformed="Not a name: empty, too long or with control characters.",
    signature_invalid="The signature isn't this key's over this text.",
    certificate_untrusted="The certificate doesn't chain to a trusted root, or can't be read.",
    certificate_expired="The certificate isn't valid at this time.",
    certificate_revoked="The certificate was revoked, or its revocation state can't be known.",
    certificate_without_uscc="The certificate names no USCC.",
    certificate_not_holders="The certificate is another company's.",
    document_encrypted="The file is encrypted.",
    document_too_many_pages="The file has more pages than allowed (param max).",
    document_page_too_large="A page is larger than allowed.",
    document_damaged="The file can't be read to its end.",
    document_too_complex="Reading the file takes more time or memory than allowed.",
    document_empty="The file has no bytes or no pages.",
    seal_invalid="The finished seal doesn't validate.",
    domain_unknown="No such domain.",
    decision_invalid="The decision is neither approved nor rejected (of an appeal: neither upheld nor overturned).",
    opinion_required="A rejection needs an opinion.",
    role_unknown="No such role.",
    subject_type_unknown="No such subject type, or the subject doesn't have it.",
    person_ambiguous="Documents of several kinds have that number; name the person by its id.",
    person_unknown="The subject employs no such person.",
    reading_stale="The reading of the ID card is too old, or the reader's clock is wrong; read the card again.",
    origin_invalid="Not a page's origin (scheme://host:port).",
    cursor_invalid="The paging cursor wasn't made by this list.",
    platform_row_unknown="The national platform holds no such row of this company or person.",
    platform_row_unusable="The national platform's row is malformed, another's, or of a kind that the catalogue doesn't have.",
    archive_damaged="The import's archive can't be read, or its parts contradict each other (params reason, name).",
    archive_too_large="The import's archive, or what it unpacks to, is larger than allowed (params what, max).",
    archive_encrypted="A file of the import's archive is encrypted (param name).",
    archive_entry_refused="The import's archive holds what isn't taken: a link, a path outside, another place (params name, reason).",
    archive_entry_repeated="Two files of the import's archive have the same name (param name).",
    archive_overlapping="Files of the import's archive overlap: a bomb.",
    archive_nested="A file of the import's archive is an archive itself (param name).",
    archive_without_table="The import's archive has no table entries.csv.",
    archive_entry_missing="A row names a file that the import's archive doesn't have (param name).",
    archive_gone="The import's archive isn't in the object store any more.",
    table_unreadable="The import's table is no CSV in UTF-8 or GBK, or has too many or too long cells.",
    table_too_long="The import's table has more rows than allowed (param max).",
    table_head_wrong="The import's table names a column twice, or lacks the type (param column).",
    table_empty="The import's table has a head only, or nothing.",
    import_key_taken="The row's key stands for an entry of another type, person or performance.",
    request_malformed="The request can't be read (JSON, multipart, header or parameter).",
)
_register(408, "DEADLINE_EXCEEDED", request_too_slow="The request's body came too slowly (gateway).")
_register(413, "INVALID_ARGUMENT", too_large="The request's body is larger than allowed.")
_register(413, "INVALID_ARGUMENT", document_too_large="The file is larger than allowed.")
_register(415, "INVALID_ARGUMENT", document_not_recognised="The file is none of the formats that are taken.")
_register(405, "UNIMPLEMENTED", method_not_allowed="The resource doesn't have this method.")
_register(
    412,
    "FAILED_PRECONDITION",
    precondition_malformed="The If-Match header is no ETag of this resource.",
)
_register(429, "RESOURCE_EXHAUSTED", too_many_requests="More requests than allowed in this time.")

# -- the system itself
_register(
    503,
    # Not UNAVAILABLE: the platform was tried as often as is set, and callers between services would try again until the deadline.
    "ABORTED",
    national_platform_unavailable="The national platform can't be reached or doesn't answer in time; trying again later helps.",
    national_platform_unusable="The national platform's answer isn't in the agreed form, is too large, or a refusal.",
    national_platform_not_set="This register isn't connected to the national platform.",
)
_register(
    503,
    "UNAVAILABLE",
    service_unavailable="A part of the system is down or overloaded; trying again later helps.",
)
_register(504, "DEADLINE_EXCEEDED", deadline_exceeded="The answer didn't come within the time allowed.")
_register(500, "INTERNAL", internal="A defect; the log has it under the correlation id.")
_register(
    500,
    "UNAUTHENTICATED",
    caller_refused="A service's call carried no valid proof of the caller (forged, expired, for another service).",
)
_register(500, "INVALID_ARGUMENT", deadline_missing="A service called without a deadline.")


class YunkuError(Exception):
    """A refusal that the caller is told: nothing was changed.

    ``field`` is the JSON pointer of the one field concerned and makes one :class:`FieldError` of the same code and
    params; several fields are given as ``errors`` instead. ``params`` fill the text's placeholders; they reach the
    user and the log, so no personal numbers.

    Raises ValueError when a code isn't registered: a defect, which any test on the way shows.
    """

    def __init__(self, code: str, *, field: str | None = None, errors: Sequence[FieldError] = (), **params: str) -> None:
        own = (FieldError(field, code, dict(params)),) if field is not None else ()
        self.code = code
        self.params: dict[str, str] = params
        self.errors: tuple[FieldError, ...] = (*own, *errors)
        for used in (code, *(error.code for error in self.errors)):
            if used not in ERROR_CODES:
                raise ValueError(f"unregistered error code: {used}")
        super().__init__(code, *(f"{error.pointer}: {error.code}" for error in self.errors))

    @property
    def definition(self) -> ErrorCode:
        """The registry's entry of this code."""
        return ERROR_CODES[self.code]

    @property
    def http_status(self) -> int:
        """The HTTP status under which the gateway tells it."""
        return self.definition.http_status
