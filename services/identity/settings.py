"""What may be set for this service."""

from pathlib import Path

from pydantic import Field

from kernel.settings import KernelSettings


class Settings(KernelSettings):
    """Settings of the identity service."""

    pki_dir: Path | None = Field(
        default=None,
        description="Trusted CAs of company keys: `roots.pem`, `intermediates.pem`, `crls/*.crl`, read anew when they change; "
        "`pki` under `YUNKU_DATA` if not set.",
    )
    access_token_seconds: int = Field(default=1800, ge=1, le=86_400, description="How long a session's token is good.")
    session_seconds: int = Field(default=43_200, ge=1, le=604_800, description="How long a session can be renewed, from the login on.")
    challenge_seconds: int = Field(default=60, ge=1, le=60, description="How long a CA login challenge can be answered.")
    qr_login_seconds: int = Field(default=180, ge=10, le=600, description="How long a login by QR code (辽易通) can be approved and taken.")
    phone_code_seconds: int = Field(default=300, ge=1, le=900, description="How long a phone code is good.")
    sms_url: str = Field(
        default="",
        description='Where phone codes are sent: POST of JSON `{"phone", "text"}` to the operator\'s SMS gateway. Without '
        "it the production profile sends none.",
    )
    sms_token_file: Path | None = Field(
        default=None, description="File that holds the bearer token of the SMS gateway, if it asks for one."
    )

    @property
    def trust_directory(self) -> Path:
        """Where the trusted CAs lie."""
        return self.pki_dir or self.data / "pki"
