"""``python -m ops.asyncapi``: writes docs/asyncapi.json, every message that travels over NATS (AsyncAPI 3.0).

Two worlds, that never meet: the services' own events, made from ``proto/`` with its comments; and the CloudEvents that domains'
systems receive and answer with, made from the push service's models. ``--check`` says whether the file is current (exit code 1 if
not). Specification: https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import grpc_tools  # type: ignore[import-untyped]
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet
from grpc_tools import protoc
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from kernel import nats_accounts, topology
from kernel.eventlog import wire
from kernel.eventlog.rebuild import declared
from services.push import cloudevents

ROOT: Final = Path(__file__).resolve().parents[1]
TARGET: Final = ROOT / "docs" / "asyncapi.json"

_SCHEMAS: Final = "#/components/schemas/"
#: How protobuf's scalars stand in JSON (https://protobuf.dev/programming-guides/json/).
_SCALARS: Final[dict[int, dict[str, Any]]] = {
    FieldDescriptorProto.TYPE_STRING: {"type": "string"},
    FieldDescriptorProto.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptorProto.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptorProto.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptorProto.TYPE_UINT32: {"type": "integer", "format": "uint32", "minimum": 0},
    FieldDescriptorProto.TYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptorProto.TYPE_UINT64: {"type": "string", "format": "uint64"},
    FieldDescriptorProto.TYPE_FLOAT: {"type": "number"},
    FieldDescriptorProto.TYPE_DOUBLE: {"type": "number"},
}
_TIMESTAMP: Final = ".google.protobuf.Timestamp"

_HEADERS: Final[Mapping[str, str]] = {
    wire.HEADER_MESSAGE_ID: "Id of the event; JetStream stores it once",
    wire.HEADER_TYPE: "Full protobuf name of the payload",
    wire.HEADER_SCHEMA: "Schema version of the payload",
    wire.HEADER_STREAM: "Stream (aggregate) of the event, UUID",
    wire.HEADER_VERSION: "Version of the stream, from 1",
    wire.HEADER_POSITION: "Dense position in the service's log, from 1",
    wire.HEADER_RECORDED_AT: "When it was recorded, RFC 3339",
    wire.HEADER_METADATA: "yunku.kernel.v1.EventMetadata, base64",
    wire.HEADER_PREVIOUS_HASH: "Hash of the stream's previous event, hex",
    wire.HEADER_HASH: "SHA-256 over the whole event and the previous hash, hex",
    wire.HEADER_LOG_HASH: "Rolling hash over the log up to this position, hex",
    wire.HEADER_CORRELATION: "Shared by all that follows from one request from outside",
    wire.HEADER_SUBJECT: "Company that the event concerns, if one",
    wire.HEADER_TRACE: "W3C trace context, if traced",
}
_OPTIONAL_HEADERS: Final = frozenset({wire.HEADER_SUBJECT, wire.HEADER_TRACE})


# -- protobuf to JSON Schema -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Type:
    """A message or enum of the protos, with the comments that stand before it and its members."""

    descriptor: DescriptorProto | EnumDescriptorProto
    comment: str
    members: tuple[str, ...]


def _parsed() -> dict[str, _Type]:
    """Every message and enum of ``proto/`` by its full name, with a dot before it. Raises RuntimeError where protoc fails."""
    files = sorted(str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto").rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "all.pb"
        includes = [f"-I{ROOT / 'proto'}", f"-I{Path(grpc_tools.__file__).parent / '_proto'}"]
        if protoc.main(["protoc", *includes, "--include_imports", "--include_source_info", f"--descriptor_set_out={out}", *files]):
            raise RuntimeError("protoc failed")
        found = FileDescriptorSet.FromString(out.read_bytes())
    return {name: one for file in found.file if file.name in files for name, one in _types_of(file)}


def _types_of(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, _Type]]:
    comments = {tuple(at.path): " ".join(at.leading_comments.split()) for at in file.source_code_info.location}

    # Paths of descriptor.proto: file.message_type is 4, file.enum_type 5; message.nested_type 3, .enum_type 4; members are 2 in both.
    def walk(
        messages: Iterable[DescriptorProto],
        enums: Iterable[EnumDescriptorProto],
        prefix: str,
        path: tuple[int, ...],
        kinds: tuple[int, int],
    ) -> Iterator[tuple[str, _Type]]:
        for number, message in enumerate(messages):
            own = (*path, kinds[0], number)
            members = tuple(comments.get((*own, 2, n), "") for n in range(len(message.field)))
            yield f"{prefix}.{message.name}", _Type(message, comments.get(own, ""), members)
            yield from walk(message.nested_type, message.enum_type, f"{prefix}.{message.name}", own, (3, 4))
        for number, enum in enumerate(enums):
            own = (*path, kinds[1], number)
            members = tuple(comments.get((*own, 2, n), "") for n in range(len(enum.value)))
            yield f"{prefix}.{enum.name}", _Type(enum, comments.get(own, ""), members)

    yield from walk(file.message_type, file.enum_type, f".{file.package}", (), (4, 5))


def _schema(one: _Type, types: Mapping[str, _Type]) -> dict[str, Any]:
    """JSON Schema of a type's JSON mapping, field names as in the proto."""
    described = {"description": one.comment} if one.comment else {}
    if isinstance(one.descriptor, EnumDescriptorProto):
        meanings = [f"{value.name}: {text}" for value, text in zip(one.descriptor.value, one.members, strict=True) if text]
        text = " ".join((one.comment, *meanings)).strip()
        return {**({"description": text} if text else {}), "type": "string", "enum": [value.name for value in one.descriptor.value]}
    properties = {}
    for field, comment in zip(one.descriptor.field, one.members, strict=True):
        schema = _field_schema(field, types)
        properties[field.name] = {**schema, "description": comment} if comment else schema
    return {**described, "type": "object", "properties": properties}


