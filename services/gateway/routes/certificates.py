"""Certificates from draft to push (http-api.md, "Catalogue and certificates")."""

import asyncio
import base64
import time
from collections.abc import Iterable
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response
from yunku.certificate.v1 import service_pb2, types_pb2
from yunku.identity.v1 import service_pb2 as identity_pb2
from yunku.push.v1 import service_pb2 as push_pb2

import catalogue
from kernel import texts
from kernel.errors import YunkuError
from kernel.observability.logging import get_logger
from services.gateway import models, objects, render, uploads
from services.gateway.means import Means, means_of
from services.gateway.objects import ObjectMissing
from services.gateway.preconditions import ExpectedVersion, etag
from services.gateway.replies import problems, reply
from services.gateway.routes import API
from services.gateway.routes.accounts import decoded
from services.gateway.sessions import Session

router = APIRouter(prefix=API, tags=["certificates"])

Id = Annotated[str, Path(max_length=64)]
Wait = Annotated[float, Query(ge=0, le=60, allow_inf_nan=False, description="Seconds to wait for the verdict")]
Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str, Query(max_length=100)]
Filter = Annotated[str, Query(max_length=100)]

#: Inspection has its own limit in the sandbox, sealing parses and validates a whole document. Seconds.
_INSPECT_SECONDS: Final = 45
_SEAL_SECONDS: Final = 50
#: Pause between looks at what goes on when nothing rings.
LOOK_SECONDS: Final = 0.5
#: What the push service decides is in the push record before this, usually.
RECORD_SECONDS: Final = 3.0
#: Files are downloaded or drawn, never run; no page of theirs may do anything.
FILE_HEADERS: Final = {"Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'"}
FILE_TYPES: Final = ("application/pdf", "image/jpeg", "image/png", "image/tiff")

_log = get_logger(__name__)


def file_response(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """How a file's answer is documented."""
    return {200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in media_types}, "description": "The file"}}


# -- catalogue ---------------------------------------------------------------------------------------------------------


@router.get("/catalogue", response_model=models.Catalogue, responses=problems(), tags=["catalogue"])
async def get_catalogue(request: Request) -> Response:
    """Modules, certificate types and their fields: everything that can be entered."""
    known = catalogue.load()
    notice = models.Notice(
        title=texts.text("verify.notice.title"), lines=[texts.text(f"verify.notice.line{number}") for number in range(1, 7)]
    )
    told = models.Catalogue.model_validate({**known.to_public(), "verification_notice": notice})
    return reply(request, told, headers={"Cache-Control": "no-cache"})


# -- drafts and content ------------------------------------------------------------------------------------------------


@router.post("/certificates", status_code=201, response_model=models.Certificate, responses=problems(401, 403, 409))
async def draft(request: Request, body: models.DraftRequest, who: Session) -> Response:
    """Begins an entry: a draft; one that `supersedes` another follows it once it is submitted."""
    asked = service_pb2.DraftCertificateRequest(
        type=body.type,
        mode=render.mode(body.mode),
        fields=body.fields,
        person_id=body.person_id or "",
        performance_id=body.performance_id or "",
        supersedes=body.supersedes or "",
    )
    made = (await means_of(request).services.certificate.DraftCertificate(asked)).certificate
    return whole(request, made, 201, {"Location": f"/api/v1/certificates/{made.id}"})


