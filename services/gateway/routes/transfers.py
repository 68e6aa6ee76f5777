"""Many entries at once into the register, and a company's whole record out of it (http-api.md, "Imports and exports")."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi import Body as BodyOf
from yunku.certificate.v1 import events_pb2, transfer_pb2

import catalogue
from catalogue import CertificateType
from kernel import spreadsheets, texts
from kernel.errors import YunkuError
from services.gateway import models, objects, problems, render, uploads
from services.gateway.means import Means, means_of
from services.gateway.objects import ObjectMissing
from services.gateway.replies import problems as refusals
from services.gateway.replies import reply
from services.gateway.routes import API
from services.gateway.routes.certificates import FILE_HEADERS, Cursor, Id, Limit, file_response
from services.gateway.sessions import Session

router = APIRouter(prefix=API, tags=["imports and exports"])

#: The archive is looked through and its table read before the answer. Seconds.
_LOOK_SECONDS: Final = 60
#: Columns of a template before the fields; what they mean is in http-api.md.
_FIXED: Final = ("row_key", "type", "mode", "person", "performance", "document", "absent", "marks", "verify")
_REPORT: Final = ("row", "key", "type", "outcome", "certificate_id", "column", "code", "message")
_MULTIPART: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary", "description": "ZIP: entries.csv, documents/…, marks/…"}},
                }
            }
        },
    }
}


# -- imports -----------------------------------------------------------------------------------------------------------


@router.post(
    "/imports",
    status_code=202,
    response_model=models.Import,
    responses=refusals(401, 403, 408, 413, 415),
    openapi_extra=_MULTIPART,
)
async def request_import(request: Request, who: Session) -> Response:
    """Imports many entries from an archive with a table and files. What can't be read at all is refused at once; the rows are carried
    out in the background, each by itself. The same archive again adds nothing twice."""
    means = means_of(request)
    subject_id = who.caller.require_subject()
    settings = means.settings
    async with means.uploading(), uploads.receive(request, settings.uploads, settings.import_bytes, uploads.archive) as file:
        await means.objects.put_import(subject_id, file.sha256, file.file, file.size)
        asked = transfer_pb2.RequestImportRequest(sha256=file.sha256, size=file.size, file_name=file.name)
        made = (await means.services.transfer.RequestImport(asked, timeout=_LOOK_SECONDS)).view
    return reply(request, render.import_(made), 202, headers={"Location": f"{API}/imports/{made.id}"})


@router.get("/imports", response_model=models.ImportPage, responses=refusals(401, 403))
async def list_imports(request: Request, who: Session, limit: Limit = 50, cursor: Cursor = "") -> Response:
    """The company's imports, newest first."""
    asked = transfer_pb2.ListImportsRequest(limit=limit, cursor=cursor)
    found = await means_of(request).services.transfer.ListImports(asked)
    return reply(request, models.ImportPage(items=[render.import_(one) for one in found.items], next_cursor=found.next_cursor or None))


@router.get(
    "/imports/template",
    response_class=Response,
    responses={**refusals(401), **file_response("text/csv")},
)
async def import_template(request: Request, who: Session, type: Annotated[list[str], Query(max_length=100)]) -> Response:
    """An empty table for entries of the given type or types: its head, and a line for each type to begin with."""
    known = catalogue.load()
    for code in type:
        if not known.has_type(code):
            raise YunkuError("type_unknown", field="/type")
    kinds = [known.type(code) for code in dict.fromkeys(type)]
    return _csv(spreadsheets.table(template(kinds)), "import-template.csv")


def template(kinds: list[CertificateType]) -> list[list[str]]:
    """Head and first lines of a table. Each head says its Chinese text and, in brackets, the name that counts."""
    fields = list({field.name: field for kind in kinds for field in kind.fields}.values())
    heads = [f"{texts.text(f'import.column.{name}')}[{name}]" for name in _FIXED]
    heads += [f"{field.label}[{'fields.' if field.name in _FIXED else ''}{field.name}]" for field in fields]
    blank = [""] * (len(heads) - 3)
    return [heads, *(["", kind.code, "MANUAL" if "MANUAL" in kind.modes else kind.modes[0], *blank] for kind in kinds)]


@router.get("/imports/{import_id}", response_model=models.ImportReport, responses=refusals(401))
async def get_import(
    request: Request,
    import_id: Id,
    who: Session,
    limit: Annotated[int, Query(ge=0, le=1000)] = 200,
    cursor: Cursor = "",
) -> Response:
    """How far an import is, and the report of the rows carried out so far, in the table's order."""
    after = int(cursor) if cursor.isascii() and cursor.isdecimal() and len(cursor) < 9 else 0
    if cursor and not after:
        raise YunkuError("cursor_invalid", field="/cursor")
    view, rows = await _import(means_of(request), import_id, after, limit)
    done = view.created + view.updated + view.unchanged + view.failed
    further = bool(rows) and rows[-1].row < done
    shown = models.ImportReport(
        **render.import_(view).model_dump(),
        items=[_row(one) for one in rows],
        next_cursor=str(rows[-1].row) if further else None,
    )
    return reply(request, shown)