def _field_schema(field: FieldDescriptorProto, types: Mapping[str, _Type]) -> dict[str, Any]:
    entry = types.get(field.type_name)
    if entry is not None and isinstance(entry.descriptor, DescriptorProto) and entry.descriptor.options.map_entry:
        return {"type": "object", "additionalProperties": _value_schema(entry.descriptor.field[1])}
    value = _value_schema(field)
    return {"type": "array", "items": value} if field.label == FieldDescriptorProto.LABEL_REPEATED else value


def _value_schema(field: FieldDescriptorProto) -> dict[str, Any]:
    if field.type_name == _TIMESTAMP:
        return {"type": "string", "format": "date-time"}
    if field.type_name:
        return {"$ref": _SCHEMAS + field.type_name[1:]}
    return dict(_SCALARS[field.type])


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name == "$ref":
                yield value.removeprefix(_SCHEMAS)
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


# -- the document ------------------------------------------------------------------------------------------------------


def document() -> dict[str, Any]:
    """The whole document."""
    types = _parsed()
    schemas: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for service in topology.LOG_SERVICES:
        _service(service, types, schemas, messages, channels, operations)
    _dead_letters(messages, channels, operations)
    _domains(schemas, messages, channels, operations)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Yunku 云库: messages over NATS",
            "version": "1",
            "description": (
                "Generated by `python -m ops.asyncapi`; don't edit. Domains' systems (应用领域) see the channels `push` and `review` of "
                "their own NATS account and nothing else; all other channels are the services' own. Payloads of the services' events "
                "are protobuf; their schemas here show the JSON mapping."
            ),
        },
        "defaultContentType": "application/x-protobuf",
        "servers": {
            "services": {"host": "127.0.0.1:4222", "protocol": "nats", "description": "Account YUNKU: one user a service."},
            "domain": {
                "host": "127.0.0.1:4222",
                "protocol": "nats",
                "description": "One account a domain. Its system logs in with the credentials file that registration made (JWT and nkey).",
            },
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": dict(sorted(schemas.items())),
            "messageTraits": {"event": {"headers": _event_headers()}},
        },
    }


def _event_headers() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in _HEADERS.items()},
        "required": [name for name in _HEADERS if name not in _OPTIONAL_HEADERS],
    }


def _service(
    service: str,
    types: Mapping[str, _Type],
    schemas: dict[str, Any],
    messages: dict[str, Any],
    channels: dict[str, Any],
    operations: dict[str, Any],
) -> None:
    """The events of one service: a channel for each, because each has a subject."""
    listeners = sorted(name for name, producers in topology.LISTENS.items() if service in producers)
    for aggregate in declared(service).aggregates:
        for event in aggregate.events:
            full, name = event.DESCRIPTOR.full_name, event.DESCRIPTOR.name
            key = f"{service}.{name}"
            _add_schema(full, types, schemas)
            comment = types[f".{full}"].comment
            messages[key] = {
                "name": full,
                "title": name,
                **({"summary": comment} if comment else {}),
                "contentType": "application/x-protobuf",
                "traits": [{"$ref": "#/components/messageTraits/event"}],
                "payload": {"$ref": _SCHEMAS + full},
                "x-protobuf-message": full,
            }
            channels[key] = {
                "address": topology.event_subject(service, full),
                "servers": [{"$ref": "#/servers/services"}],
                "description": f"Stream {topology.stream_name(service)}; aggregate {aggregate.name}.",
                "messages": {name: {"$ref": f"#/components/messages/{key}"}},
            }
            readers = ", ".join((*listeners, "the gateway (live updates)"))
            operations[f"{service}.publish.{name}"] = {
                "action": "send",
                "channel": {"$ref": f"#/channels/{key}"},
                "summary": f"{service} publishes it out of its log; read by {readers}.",
                "messages": [{"$ref": f"#/channels/{key}/messages/{name}"}],
            }


def _add_schema(full: str, types: Mapping[str, _Type], schemas: dict[str, Any]) -> None:
    if full in schemas:
        return
    schemas[full] = _schema(types[f".{full}"], types)
    for other in _references(schemas[full]):
        _add_schema(other, types, schemas)


