"""What may be set for this service, beyond the kernel's settings."""

from pydantic import Field

from kernel.settings import KernelSettings


class Settings(KernelSettings):
    """Settings of the certificate service."""

    document_retention_days: int = Field(
        3650,
        ge=1,
        le=36500,
        description="Days for which an uploaded document is locked against deletion (S3 object lock) once its event is recorded.",
    )
