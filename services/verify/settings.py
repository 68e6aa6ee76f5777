"""What may be set for this service."""

from pydantic import Field

from kernel.settings import KernelSettings


class Settings(KernelSettings):
    """Settings of the verify service."""

    verify_concurrency: int = Field(4, ge=1, le=64, description="Verifications that this process runs at once.")
    recognition_timeout_seconds: float = Field(
        15.0, gt=0, le=60, description="How long recognition may take for one verification before it is put off and tried again."
    )
    verify_retry_seconds: float = Field(
        60.0, ge=0.1, le=3600, description="Longest pause before a verification that recognition could not serve is tried again."
    )
