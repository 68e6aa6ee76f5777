"""What may be set for this service."""

from pathlib import Path

from pydantic import Field

from kernel.settings import KernelSettings


class Settings(KernelSettings):
    """Settings of the gateway."""

    http_port: int = Field(default=8080, ge=0, le=65535, description="Port of the public HTTP interface; 0 picks a free one.")
    public_origin: str = Field(
        default="",
        pattern=r"^(https?://[^/\s]{1,255})?$",
        description="Origin under which clients see the gateway (`https://yunku.example`); CA logins are bound to it. Empty: CA "
        "logins work only under the machine's own names (`http://127.0.0.1:8080`, `http://localhost:8080`).",
    )
    trusted_proxies: str = Field(
        default="",
        description="Addresses (comma-separated) of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed; "
        "empty for none: the peer's own address is the client's.",
    )
    body_bytes: int = Field(default=1024 * 1024, ge=1024, description="Largest request body, uploads apart.")
    upload_bytes: int = Field(default=20 * 1024 * 1024, ge=1024, description="Largest document that can be uploaded.")
    import_bytes: int = Field(default=200 * 1024 * 1024, ge=1024, description="Largest archive that can be uploaded to be imported.")
    upload_dir: Path | None = Field(default=None, description="Where uploads pass through; `uploads` under `YUNKU_DATA` if not set.")
    uploads_at_once: int = Field(default=8, ge=1, le=1000, description="Uploads received at once; more are refused as unavailable.")
    requests_at_once: int = Field(default=512, ge=1, description="Requests answered at once; more are refused as unavailable.")
    streams_at_once: int = Field(default=2000, ge=1, description="Streams of live updates at once; more are refused as unavailable.")
    streams_per_session: int = Field(default=8, ge=1, description="Streams of live updates of one session at once.")
    header_seconds: float = Field(default=10.0, gt=0, le=300, description="How long a client may take to send a request's headers.")
    chunk_seconds: float = Field(default=20.0, gt=0, le=300, description="How long a client may pause within a request's body.")
    body_seconds: float = Field(default=180.0, gt=0, le=3600, description="How long a client may take to send a request's body.")
    logins_per_minute: int = Field(
        default=120, ge=1, description="Phone codes, registrations, challenges, logins from one address in a minute, each kind by itself."
    )
    membership_wait_seconds: float = Field(
        default=5.0, ge=0, le=30, description="How long the answer to a company's registration waits for the account to be its member."
    )
    keepalive_seconds: float = Field(
        default=15.0, gt=0, le=120, description="Pause after which a silent stream of live updates shows life."
    )
    expiring_days: int = Field(default=90, ge=0, le=3650, description="Days before its end from which a certificate counts as expiring.")

    @property
    def uploads(self) -> Path:
        """Where uploads pass through."""
        return self.upload_dir or self.data / "uploads"
