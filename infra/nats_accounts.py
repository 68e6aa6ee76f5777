"""The NATS accounts of an installation: the operator, the server's own account and that of the services.

``SYS``      the server's own: account updates, monitoring events.
``YUNKU``    the services. One user a service, limited to its own stream and to the streams it listens to;
             user ``operator`` for the registry's administrators.

Domains' accounts are made at run time by the push service, so what makes them is in kernel/nats_accounts.py; infra
needs it too, for a server that lost its directories, and offers it here.
"""

from pathlib import Path
from typing import Final

from kernel import topology
from kernel.nats_accounts import (
    SYSTEM_DURABLE,
    UNLIMITED,
    AccountError,
    DomainCredentials,
    Keyring,
    Permissions,
    account_jwt,
    connect,
    consume_permissions,
    create_domain_account,
    encode_jwt,
    ensure_consumer,
    ensure_domain_files,
    ensure_stream,
    load_key,
    public_key,
    write_credentials,
    write_private,
)

__all__ = [
    "SYSTEM_DURABLE",
    "AccountError",
    "DomainCredentials",
    "Keyring",
    "connect",
    "create_domain_account",
    "ensure_domain_files",
    "ensure_keyring",
    "ensure_service_streams",
    "service_permissions",
]

_NO_JETSTREAM: Final[dict[str, int]] = {}
_YUNKU_LIMITS: Final = {"mem_storage": 0, "disk_storage": UNLIMITED, "streams": UNLIMITED, "consumer": UNLIMITED}


def service_permissions(service: str) -> Permissions:
    """A service publishes its own events and dead letters, reads its own stream, and consumes those it listens to."""
    publish = ["$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.*"]
    subscribe = ["_INBOX.>"]
    if service in topology.LOG_SERVICES:
        own = topology.stream_name(service)
        publish += [topology.stream_subjects(service), f"$JS.API.STREAM.MSG.GET.{own}"]
        publish += [f"$JS.API.DIRECT.GET.{own}", f"$JS.API.DIRECT.GET.{own}.>"]
        publish += [topology.dead_letter_subject(service, "*")]
        for producer in topology.LISTENS.get(service, ()):
            publish += consume_permissions(topology.stream_name(producer), topology.durable(service, producer))
    else:
        # The gateway shows live updates: it sees every event as it passes, keeps no position and changes nothing.
        subscribe += [topology.stream_subjects(producer) for producer in topology.LOG_SERVICES]
    return Permissions(publish, subscribe)


def ensure_keyring(root: Path) -> Keyring:
    """Make the operator, the two accounts and their users.

    Keys that exist are kept; claims are written anew, so that changed permissions count.
    """
    keyring = Keyring(root)
    operator, signing = load_key(root / "operator.nk", "operator"), load_key(keyring.signing_key, "operator")
    system, yunku = load_key(root / "SYS" / "account.nk", "account"), load_key(root / "YUNKU" / "account.nk", "account")
    claims = {"type": "operator", "system_account": public_key(system), "signing_keys": [public_key(signing)]}
    write_private(
        keyring.operator_jwt,
        encode_jwt(subject=public_key(operator), name="yunku", signer=operator, claims=claims),
    )
    write_private(root / "SYS" / "account.jwt", account_jwt(system, "SYS", signing, _NO_JETSTREAM))
    write_private(root / "YUNKU" / "account.jwt", account_jwt(yunku, "YUNKU", signing, _YUNKU_LIMITS))
    write_credentials(root / "SYS", "server", system, Permissions(None, None))
    write_credentials(root / "YUNKU", "operator", yunku, Permissions(None, None))
    for service in topology.SERVICES:
        write_credentials(root / "YUNKU", service, yunku, service_permissions(service))
    return keyring


async def ensure_service_streams(url: str, keyring: Keyring, *, replicas: int = 1) -> None:
    """Make the stream of every service, the dead-letter stream, and every durable consumer between services."""
    client = await connect(url, keyring.operator_credentials, name="provision")
    try:
        for service in topology.LOG_SERVICES:
            name, subjects = topology.stream_name(service), [topology.stream_subjects(service)]
            # The publisher chains its messages by the last message's id; a memory of older ids would only swallow what is
            # published again after a purge.
            await ensure_stream(client, name, subjects, replicas=replicas, duplicate_window=100_000_000)
        dead = [topology.dead_letter_subject("*", "*")]
        await ensure_stream(client, topology.DEAD_LETTERS, dead, replicas=replicas)
        for consumer, producers in topology.LISTENS.items():
            for producer in producers:
                await ensure_consumer(client, topology.stream_name(producer), topology.durable(consumer, producer))
    finally:
        await client.close()
