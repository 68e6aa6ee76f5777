"""How a company's record is written down in an export: pure, so that ``yunku verify-export`` makes the same of the same events."""

import base64
import importlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from yunku.certificate.v1 import service_pb2, types_pb2
from yunku.kernel.v1 import kernel_pb2
from yunku.subject.v1 import persons_pb2
from yunku.subject.v1 import service_pb2 as subject_pb2

import catalogue
from kernel import texts
from kernel.eventlog.events import EventTypes

FORMAT: Final = "yunku-export:v2"
SUMMARY: Final = "summary.csv"
SUBJECT: Final = "subject.json"
PERSONS: Final = "persons/"
#: Columns of the summary; their heads are in kernel/texts.
COLUMNS: Final = (
    "id",
    "module",
    "type",
    "state",
    "light",
    "version",
    "unique_code",
    "fields",
    "file_name",
    "document_sha256",
    "sealed_sha256",
    "pushes",
    "created_at",
    "submitted_at",
)
_EXTENSIONS: Final = {"application/pdf": ".pdf", "image/jpeg": ".jpg", "image/png": ".png", "image/tiff": ".tif"}


def json_bytes(value: Any) -> bytes:
    """JSON for people and machines, always the same for the same value."""
    return (json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()


def message_bytes(message: Message) -> bytes:
    """A message as a JSON file."""
    return json_bytes(_dict(message))


def subject_bytes(subject: subject_pb2.Subject, versions: Iterable[subject_pb2.ProfileVersion]) -> bytes:
    """The company with every submission of its basic information."""
    return json_bytes({**_dict(subject), "profile_versions": [_dict(one) for one in versions]})


def person_name(person_id: str) -> str:
    """Where a person is in the archive."""
    return f"{PERSONS}{person_id}.json"


def person_bytes(
    person: persons_pb2.Person, history: Iterable[subject_pb2.PersonHistoryItem], sections: Mapping[str, Sequence[str]]
) -> bytes:
    """A person as the company sees them, what happened between the two, and the certificates of each section."""
    return json_bytes({"person": _dict(person), "history": [_dict(one) for one in history], "sections": sections})


class Sections:
    """The certificates of persons, by the section that the catalogue shows each in; automatic sections have none of their own."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, list[str]]] = {}

    def add(self, view: service_pb2.Certificate) -> None:
        """Puts a certificate where it stands."""
        known = catalogue.load()
        if view.person_id and known.has_type(view.type):
            self._found.setdefault(view.person_id, {}).setdefault(known.type(view.type).section, []).append(view.id)

    def of(self, person_id: str) -> Mapping[str, Sequence[str]]:
        """A person's certificates, by section."""
        return self._found.get(person_id, {})


def _dict(message: Message) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)


