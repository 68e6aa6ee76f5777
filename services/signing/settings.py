"""What may be set for this service."""

from pathlib import Path

from pydantic import Field

from kernel.settings import KernelSettings


class Settings(KernelSettings):
    """Settings of the signing service."""

    pki_dir: Path | None = Field(
        None,
        description="Directory with `roots.pem`, `intermediates.pem` and `crls/*.crl` by which company certificates are "
        "judged; default: `pki` under `YUNKU_DATA`. Read anew for each use.",
    )
    seal_preparation_seconds: int = Field(600, ge=30, le=86400, description="How long a prepared seal waits for the company's signature.")
    seal_retention_days: int = Field(
        3650, ge=1, description="How long a sealed document is locked against deletion (COMPLIANCE), from its seal on."
    )
    tsa_url: str = Field(
        "",
        description="Timestamp authority (RFC 3161 over HTTP) whose token every seal gets; sealing stops while it is "
        "down. Empty: none, except in the development profile, which has one of its own inside.",
    )
    attestation_key_file: Path | None = Field(
        None,
        description="The register's own key under digital certificates: private, P-256, PEM; default: `attestation.pem` under "
        "`YUNKU_DATA`. Read anew for each use; while it is missing the service isn't ready, and what earned a digital certificate waits.",
    )
    attestation_issuer: str = Field(
        "urn:yunku:registry", min_length=1, max_length=200, description="Name of the register in digital certificates (`iss`)."
    )
    signing_sandbox_concurrency: int = Field(2, ge=1, le=64, description="Documents that are read at once for seals.")
    signing_sandbox_require_all: bool = Field(
        True, description="Refuse to read documents when a layer of the sandbox is missing on this host."
    )

    @property
    def pki(self) -> Path:
        """Where roots, issuing CAs and revocation lists lie."""
        return self.pki_dir or self.data / "pki"

    @property
    def attestation_key(self) -> Path:
        """Where the register's own key lies."""
        return self.attestation_key_file or self.data / "attestation.pem"
