"""The other services, as the gateway asks them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from yunku.certificate.v1 import service_pb2_grpc as certificate_grpc
from yunku.identity.v1 import service_pb2_grpc as identity_grpc
from yunku.push.v1 import service_pb2_grpc as push_grpc
from yunku.subject.v1 import service_pb2_grpc as subject_grpc

from kernel.rpc.client import Peers

if TYPE_CHECKING:
    from yunku.certificate.v1.service_pb2_grpc import CertificateServiceAsyncStub
    from yunku.identity.v1.service_pb2_grpc import IdentityServiceAsyncStub
    from yunku.push.v1.service_pb2_grpc import PushServiceAsyncStub
    from yunku.subject.v1.service_pb2_grpc import SubjectServiceAsyncStub


@dataclass(frozen=True)
class Services:
    """Their stubs; calls raise YunkuError and take 10 s at most unless told otherwise."""

    identity: "IdentityServiceAsyncStub"
    subject: "SubjectServiceAsyncStub"
    certificate: "CertificateServiceAsyncStub"
    push: "PushServiceAsyncStub"


def services(peers: Peers) -> Services:
    """The stubs of all of them."""
    return Services(
        peers.stub(identity_grpc.IdentityServiceStub, "identity"),
        peers.stub(subject_grpc.SubjectServiceStub, "subject"),
        peers.stub(certificate_grpc.CertificateServiceStub, "certificate"),
        peers.stub(push_grpc.PushServiceStub, "push"),
    )
