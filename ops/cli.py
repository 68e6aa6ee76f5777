"""``yunku``: what operators do to a running suite. ``yunku --help`` lists it; docs/operations.md tells when to use what."""

import argparse
import asyncio
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from psycopg import sql

from kernel.eventlog import rebuild
from kernel.eventlog.events import EVENT_COLUMNS, RecordedEvent, row_to_event
from kernel.eventlog.hashing import GENESIS, log_hash
from kernel.eventlog.wire import from_message
from kernel.topology import LOG_SERVICES, stream_name
from ops.access import Access, AccessError


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; answers the exit code: 0 well, 1 something is wrong with the suite, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="yunku", description="Operate a Yunku suite.")
    parser.add_argument("--data", type=Path, help="data directory of an embedded suite (default: YUNKU_DATA or .yunku)")
    commands = parser.add_subparsers(dest="command", required=True)

    check = commands.add_parser("check", help="verify the invariants over databases, object store and streams")
    check.add_argument("--json", action="store_true", help="machine-readable")
    verify = commands.add_parser("verify-chain", help="recompute every hash of a log, and compare with what consumers witnessed")
    verify.add_argument("service", choices=LOG_SERVICES)
    again = commands.add_parser("rebuild", help="build read models anew from the log and swap them in, while the service runs")
    again.add_argument("service", choices=LOG_SERVICES)
    again.add_argument("name", nargs="?", help="one read model; default: all of the service")
    follow = commands.add_parser("replay", help="let a projection that follows the log begin again from position 1, in place")
    follow.add_argument("service", choices=LOG_SERVICES)
    follow.add_argument("name")
    republish = commands.add_parser("republish", help="empty a service's stream; its publisher fills it again from the log")
    republish.add_argument("service", choices=LOG_SERVICES)
    letters = commands.add_parser("dead-letters", help="events that a consumer could not apply")
    actions = letters.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="what is parked, and why")
    replay = actions.add_parser("replay", help="have the consumer try again, in order")
    replay.add_argument("consumer", choices=LOG_SERVICES)
    replay.add_argument("producer", choices=LOG_SERVICES)
    replay.add_argument("--position", type=int, help="only this one (default: all of that producer)")
    decode = commands.add_parser("decode", help="an event's payload on standard input as JSON (a filter for `nats sub --translate`)")
    decode.add_argument("type", help="subject (yunku.certificate.Submitted) or proto name (yunku.certificate.v1.Submitted)")
    export = commands.add_parser("verify-export", help="check the archive of a company's export, without the suite")
    export.add_argument("file", type=Path, help="the archive")
    export.add_argument("--roots", type=Path, required=True, help="PEM file of the root certificates that seals are trusted by")
    export.add_argument("--manifest", default="", metavar="SHA256", help="of the manifest, as GET /api/v1/exports/{id} and the log tell it")
    tail = commands.add_parser("tail", help="events as they are published, one JSON line each")
    tail.add_argument("service", nargs="?", default="*", help="one service; default: all")
    show = commands.add_parser("log", help="the log of a service, one JSON line per event")
    show.add_argument("service", choices=LOG_SERVICES)
    show.add_argument("--from", dest="first", type=int, default=1, help="position to begin at")
    show.add_argument("--stream", help="only this stream (e.g. a certificate's id)")
    given = parser.parse_args(arguments)
    if given.command == "decode":
        return _decode(given.type, sys.stdin.buffer.read())
    if given.command == "verify-export":
        from ops.verify_export import verify_export

        try:
            return 1 if asyncio.run(verify_export(given.file, given.roots.read_bytes(), given.manifest)) else 0
        except OSError as unreadable:
            print(f"yunku: {unreadable}", file=sys.stderr)
            return 2
    try:
        access = Access.find(given.data)
    except AccessError as unreachable:
        print(f"yunku: {unreachable}", file=sys.stderr)
        return 2
    match given.command:
        case "check":
            from ops.check import check as run_check

            return 1 if asyncio.run(run_check(access, as_json=given.json)) else 0
        case "verify-chain":
            return _verify_chain(access, given.service)
        case "rebuild":
            return _rebuild(access, given.service, given.name)
        case "replay":
            return _replay(access, given.service, given.name)
        case "republish":
            return asyncio.run(_republish(access, given.service))
        case "dead-letters" if given.action == "list":
            return _list_parked(access)
        case "dead-letters":
            return _replay_parked(access, given.consumer, given.producer, given.position)
        case "tail":
            return asyncio.run(_tail(access, given.service))
        case "log":
            return _show_log(access, given.service, given.first, given.stream)
    return 2


def _types(service: str) -> Any:
    return rebuild.declared(service).types


def _as_dict(event: RecordedEvent) -> dict[str, Any]:
    meta = event.meta
    return {
        "position": event.position,
        "at": event.recorded_at.isoformat(),
        "type": event.type,
        "stream": str(event.stream_id),
        "version": event.version,
        "actor": f"{meta.actor_kind}:{meta.actor_id}",
        "subject": meta.acting_subject_id,
        "correlation": meta.correlation_id,
        "data": MessageToDict(event.data, preserving_proto_field_name=True),
    }


def _print(line: dict[str, Any]) -> None:
    print(json.dumps(line, ensure_ascii=False), flush=True)


def _decode(name: str, payload: bytes) -> int:
    parts = name.split(".")
    service = parts[1] if len(parts) >= 3 and parts[0] == "yunku" else ""
    if service not in LOG_SERVICES:
        print(f"yunku: {name} is no event of the suite", file=sys.stderr)
        return 2
    module = importlib.import_module(f"yunku.{service}.v1.events_pb2")
    message = getattr(module, parts[-1], None)
    if message is None:
        print(f"yunku: {name} is no event of {service}", file=sys.stderr)
        return 2
    _print({"type": parts[-1], **MessageToDict(message.FromString(payload), preserving_proto_field_name=True)})
    return 0