def line(record: kernel_pb2.EventRecord) -> bytes:
    """One stored event as a line of JSON: every column as it is stored, which its hash covers, and what its payload says, to be read."""
    shown = {
        "position": record.position,
        "log_hash": record.log_hash.hex(),
        "event_id": record.event_id,
        "stream_id": record.stream_id,
        "version": record.version,
        "type": record.type,
        "schema_version": record.schema_version,
        "recorded_at_us": record.recorded_at.ToMicroseconds(),
        "payload": base64.b64encode(record.payload).decode(),
        "metadata": base64.b64encode(record.metadata).decode(),
        "previous_hash": record.previous_hash.hex(),
        "hash": record.hash.hex(),
        "data": _said(record),
    }
    return (json.dumps(shown, ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n").encode()


@cache
def types_of(service: str) -> EventTypes:
    """The event types of a service as they are written today."""
    return EventTypes(importlib.import_module(f"yunku.{service}.v1.events_pb2"))


def _said(record: kernel_pb2.EventRecord) -> dict[str, Any]:
    try:
        data = types_of(record.type.split(".")[1]).decode(record.type, record.schema_version, record.payload)
    except LookupError:
        # Written in an older version, which only its own service reads; the bytes are there.
        return {}
    return _dict(data)


def record_of(text: bytes) -> kernel_pb2.EventRecord:
    """The reverse of ``line``. Raises ValueError, KeyError or TypeError for what is no such line."""
    told = json.loads(text)
    record = kernel_pb2.EventRecord(
        position=told["position"],
        log_hash=bytes.fromhex(told["log_hash"]),
        event_id=told["event_id"],
        stream_id=told["stream_id"],
        version=told["version"],
        type=told["type"],
        schema_version=told["schema_version"],
        payload=base64.b64decode(told["payload"], validate=True),
        metadata=base64.b64decode(told["metadata"], validate=True),
        previous_hash=bytes.fromhex(told["previous_hash"]),
        hash=bytes.fromhex(told["hash"]),
    )
    record.recorded_at.FromMicroseconds(told["recorded_at_us"])
    return record


def head() -> list[str]:
    """The first line of the summary."""
    return [texts.text(f"export.column.{name}") for name in COLUMNS]


def row(view: service_pb2.Certificate) -> list[str]:
    """A certificate's line of the summary."""
    known = catalogue.load()
    kind = known.type(view.type) if known.has_type(view.type) else None
    labels = {field.name: field.label for field in kind.fields} if kind else {}
    stated = "；".join(f"{labels.get(name, name)}：{value}" for name, value in sorted(view.fields.items()))
    return [
        view.id,
        known.module(kind.module).label if kind else "",
        kind.label if kind else view.type,
        texts.text(f"export.state.{view.state}"),
        texts.text(f"light.{types_pb2.Light.Name(view.light).removeprefix('LIGHT_')}"),
        str(view.version),
        view.unique_code,
        stated,
        view.document.file_name,
        view.document.sha256,
        view.seal.sealed_sha256,
        str(len(view.pushes)),
        view.created_at.ToJsonString(),
        view.submitted_at.ToJsonString() if view.HasField("submitted_at") else "",
    ]


def person_row(person: persons_pb2.Person) -> list[str]:
    """A person's line of the summary, in the columns of certificates; empty where these say nothing of a person."""
    told = {
        "name": person.name,
        "number": person.number,
        "phone": person.phone,
        "position": person.position,
        "bound_on": person.bound_on,
        "unbound_on": person.unbound_on,
    }
    cells = {
        "id": person.id,
        "module": catalogue.load().module("persons").label,
        "type": texts.text("export.person.type"),
        "state": texts.text(f"export.person.{person.state}"),
        "version": str(person.version),
        "fields": "；".join(f"{texts.text(f'export.person.{name}')}：{value}" for name, value in told.items() if value),
        "created_at": person.bound_at.ToJsonString(),
    }
    return [cells.get(name, "") for name in COLUMNS]


def document_name(document: types_pb2.Document) -> str:
    """Where a document is in the archive."""
    return f"objects/documents/{document.sha256}{_EXTENSIONS.get(document.media_type, '')}"


def sealed_name(sha256: str) -> str:
    """Where a sealed PDF is in the archive."""
    return f"objects/sealed/{sha256}.pdf"


def trust_name(sha256: str) -> str:
    """Where what a seal was judged by is in the archive."""
    return f"objects/trust/{sha256}.json"


def objects(events: Iterable[Message]) -> Iterator[tuple[str, str, str]]:
    """(name in the archive, bucket, key) of every object that a certificate's or a seal's events name."""
    for event in events:
        match event.DESCRIPTOR.name:
            case "CertificateUploaded":
                document = event.document  # type: ignore[attr-defined]
                yield document_name(document), "documents", document.sha256
            case "SealRecorded":
                sha256 = event.seal.sealed_sha256  # type: ignore[attr-defined]
                yield sealed_name(sha256), "sealed", sha256
            case "Signed":
                sha256 = json.loads(event.validation_json)["trust_sha256"]  # type: ignore[attr-defined]
                yield trust_name(sha256), "sealed", f"trust/{sha256}"


def manifest(
    *,
    export_id: str,
    subject_id: str,
    made_at: str,
    catalogue_version: str,
    heads: Mapping[str, Mapping[str, Any]],
    missing: Sequence[str],
    files: Mapping[str, Mapping[str, Any]],
) -> bytes:
    """The manifest: everything that is in the archive beside it, and where every log of the suite stood."""
    told = {
        "format": FORMAT,
        "export_id": export_id,
        "subject_id": subject_id,
        "made_at": made_at,
        "catalogue_version": catalogue_version,
        "heads": heads,
        "missing": sorted(missing),
        "files": files,
    }
    return json_bytes(told)