@router.get("/certificates", response_model=models.CertificatePage, responses=problems(401, 403))
async def list_certificates(
    request: Request,
    who: Session,
    module: Filter = "",
    type: Annotated[list[Filter], Query(max_length=100, description="One or several")] = [],  # noqa: B006 (FastAPI copies it)
    state: models.CertificateState | None = None,
    light: models.Light | None = None,
    validity: models.ValidityState | None = None,
    person_id: Filter = "",
    performance_id: Filter = "",
    q: Annotated[
        str, Query(max_length=100, description="Part of its name, level, person, number or code; one character: what begins with it")
    ] = "",
    sort: models.Sort = "-created",
    limit: Limit = 50,
    cursor: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """The subject's certificates, newest first unless `sort` says otherwise; discarded drafts only when asked for by `state`.

    A cursor goes on with the query that it came from; with other filters or another order it is refused (`cursor_invalid`).
    """
    means = means_of(request)
    asked = service_pb2.ListCertificatesRequest(
        module=module,
        type=type,
        state=state or "",
        light=types_pb2.Light.Value(f"LIGHT_{light}") if light else types_pb2.LIGHT_UNSPECIFIED,
        validity=validity or "",
        expiring_days=means.settings.expiring_days,
        person_id=person_id,
        performance_id=performance_id,
        q=q,
        sort=sort,
        limit=limit,
        cursor=cursor,
    )
    found = await means.services.certificate.ListCertificates(asked)
    items = [render.summary(one, expiring_days=means.settings.expiring_days) for one in found.items]
    return reply(request, models.CertificatePage(items=items, next_cursor=found.next_cursor or None))


@router.get("/certificates/{certificate_id}", response_model=models.Certificate, responses=problems(401))
async def get_certificate(request: Request, certificate_id: Id, who: Session) -> Response:
    """The whole of a certificate."""
    view = await look(means_of(request), certificate_id)
    return whole(request, view, masked=view.holder.subject_id != who.caller.subject_id)


_MULTIPART: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary", "description": "PDF, JPEG, PNG or TIFF"}},
                }
            }
        },
    }
}


@router.put(
    "/certificates/{certificate_id}/document",
    status_code=202,
    response_model=models.Certificate,
    responses=problems(401, 403, 408, 409, 412, 413, 415),
    openapi_extra=_MULTIPART,
)
async def upload_document(request: Request, certificate_id: Id, who: Session, expected: ExpectedVersion) -> Response:
    """Uploads or replaces the document. Recognition and the pages' pictures follow. A new document voids the marks."""
    means = means_of(request)
    who.caller.require_command()
    view = await look(means, certificate_id)
    # Before a byte of the body is taken in: whose it is, and whether it can be changed at all.
    if view.holder.subject_id != who.caller.require_subject():
        raise YunkuError("not_found")
    if view.state != "draft" and not view.supplementing:
        raise YunkuError("wrong_state", state=view.state)
    if expected and expected != view.version:
        raise YunkuError("version_conflict", version=str(view.version))
    async with means.uploading(), uploads.receive(request, means.settings.uploads, means.settings.upload_bytes) as file:
        await means.objects.put_document(file.sha256, file.file, file.size, file.media_type)
        asked = service_pb2.UploadDocumentRequest(
            certificate_id=certificate_id, sha256=file.sha256, size=file.size, file_name=file.name, expected_version=expected
        )
        answer = await means.services.certificate.UploadDocument(asked, timeout=_INSPECT_SECONDS)
    return whole(request, answer.certificate, 202)


@router.put("/certificates/{certificate_id}/fields", response_model=models.Certificate, responses=problems(401, 403, 409, 412))
async def state_fields(
    request: Request, certificate_id: Id, body: models.FieldsRequest, who: Session, expected: ExpectedVersion
) -> Response:
    """States the values (confirms them in SMART mode), and which fields the print doesn't carry."""
    asked = service_pb2.StateFieldsRequest(
        certificate_id=certificate_id,
        fields=body.fields,
        absent=body.absent or (),
        set_absent=body.absent is not None,
        expected_version=expected,
    )
    return whole(request, (await means_of(request).services.certificate.StateFields(asked)).certificate)


@router.put("/certificates/{certificate_id}/marks", response_model=models.Certificate, responses=problems(401, 403, 409, 412))
async def mark_fields(request: Request, certificate_id: Id, body: models.MarksRequest, who: Session, expected: ExpectedVersion) -> Response:
    """Says where the document shows the values; replaces all earlier marks."""
    marks = [types_pb2.Mark(field=mark.field, page=mark.page, box=_box(mark.box)) for mark in body.marks]
    asked = service_pb2.MarkFieldsRequest(certificate_id=certificate_id, marks=marks, expected_version=expected)
    return whole(request, (await means_of(request).services.certificate.MarkFields(asked)).certificate)


