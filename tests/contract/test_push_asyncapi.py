"""docs/asyncapi.json is what the protos and the CloudEvent models make, and says all of it."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from kernel import topology
from kernel.eventlog.rebuild import declared
from ops import asyncapi
from services.push import cloudevents


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return asyncapi.document()


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref":
                yield inner
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_the_kept_document_is_what_is_made(document: dict[str, Any]) -> None:
    assert json.loads(asyncapi.TARGET.read_text("utf-8")) == document, "run: python -m ops.asyncapi"


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert len(found) > 100
    for reference in found:
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_every_event_of_every_log_has_its_channel_and_message(document: dict[str, Any]) -> None:
    addresses = {channel["address"]: channel for channel in document["channels"].values()}
    for service in topology.LOG_SERVICES:
        for aggregate in declared(service).aggregates:
            for event in aggregate.events:
                full = event.DESCRIPTOR.full_name
                channel = addresses[topology.event_subject(service, full)]
                message = document["components"]["messages"][f"{service}.{event.DESCRIPTOR.name}"]
                assert list(channel["messages"]) == [event.DESCRIPTOR.name]
                assert message["x-protobuf-message"] == full
                schema = document["components"]["schemas"][full]
                assert set(schema["properties"]) == {field.name for field in event.DESCRIPTOR.fields}


def test_names_are_such_as_the_specification_allows(document: dict[str, Any]) -> None:
    assert document["asyncapi"] == "3.0.0"
    for kind in document["components"].values():
        assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in kind)
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive")


def test_what_domains_are_told_and_answer_is_all_there(document: dict[str, Any]) -> None:
    told = {model.model_fields["type"].default for model in cloudevents.OUTGOING}
    assert set(document["channels"]["push"]["messages"]) == told
    assert set(document["channels"]["review"]["messages"]) == {
        "yunku.push.acknowledged",
        "yunku.push.reviewed",
        "yunku.push.appeal_answered",
        "bare_review",
    }
    schemas = document["components"]["schemas"]
    assert set(schemas["PushRequestedEvent"]["properties"]) == set(cloudevents.PushRequestedEvent.model_fields)
    assert set(schemas["PushRequested"]["required"]) == set(cloudevents.PushRequested.model_fields)
    assert schemas["ReviewedEvent"]["properties"]["specversion"]["const"] == "1.0"
    # No schema of the services' world is reachable from a domain's messages.
    for name in ("push", "review"):
        for message in document["channels"][name]["messages"].values():
            own = document["components"]["messages"][message["$ref"].rsplit("/", 1)[-1]]
            assert not [one for one in references(own) if "/yunku." in one]


def test_comments_of_the_protos_are_told(document: dict[str, Any]) -> None:
    assert document["components"]["messages"]["push.Reviewed"]["summary"].startswith("The domain decided")
    assert document["components"]["schemas"]["yunku.push.v1.Reviewed"]["properties"]["decision"]["description"] == "approved or rejected."
