"""The table of who listens to whom, by which NATS rights and durables are made, is what the services do."""

import importlib
from typing import Any

import pytest

from kernel.eventlog.rebuild import declared
from kernel.eventlog.store import EventLog
from kernel.topology import LISTENS, LOG_SERVICES


@pytest.mark.parametrize("service", LOG_SERVICES)
def test_each_service_subscribes_to_what_the_table_says(service: str) -> None:
    pool: Any = None
    log = EventLog(pool, service, declared(service).types)
    try:
        consumers = importlib.import_module(f"services.{service}.consumers")
    except ModuleNotFoundError:
        assert LISTENS[service] == ()
        return
    subscriptions = consumers.subscriptions(log)
    assert sorted(subscription.producer for subscription in subscriptions) == sorted(LISTENS[service])
    for subscription in subscriptions:
        assert subscription.handlers
        known = declared(subscription.producer).types.names
        assert {message.DESCRIPTOR.full_name for message in subscription.handlers} <= set(known)


@pytest.mark.parametrize("service", LOG_SERVICES)
def test_every_event_type_belongs_to_one_aggregate(service: str) -> None:
    found = declared(service)
    owners: dict[str, list[str]] = {}
    for aggregate in found.aggregates:
        for message in aggregate.events:
            owners.setdefault(message.DESCRIPTOR.full_name, []).append(aggregate.name)
    assert {name: names for name, names in owners.items() if len(names) != 1} == {}