@router.put("/certificates/{certificate_id}/mode", response_model=models.Certificate, responses=problems(401, 403, 409, 412))
async def switch_mode(request: Request, certificate_id: Id, body: models.ModeRequest, who: Session, expected: ExpectedVersion) -> Response:
    """Switches between SMART and MANUAL; nothing typed or marked is lost."""
    asked = service_pb2.SwitchModeRequest(certificate_id=certificate_id, mode=render.mode(body.mode), expected_version=expected)
    return whole(request, (await means_of(request).services.certificate.SwitchMode(asked)).certificate)


# -- verification, seal, submission ------------------------------------------------------------------------------------


@router.post(
    "/certificates/{certificate_id}/verification",
    response_model=models.Verification,
    responses={202: {"model": models.Verification, "description": "It still runs"}, **problems(401, 403, 409, 412)},
)
async def verify(request: Request, certificate_id: Id, who: Session, expected: ExpectedVersion, wait: Wait = 30) -> Response:
    """Compares what is stated with what is printed. Waits for the verdict up to `wait` seconds, else answers 202."""
    means = means_of(request)
    until = time.monotonic() + wait
    asked = service_pb2.RequestVerificationRequest(certificate_id=certificate_id, expected_version=expected)
    # The bell is there before the request, so that a quick verdict rings it too.
    with means.live.bell(who.caller.require_subject()) as bell:
        view = (await means.services.certificate.RequestVerification(asked)).certificate
        wanted = view.verification.id
        while view.verification.state in ("running", "delayed") and view.verification.id == wanted and not means.live.stopping:
            left = until - time.monotonic()
            if left <= 0:
                break
            await bell.wait(min(left, LOOK_SECONDS))
            view = await look(means, certificate_id)
    status = 202 if view.verification.state in ("running", "delayed") else 200
    return reply(request, render.verification(view.verification), status, etag=etag(view.version, view.revision))


@router.post(
    "/certificates/{certificate_id}/seal/preparation",
    status_code=201,
    response_model=models.SealPreparation,
    responses=problems(401, 403, 409, 412),
)
async def prepare_seal(
    request: Request, certificate_id: Id, body: models.SealPreparationRequest, who: Session, expected: ExpectedVersion
) -> Response:
    """Makes what the company's own key is to sign; the key never leaves its holder. Good once, for a short time."""
    asked = service_pb2.PrepareSealRequest(
        certificate_id=certificate_id,
        certificate_pem=body.certificate,
        seal_page=body.seal.page if body.seal else 0,
        seal_box=_box(body.seal.box) if body.seal else None,
        expected_version=expected,
    )
    answer = await means_of(request).services.certificate.PrepareSeal(asked, timeout=_SEAL_SECONDS)
    prepared = models.SealPreparation(
        id=answer.preparation_id,
        to_sign=base64.b64encode(answer.to_sign).decode(),
        digest_algorithm=answer.digest_algorithm,
        expires_at=render.moment(answer.expires_at),
    )
    return reply(request, prepared, 201)


@router.post("/certificates/{certificate_id}/seal", response_model=models.Certificate, responses=problems(401, 403, 409))
async def seal(request: Request, certificate_id: Id, body: models.SealRequest, who: Session) -> Response:
    """Completes a prepared seal with the key's signature; it counts only after the sealed PDF was validated."""
    asked = service_pb2.CompleteSealRequest(
        certificate_id=certificate_id, preparation_id=body.preparation_id, signature=decoded(body.signature)
    )
    answer = await means_of(request).services.certificate.CompleteSeal(asked, timeout=_SEAL_SECONDS)
    return whole(request, answer.certificate)


@router.post("/certificates/{certificate_id}/submission", response_model=models.Certificate, responses=problems(401, 403, 409, 412))
async def submit(request: Request, certificate_id: Id, who: Session, expected: ExpectedVersion) -> Response:
    """Enters the register 提交入库; the certificate gets its unique code."""
    asked = service_pb2.SubmitRequest(certificate_id=certificate_id, expected_version=expected)
    return whole(request, (await means_of(request).services.certificate.Submit(asked)).certificate)