def _dead_letters(messages: dict[str, Any], channels: dict[str, Any], operations: dict[str, Any]) -> None:
    messages["dead_letter"] = {
        "name": "dead_letter",
        "summary": "An event that a consumer could not apply: as it was published, with the error; an operator replays it.",
        "contentType": "application/x-protobuf",
        "headers": {
            "type": "object",
            "properties": {
                "Yunku-Event-Id": {"type": "string", "description": "Id of the event"},
                "Yunku-Error": {"type": "string", "description": "Why it could not be applied"},
            },
            "required": ["Yunku-Event-Id", "Yunku-Error"],
        },
        "payload": {"description": "The event's payload, as in its own channel."},
    }
    channels["dead_letters"] = {
        "address": topology.dead_letter_subject("{consumer}", "{producer}"),
        "servers": [{"$ref": "#/servers/services"}],
        "description": f"Stream {topology.DEAD_LETTERS}.",
        "parameters": {
            "consumer": {"description": "Service that could not apply the event", "enum": list(topology.LISTENS)},
            "producer": {"description": "Service whose event it is", "enum": list(topology.LOG_SERVICES)},
        },
        "messages": {"dead_letter": {"$ref": "#/components/messages/dead_letter"}},
    }
    operations["park"] = {
        "action": "send",
        "channel": {"$ref": "#/channels/dead_letters"},
        "summary": "A consumer parks an event, visibly.",
        "messages": [{"$ref": "#/channels/dead_letters/messages/dead_letter"}],
    }


def _domains(schemas: dict[str, Any], messages: dict[str, Any], channels: dict[str, Any], operations: dict[str, Any]) -> None:
    """The two channels of a domain's account."""
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "serialization") for model in cloudevents.OUTGOING]
    wanted += [(model, "validation") for model in cloudevents.INCOMING]
    wanted.append((cloudevents.ReviewAnswer, "validation"))
    refs, made = models_json_schema(wanted, ref_template=_SCHEMAS + "{model}")
    schemas.update({name: dict(schema) for name, schema in made["$defs"].items()})
    channels["push"] = _domain_channel("push", nats_accounts.push_subject("{domain}"), nats_accounts.PUSH_STREAM)
    channels["push"]["description"] += (
        f" Its durable consumer `{nats_accounts.SYSTEM_DURABLE}` is made for the domain's system: what is acknowledged there counts as "
        "received. What was not is published again after a loss of the stream."
    )
    channels["review"] = _domain_channel("review", nats_accounts.review_subject("{domain}"), nats_accounts.REVIEW_STREAM)
    channels["review"]["description"] += (
        f" A message is at most {cloudevents.MAX_ANSWER} bytes and {cloudevents.MAX_DEPTH} levels deep. What is refused changes nothing, "
        "and the domain is told by `yunku.review.refused`."
    )
    for model, mode in wanted[:-1]:
        channel = "push" if mode == "serialization" else "review"
        (kind,) = get_args(model.model_fields["type"].annotation)
        _add_domain_message(channel, kind, model.__doc__ or "", refs[model, mode], messages, channels)
    bare = refs[cloudevents.ReviewAnswer, "validation"]
    _add_domain_message("review", "bare_review", "The data of a review without an envelope.", bare, messages, channels)
    messages["bare_review"]["contentType"] = "application/json"
    operations["tell_domain"] = {
        "action": "send",
        "channel": {"$ref": "#/channels/push"},
        "summary": "The register tells a domain of pushes, withdrawals, appeals, decisions made elsewhere, and refused answers.",
    }
    operations["take_answer"] = {
        "action": "receive",
        "channel": {"$ref": "#/channels/review"},
        "summary": "The register takes in what the domain's system answers, once for each source and id.",
    }


def _domain_channel(name: str, address: str, stream: str) -> dict[str, Any]:
    return {
        "address": address,
        "servers": [{"$ref": "#/servers/domain"}],
        "description": f"Stream {stream} of the domain's own account; CloudEvents 1.0, JSON, structured mode.",
        "parameters": {"domain": {"description": f"Id of the domain: {nats_accounts.DOMAIN_ID.pattern}"}},
        "messages": {},
    }


def _add_domain_message(channel: str, kind: str, summary: str, schema: Any, messages: dict[str, Any], channels: dict[str, Any]) -> None:
    messages[kind] = {
        "name": kind,
        "summary": summary,
        "contentType": "application/cloudevents+json",
        "payload": dict(schema),
    }
    if channel == "push":
        header = {"type": "string", "description": "The CloudEvent's id"}
        messages[kind]["headers"] = {"type": "object", "properties": {wire.HEADER_MESSAGE_ID: header}, "required": [wire.HEADER_MESSAGE_ID]}
    channels[channel]["messages"][kind] = {"$ref": f"#/components/messages/{kind}"}


def text() -> str:
    """The document as it is kept in docs/asyncapi.json."""
    return json.dumps(document(), ensure_ascii=False, indent=1) + "\n"


def main() -> int:
    """Writes docs/asyncapi.json, or checks it with ``--check``; returns the exit code."""
    made = text()
    if "--check" in sys.argv[1:]:
        current = TARGET.exists() and TARGET.read_text("utf-8") == made
        print("docs/asyncapi.json is current" if current else "docs/asyncapi.json is stale: run python -m ops.asyncapi")
        return 0 if current else 1
    TARGET.write_text(made, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
