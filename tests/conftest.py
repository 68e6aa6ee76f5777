"""Fixtures that every kind of test shares: the embedded servers alone, and the whole suite."""

from collections.abc import Iterator

import pytest

from infra.testing import RunningSuite, running_suite


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningSuite]:
    """PostgreSQL, NATS and S3, provisioned, without services; shared by a session's tests, which must leave it running."""
    with running_suite("none") as suite:
        yield suite


@pytest.fixture(scope="session")
def suite() -> Iterator[RunningSuite]:
    """The whole suite; shared by a session's tests, which must leave it running."""
    with running_suite("all") as running:
        yield running
