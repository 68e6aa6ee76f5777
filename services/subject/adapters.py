"""The real ones: other services over gRPC."""

from collections.abc import Set

from yunku.certificate.v1 import service_pb2
from yunku.certificate.v1 import service_pb2_grpc as certificate_grpc

from kernel.rpc.client import Peers


class RemoteCertificates:
    """The certificate service."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def submitted_types(self) -> Set[str]:
        stub = self._peers.stub(certificate_grpc.CertificateServiceStub, "certificate")
        counts = (await stub.CountCertificates(service_pb2.CountCertificatesRequest())).items
        return {one.type for one in counts if one.state == "submitted"}
