"""How an operator's tool reaches a suite: the databases as their owner, NATS as operator, the object store.

On the embedded stack everything is read from the data directory (``--data``, ``YUNKU_DATA``). Elsewhere the environment says it:
``YUNKU_OPS_DATABASE_URL`` (with ``{service}`` for the service's name, the owner's role), ``YUNKU_NATS_URL``,
``YUNKU_OPS_NATS_CREDENTIALS``, ``YUNKU_S3_ENDPOINT``, ``YUNKU_S3_ACCESS_KEY``, ``YUNKU_S3_SECRET_KEY``.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nats
import psycopg
from minio import Minio
from nats.aio.client import Client

from kernel.topology import LOG_SERVICES


class AccessError(Exception):
    """The suite can't be reached from here; the message says what is missing."""


@dataclass(frozen=True)
class Access:
    """The addresses and rights of one suite."""

    database_urls: Mapping[str, str]
    nats_url: str
    nats_credentials: str
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str
    #: The embedded suite's data directory, where there is one.
    data: Path | None = None

    @classmethod
    def find(cls, data: Path | None, environ: Mapping[str, str] = os.environ) -> "Access":
        """The suite that the environment names, or the embedded one under ``data``."""
        template = environ.get("YUNKU_OPS_DATABASE_URL")
        if template:
            try:
                return cls(
                    {service: template.format(service=service) for service in LOG_SERVICES},
                    environ["YUNKU_NATS_URL"],
                    environ["YUNKU_OPS_NATS_CREDENTIALS"],
                    environ["YUNKU_S3_ENDPOINT"],
                    environ["YUNKU_S3_ACCESS_KEY"],
                    environ["YUNKU_S3_SECRET_KEY"],
                )
            except KeyError as missing:
                raise AccessError(f"{missing.args[0]} is not set") from None
        from infra.embedded import home as embedded
        from infra.embedded import nats_server
        from infra.supervisor import service_environment

        root = data or embedded.data_root(environ)
        ports = embedded.read_json(root / "ports.json")
        secrets = embedded.read_json(root / "secrets.json")
        if not ports or not secrets:
            raise AccessError(f"{root} holds no suite; start one with `make start`, or name it with --data")
        home = embedded.Home(root, ports, secrets)
        store = service_environment(home, "certificate")
        return cls(
            {service: home.database_url(service, owner=True) for service in LOG_SERVICES},
            home.nats_url,
            str(nats_server.keyring(home).operator_credentials),
            store["YUNKU_S3_ENDPOINT"],
            store["YUNKU_S3_ACCESS_KEY"],
            store["YUNKU_S3_SECRET_KEY"],
            root,
        )

    def database(self, service: str) -> psycopg.Connection[tuple[object, ...]]:
        """An open connection to a service's database, as its owner; a REPEATABLE READ snapshot, so that a check sees one moment."""
        connection = psycopg.connect(self.database_urls[service], connect_timeout=10)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return connection

    def object_store(self) -> Minio:
        """The object store, with the services' rights."""
        scheme, _, host = self.s3_endpoint.rpartition("://")
        return Minio(host, access_key=self.s3_access_key, secret_key=self.s3_secret_key, secure=scheme == "https")

    async def nats(self) -> Client:
        """A connection as operator of the suite's own account."""
        return await nats.connect(self.nats_url, user_credentials=self.nats_credentials, connect_timeout=5, max_reconnect_attempts=3)