@router.post("/certificates/{certificate_id}/supplement", response_model=models.Certificate, responses=problems(401, 403, 409, 412))
async def begin_supplement(request: Request, certificate_id: Id, who: Session, expected: ExpectedVersion) -> Response:
    """Opens a supplement 补充完善 of a submitted certificate that isn't GREEN. What was accepted stands until it is submitted again."""
    asked = service_pb2.BeginSupplementRequest(certificate_id=certificate_id, expected_version=expected)
    return whole(request, (await means_of(request).services.certificate.BeginSupplement(asked)).certificate)


@router.post(
    "/certificates/{certificate_id}/light-objection", response_model=models.Certificate, responses=problems(401, 403, 409, 412)
)
async def contest_light(
    request: Request, certificate_id: Id, body: models.ObjectionRequest, who: Session, expected: ExpectedVersion
) -> Response:
    """Contests the YELLOW light of the submitted version, once; reviewers are shown the grounds with every later push. The light stays."""
    asked = service_pb2.ContestLightRequest(certificate_id=certificate_id, grounds=body.grounds, expected_version=expected)
    return whole(request, (await means_of(request).services.certificate.ContestLight(asked)).certificate)


@router.post("/certificates/{certificate_id}/discard", response_model=models.Certificate, responses=problems(401, 403, 409, 412))
async def discard(request: Request, certificate_id: Id, who: Session, expected: ExpectedVersion) -> Response:
    """Gives a draft up: it leaves the lists, its history stays readable. An open supplement: the accepted version stands."""
    asked = service_pb2.DiscardRequest(certificate_id=certificate_id, expected_version=expected)
    return whole(request, (await means_of(request).services.certificate.Discard(asked)).certificate)


# -- files -------------------------------------------------------------------------------------------------------------


@router.get(
    "/certificates/{certificate_id}/pages/{number}.png",
    response_class=Response,
    responses={**problems(401, 409), **file_response("image/png")},
)
async def get_page(request: Request, certificate_id: Id, number: Id, who: Session) -> Response:
    """A page of the document as seen, as picture. 409 `page_not_ready` until it was made."""
    means = means_of(request)
    return await page(means, (await look(means, certificate_id)).document, number)


@router.get(
    "/certificates/{certificate_id}/document",
    response_class=Response,
    responses={**problems(401), **file_response(*FILE_TYPES)},
)
async def get_document(request: Request, certificate_id: Id, who: Session) -> Response:
    """The document as it was uploaded."""
    means = means_of(request)
    return await original(means, (await look(means, certificate_id)).document)


@router.get(
    "/certificates/{certificate_id}/sealed.pdf",
    response_class=Response,
    responses={**problems(401), **file_response("application/pdf")},
)
async def get_sealed(request: Request, certificate_id: Id, who: Session) -> Response:
    """The document with the company's seal."""
    means = means_of(request)
    return await sealed(means, (await look(means, certificate_id)).seal)


async def page(means: Means, document: types_pb2.Document, number: str) -> Response:
    """One page's picture. Raises ``not_found``, ``page_not_ready``."""
    if not number.isdecimal() or int(number) not in {one.number for one in document.pages}:
        raise YunkuError("not_found")
    key = f"{document.sha256}/{int(number)}.png"
    try:
        return await means.objects.stream(objects.PAGES, key, "image/png", headers=FILE_HEADERS)
    except ObjectMissing:
        raise YunkuError("page_not_ready") from None


async def original(means: Means, document: types_pb2.Document) -> Response:
    """The uploaded file. Raises ``not_found`` where there is none."""
    if not document.sha256:
        raise YunkuError("not_found")
    kind = document.media_type if document.media_type in FILE_TYPES else "application/octet-stream"
    return await _file(means, objects.DOCUMENTS, document.sha256, kind, document.size, document.file_name or "document")


async def sealed(means: Means, one: types_pb2.Seal) -> Response:
    """The sealed PDF. Raises ``not_found`` where it isn't sealed."""
    if not one.sealed_sha256:
        raise YunkuError("not_found")
    return await _file(means, objects.SEALED, one.sealed_sha256, "application/pdf", one.size, "sealed.pdf")