@router.get("/imports/{import_id}/report.csv", response_class=Response, responses={**refusals(401), **file_response("text/csv")})
async def get_import_report(request: Request, import_id: Id, who: Session) -> Response:
    """The whole report so far, for a spreadsheet: a line for each row, and for each thing wrong with it."""
    _, rows = await _import(means_of(request), import_id, 0, 1000)
    lines = [[texts.text(f"import.report.{name}") for name in _REPORT]]
    for one in map(_row, rows):
        said = [str(one.row), one.key or "", one.type or "", texts.text(f"import.outcome.{one.outcome}"), one.certificate_id or ""]
        lines += [[*said, error.column or "", error.code, error.message] for error in one.errors] or [[*said, "", "", ""]]
    return _csv(spreadsheets.table(lines), "import-report.csv")


async def _import(means: Means, import_id: str, after: int, limit: int) -> tuple[transfer_pb2.Import, list[events_pb2.ImportRowDone]]:
    answer = await means.services.transfer.GetImport(transfer_pb2.GetImportRequest(import_id=import_id, after_row=after, limit=limit))
    return answer.view, list(answer.rows)


def _row(one: events_pb2.ImportRowDone) -> models.ImportRow:
    errors = [
        models.ImportRowError(
            pointer=error.pointer, column=error.column or None, code=error.code, message=problems.message(error.code, error.params)
        )
        for error in one.errors
    ]
    return models.ImportRow(
        row=one.row,
        key=one.key or None,
        type=one.type or None,
        outcome=render.word(one.outcome),
        certificate_id=one.certificate_id or None,
        errors=errors,
    )


def _csv(data: bytes, name: str) -> Response:
    headers = {**FILE_HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(data, 200, headers, media_type="text/csv; charset=utf-8")


# -- exports -----------------------------------------------------------------------------------------------------------


@router.post("/exports", status_code=202, response_model=models.Export, responses=refusals(401, 403))
async def request_export(request: Request, who: Session, body: Annotated[models.ExportRequest | None, BodyOf()] = None) -> Response:
    """Puts the company's whole record into one archive, in the background. Auditors name the company."""
    asked = transfer_pb2.RequestExportRequest(subject_id=(body and body.subject_id) or "")
    made = (await means_of(request).services.transfer.RequestExport(asked)).view
    return reply(request, render.export(made), 202, headers={"Location": f"{API}/exports/{made.id}"})


@router.get("/exports", response_model=models.ExportPage, responses=refusals(401, 403))
async def list_exports(request: Request, who: Session, limit: Limit = 50, cursor: Cursor = "") -> Response:
    """The company's exports, newest first."""
    asked = transfer_pb2.ListExportsRequest(limit=limit, cursor=cursor)
    found = await means_of(request).services.transfer.ListExports(asked)
    return reply(request, models.ExportPage(items=[render.export(one) for one in found.items], next_cursor=found.next_cursor or None))


@router.get("/exports/{export_id}", response_model=models.Export, responses=refusals(401))
async def get_export(request: Request, export_id: Id, who: Session) -> Response:
    """How far an export is, and what its archive holds."""
    return reply(request, render.export(await _export(means_of(request), export_id)))


@router.get("/exports/{export_id}/archive", response_class=Response, responses={**refusals(401, 409), **file_response("application/zip")})
async def get_export_archive(request: Request, export_id: Id, who: Session) -> Response:
    """The archive. 409 `export_not_ready` until it was made, `export_failed` where it can't be, `export_expired` once it was dropped."""
    means = means_of(request)
    view = await _export(means, export_id)
    if view.state != "done":
        raise YunkuError("export_not_ready" if view.state == "waiting" else f"export_{view.state}")
    headers: dict[str, Any] = {
        **FILE_HEADERS,
        "Content-Disposition": f'attachment; filename="yunku-export-{view.id}.zip"',
        "ETag": f'"{view.archive_sha256}"',
    }
    key = f"exports/{view.id}/{view.archive_sha256}"
    try:
        return await means.objects.stream(objects.TRANSFERS, key, "application/zip", size=view.archive_size, headers=headers)
    except ObjectMissing:
        raise YunkuError("export_expired") from None


async def _export(means: Means, export_id: str) -> transfer_pb2.Export:
    return (await means.services.transfer.GetExport(transfer_pb2.GetExportRequest(export_id=export_id))).view