def _verify_chain(access: Access, service: str) -> int:
    """Reads the whole log once; memory stays at one hash per stream."""
    wrong, count, rolling = 0, 0, GENESIS
    heads: dict[Any, bytes] = {}
    types = _types(service)
    with access.database(service) as connection, connection.cursor(name="chain") as cursor:
        cursor.itersize = 2000
        cursor.execute(
            f"SELECT {EVENT_COLUMNS}, l.position, l.log_hash FROM log l JOIN events e USING (stream_id, version) ORDER BY l.position"
        )
        for row in cursor:
            event = row_to_event(row, types)
            count += 1
            rolling = log_hash(rolling, event.hash)
            problems = [
                text
                for broken, text in (
                    (event.position != count, f"position {event.position} where {count} was due"),
                    (event.computed_hash() != event.hash, "hash does not recompute"),
                    (event.previous_hash != heads.get(event.stream_id, GENESIS), "does not chain to its stream"),
                    (event.log_hash != rolling, "log hash does not recompute"),
                )
                if broken
            ]
            for problem in problems:
                wrong += 1
                print(f"position {event.position}, stream {event.stream_id} version {event.version}: {problem}")
            heads[event.stream_id] = event.hash
            rolling = event.log_hash
    print(f"{service}: {count} events in {len(heads)} streams, head {rolling.hex()}, {wrong} findings")
    return 1 if wrong else 0


def _rebuild(access: Access, service: str, name: str | None) -> int:
    found = rebuild.declared(service)
    names = [projection.name for _, projection in found.state_projections] + [p.name for p in found.log_projections]
    if name is not None and name not in names:
        print(f"yunku: {service} has no read model {name!r}; it has {', '.join(names)}", file=sys.stderr)
        return 2
    for one in [name] if name else names:
        print(f"{service}.{one}: {rebuild.rebuild(access.database_urls[service], service, one)} rows")
    return 0


def _replay(access: Access, service: str, name: str) -> int:
    if name not in {projection.name for projection in rebuild.declared(service).log_projections}:
        print(f"yunku: {service} has no projection {name!r} that follows the log", file=sys.stderr)
        return 2
    with access.database(service) as connection:
        connection.execute("SELECT 1 FROM projections WHERE name = %s FOR UPDATE", (name,))
        connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
        connection.execute("UPDATE projections SET position = 0 WHERE name = %s", (name,))
    print(f"{service}.{name} begins again from position 1")
    return 0


async def _republish(access: Access, service: str) -> int:
    client = await access.nats()
    try:
        js = client.jetstream()
        await js.purge_stream(stream_name(service))
        with access.database(service) as connection:
            row = connection.execute("SELECT coalesce(max(position), 0) FROM log").fetchone()
        wanted = int(str(row[0])) if row else 0
        for _ in range(600):
            held = (await js.stream_info(stream_name(service))).state.messages
            if held >= wanted:
                print(f"{stream_name(service)}: {held} events")
                return 0
            await asyncio.sleep(0.5)
        print(f"{stream_name(service)}: {held} of {wanted} events after 5 minutes; does {service} run?", file=sys.stderr)
        return 1
    finally:
        await client.close()


def _list_parked(access: Access) -> int:
    for consumer in LOG_SERVICES:
        with access.database(consumer) as connection:
            rows = connection.execute(
                "SELECT producer, position, event_id, stream_id, type, error, attempts, parked_at, replay_requested_at FROM parked "
                "WHERE replayed_at IS NULL ORDER BY producer, position"
            ).fetchall()
        for producer, position, event_id, stream_id, kind, error, attempts, at, requested in rows:
            _print(
                {
                    "consumer": consumer,
                    "producer": producer,
                    "position": position,
                    "event": str(event_id),
                    "stream": str(stream_id),
                    "type": kind,
                    "error": error,
                    "attempts": attempts,
                    "parked_at": str(at),
                    "replay_requested_at": str(requested) if requested else None,
                }
            )
    return 0


def _replay_parked(access: Access, consumer: str, producer: str, position: int | None) -> int:
    with access.database(consumer) as connection:
        changed = connection.execute(
            "UPDATE parked SET replay_requested_at = clock_timestamp() WHERE producer = %s AND replayed_at IS NULL "
            "AND (%s::bigint IS NULL OR position = %s)",
            (producer, position, position),
        ).rowcount
    print(f"{changed} events of {producer} will be tried again by {consumer} within seconds")
    return 0


async def _tail(access: Access, service: str) -> int:
    client = await access.nats()
    try:
        subscription = await client.subscribe(f"yunku.{service}.*")
        async for message in subscription.messages:
            producer = message.subject.split(".")[1]
            if producer in LOG_SERVICES:
                _print(_as_dict(from_message(message.headers or {}, message.data, _types(producer))))
    finally:
        await client.close()
    return 0


def _show_log(access: Access, service: str, first: int, stream: str | None) -> int:
    types = _types(service)
    with access.database(service) as connection, connection.cursor(name="log") as cursor:
        cursor.execute(
            f"SELECT {EVENT_COLUMNS}, l.position, l.log_hash FROM log l JOIN events e USING (stream_id, version) "
            "WHERE l.position >= %s AND (%s::uuid IS NULL OR l.stream_id = %s::uuid) ORDER BY l.position",
            (first, stream, stream),
        )
        for row in cursor:
            _print(_as_dict(row_to_event(row, types)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