async def _file(means: Means, bucket: str, key: str, media_type: str, size: int, name: str) -> Response:
    headers = {**FILE_HEADERS, "ETag": f'"{key}"', "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
    try:
        return await means.objects.stream(bucket, key, media_type, size=size or None, headers=headers)
    except ObjectMissing as error:
        # The event was recorded after the object was written: one that isn't there is damage, not absence.
        _log.error("object missing", object=str(error))
        raise YunkuError("internal") from None


# -- pushes ------------------------------------------------------------------------------------------------------------


@router.post("/certificates/{certificate_id}/pushes", status_code=201, response_model=models.Push, responses=problems(401, 403, 409))
async def request_push(request: Request, certificate_id: Id, body: models.PushRequest, who: Session) -> Response:
    """Pushes the submitted version to a domain for its review."""
    asked = service_pb2.RequestPushRequest(certificate_id=certificate_id, domain_id=body.domain)
    answer = await means_of(request).services.certificate.RequestPush(asked)
    made = push_record(answer.certificate, answer.push_id)
    return reply(request, render.push(made), 201)


@router.get("/certificates/{certificate_id}/pushes", response_model=models.PushPage, responses=problems(401))
async def list_pushes(request: Request, certificate_id: Id, who: Session) -> Response:
    """The push record 推送记录."""
    view = await look(means_of(request), certificate_id)
    return reply(request, models.PushPage(items=[render.push(one) for one in view.pushes], next_cursor=None))


@router.delete(
    "/certificates/{certificate_id}/pushes/{push_id}",
    response_model=models.Push,
    responses={202: {"model": models.Push, "description": "Asked for, not decided yet"}, **problems(401, 403, 409)},
)
async def withdraw_push(request: Request, certificate_id: Id, push_id: Id, who: Session) -> Response:
    """Takes a pending push back. A review that came first stands: 409 `push_not_pending`."""
    means = means_of(request)
    until = time.monotonic() + RECORD_SECONDS
    asked = service_pb2.WithdrawPushRequest(certificate_id=certificate_id, push_id=push_id)
    with means.live.bell(who.caller.require_subject()) as bell:
        record = push_record((await means.services.certificate.WithdrawPush(asked)).certificate, push_id)
        while record.state not in ("withdrawn", "approved", "rejected") and time.monotonic() < until and not means.live.stopping:
            await bell.wait(LOOK_SECONDS)
            record = push_record(await look(means, certificate_id), push_id)
    if record.state in ("approved", "rejected"):
        raise YunkuError("push_not_pending", state=record.state)
    return reply(request, render.push(record), 200 if record.state == "withdrawn" else 202)


def push_record(view: service_pb2.Certificate, push_id: str) -> service_pb2.PushRecord:
    """The line of one push; raises ``not_found``."""
    for one in view.pushes:
        if one.id == push_id:
            return one
    raise YunkuError("not_found")


# -- the operation record ----------------------------------------------------------------------------------------------


@router.get("/certificates/{certificate_id}/history", response_model=models.HistoryPage, responses=problems(401))
async def get_history(
    request: Request,
    certificate_id: Id,
    who: Session,
    limit: Annotated[int, Query(ge=1, le=500)] = 200,
    cursor: Cursor = "",
) -> Response:
    """The operation record 操作记录, from the log: every event, oldest first, with who, when and what changed."""
    means = means_of(request)
    after = cursor_number(cursor)
    view, history = await asyncio.gather(
        look(means, certificate_id),
        means.services.certificate.GetHistory(service_pb2.GetHistoryRequest(certificate_id=certificate_id)),
    )
    later = [one for one in history.items if one.number > after]
    shown = later[:limit]
    names, domains = await asyncio.gather(
        account_names(means, {one.actor_id for one in shown if one.actor_kind == "account"}),
        domain_names(means, bool(view.pushes)),
    )
    masked = view.holder.subject_id != who.caller.subject_id
    items = [render.history_item(one, names, domains, view.type, masked=masked) for one in shown]
    cursor_after = str(shown[-1].number) if len(later) > limit else None
    return reply(request, models.HistoryPage(items=items, next_cursor=cursor_after))


# -- versions ----------------------------------------------------------------------------------------------------------


@router.get("/certificates/{certificate_id}/versions", response_model=models.VersionPage, responses=problems(401))
async def get_versions(request: Request, certificate_id: Id, who: Session) -> Response:
    """Every version that entered the register, oldest first, and what changed from the one before; a successor's first is compared with
    the last of its predecessor."""
    found = await _versions(means_of(request), certificate_id)
    view = found.certificate
    masked = view.holder.subject_id != who.caller.subject_id
    told = models.VersionPage(
        items=[render.version(one, view.type, masked=masked) for one in found.items],
        state=render.word(view.state),
        predecessor_id=view.supersedes or None,
        successor_id=view.successor_id or None,
        next_cursor=None,
    )
    return reply(request, told)


@router.get(
    "/certificates/{certificate_id}/versions/{number}/document",
    response_class=Response,
    responses={**problems(401), **file_response(*FILE_TYPES)},
)
async def get_version_document(request: Request, certificate_id: Id, number: Id, who: Session) -> Response:
    """The document of a submitted version, as it was uploaded."""
    means = means_of(request)
    return await original(means, (await _version(means, certificate_id, number)).document)


@router.get(
    "/certificates/{certificate_id}/versions/{number}/sealed.pdf",
    response_class=Response,
    responses={**problems(401), **file_response("application/pdf")},
)
async def get_version_sealed(request: Request, certificate_id: Id, number: Id, who: Session) -> Response:
    """The sealed document of a submitted version."""
    means = means_of(request)
    return await sealed(means, (await _version(means, certificate_id, number)).seal)


async def _versions(means: Means, certificate_id: str) -> service_pb2.GetVersionsResponse:
    return await means.services.certificate.GetVersions(service_pb2.GetVersionsRequest(certificate_id=certificate_id))


async def _version(means: Means, certificate_id: str, number: str) -> service_pb2.Accepted:
    for one in (await _versions(means, certificate_id)).items:
        if str(one.number) == number:
            return one.accepted
    raise YunkuError("not_found")


def cursor_number(cursor: str) -> int:
    """Where a page of numbered lines goes on. Raises ``cursor_invalid``."""
    if not cursor:
        return 0
    if not cursor.isdecimal() or len(cursor) > 9:
        raise YunkuError("cursor_invalid", field="/cursor")
    return int(cursor)


async def account_names(means: Means, account_ids: Iterable[str]) -> dict[str, str]:
    """Names of the accounts, by id; of 500 at most."""
    wanted = sorted(account_ids)
    if not wanted:
        return {}
    answer = await means.services.identity.GetAccountNames(identity_pb2.GetAccountNamesRequest(account_ids=wanted[:500]))
    return dict(answer.names)


async def domain_names(means: Means, wanted: bool) -> dict[str, str]:
    """Names of the domains. An operation record without them is still one: where push is down, ids are shown."""
    if not wanted:
        return {}
    try:
        answer = await means.services.push.ListDomains(push_pb2.ListDomainsRequest(), timeout=2)
    except YunkuError:
        return {}
    return {one.id: one.name for one in answer.domains}


# -- small ones --------------------------------------------------------------------------------------------------------


async def look(means: Means, certificate_id: str) -> service_pb2.Certificate:
    """The certificate, where the caller may see it; ``not_found`` otherwise."""
    answer = await means.services.certificate.GetCertificate(service_pb2.GetCertificateRequest(certificate_id=certificate_id))
    return answer.certificate


def whole(
    request: Request,
    view: service_pb2.Certificate,
    status: int = 200,
    headers: dict[str, str] | None = None,
    *,
    masked: bool = False,
) -> Response:
    """A certificate as answer, with its ETag."""
    shown = render.certificate(view, expiring_days=means_of(request).settings.expiring_days, masked=masked)
    return reply(request, shown, status, etag=etag(view.version, view.revision), headers=headers)


def _box(corners: list[float]) -> types_pb2.Box:
    x0, y0, x1, y1 = corners
    return types_pb2.Box(x0=x0, y0=y0, x1=x1, y1=y1)
