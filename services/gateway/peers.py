"""The other services, as the gateway asks them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from grpc_health.v1 import health_pb2, health_pb2_grpc
from yunku.certificate.v1 import performance_pb2_grpc as performance_grpc
from yunku.certificate.v1 import service_pb2_grpc as certificate_grpc
from yunku.certificate.v1 import transfer_pb2_grpc as transfer_grpc
from yunku.identity.v1 import service_pb2_grpc as identity_grpc
from yunku.push.v1 import service_pb2_grpc as push_grpc
from yunku.signing.v1 import service_pb2_grpc as signing_grpc
from yunku.subject.v1 import service_pb2_grpc as subject_grpc

from kernel.rpc.client import Peers

if TYPE_CHECKING:
    from yunku.certificate.v1.performance_pb2_grpc import PerformanceServiceAsyncStub
    from yunku.certificate.v1.service_pb2_grpc import CertificateServiceAsyncStub
    from yunku.certificate.v1.transfer_pb2_grpc import TransferServiceAsyncStub
    from yunku.identity.v1.service_pb2_grpc import IdentityServiceAsyncStub
    from yunku.push.v1.service_pb2_grpc import PushServiceAsyncStub
    from yunku.signing.v1.service_pb2_grpc import DigitalCertificateServiceAsyncStub
    from yunku.subject.v1.service_pb2_grpc import SubjectServiceAsyncStub


@dataclass(frozen=True)
class Services:
    """Their stubs; calls raise YunkuError and take 10 s at most unless told otherwise."""

    identity: "IdentityServiceAsyncStub"
    subject: "SubjectServiceAsyncStub"
    certificate: "CertificateServiceAsyncStub"
    push: "PushServiceAsyncStub"
    digital: "DigitalCertificateServiceAsyncStub"
    performance: "PerformanceServiceAsyncStub"
    transfer: "TransferServiceAsyncStub"


#: The services without which the gateway can't do its work.
NEEDED: Final = ("identity", "subject", "certificate", "push")
#: Below the time that a readiness check has.
_HEALTH_SECONDS: Final = 1.5


def serving(peers: Peers, name: str) -> Callable[[], Awaitable[None]]:
    """A readiness check: whether a service answers."""
    stub = peers.stub(health_pb2_grpc.HealthStub, name)

    async def check() -> None:
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_HEALTH_SECONDS)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise RuntimeError("not serving")

    return check


def services(peers: Peers) -> Services:
    """The stubs of all of them."""
    return Services(
        peers.stub(identity_grpc.IdentityServiceStub, "identity"),
        peers.stub(subject_grpc.SubjectServiceStub, "subject"),
        peers.stub(certificate_grpc.CertificateServiceStub, "certificate"),
        peers.stub(push_grpc.PushServiceStub, "push"),
        peers.stub(signing_grpc.DigitalCertificateServiceStub, "signing"),
        peers.stub(performance_grpc.PerformanceServiceStub, "certificate"),
        transfer=peers.stub(transfer_grpc.TransferServiceStub, "certificate"),
    )
