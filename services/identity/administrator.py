"""Gives an account a role from the service's own machine; the way in which the first administrator comes to be.

    python -m services.identity.administrator 138… [--role ADMINISTRATOR|AUDITOR|REVIEWER] [--domain ID]

Run with the identity service's environment: the call is signed with that service's own private key
(``YUNKU_RPC_PRIVATE_KEY_FILE``), which nobody else holds and which is worth as much as its database. So there is no
password, token or setting that grants a role from outside, in any profile; further roles are granted over the
gateway by an administrator.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence

from yunku.identity.v1 import service_pb2, service_pb2_grpc

from kernel.context import system_context, use
from kernel.errors import YunkuError
from kernel.rpc.client import Peers
from services.identity.settings import Settings


async def grant(phone: str, role: str, domain_id: str = "", environment: Mapping[str, str] | None = None) -> str:
    """Grants the role to the account of this phone number and answers its id. Raises YunkuError."""
    peers = Peers(Settings.load(environment, service="identity"))
    try:
        with use(system_context("identity")):
            stub = peers.stub(service_pb2_grpc.IdentityServiceStub, "identity")
            answer = await stub.GrantRole(service_pb2.GrantRoleRequest(phone=phone, role=role, domain_id=domain_id))
    finally:
        await peers.close()
    return answer.account_id


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; prints the account's id, or the refusal's code."""
    parser = argparse.ArgumentParser(prog="python -m services.identity.administrator")
    parser.add_argument("phone")
    parser.add_argument("--role", default="ADMINISTRATOR")
    parser.add_argument("--domain", default="")
    given = parser.parse_args(arguments)
    try:
        print(asyncio.run(grant(given.phone, given.role, given.domain)))
    except YunkuError as refused:
        print(refused.code, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
