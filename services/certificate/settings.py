"""What may be set for this service, beyond the kernel's settings."""

from pydantic import Field, ValidationInfo, field_validator

from kernel.settings import KernelSettings


class Settings(KernelSettings):
    """Settings of the certificate service."""

    document_retention_days: int = Field(
        3650,
        ge=1,
        le=36500,
        description="Days for which an uploaded document is locked against deletion (S3 object lock) once its event is recorded.",
    )
    national_platform_url: str = Field(
        default="",
        pattern=r"^(https?://[^\s?#]+)?$",
        description="Address of the connector's counterpart at the national platform (`https://…`); empty: nothing can be taken over. "
        "Plain HTTP in the development profile only.",
    )
    national_platform_seconds: float = Field(default=4.0, gt=0, le=10, description="How long one try at the national platform may take.")
    national_platform_attempts: int = Field(default=3, ge=1, le=5, description="Tries of one call to the national platform.")
    national_platform_answer_bytes: int = Field(
        default=2 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="Largest answer of the national platform that is read."
    )

    expiry_notice_days: tuple[int, ...] = Field(
        default=(90, 30, 7),
        max_length=20,
        description="Days before the end of a submitted certificate's validity at which its company is reminded (`90,30,7`); the day after "
        "the end it always is.",
    )
    expiry_look_seconds: float = Field(default=5.0, gt=0, le=3600, description="Pause between looks for what comes to its end.")

    @field_validator("expiry_notice_days", mode="before")
    @classmethod
    def _parse_days(cls, value: object) -> object:
        return value.split(",") if isinstance(value, str) else value

    @field_validator("expiry_notice_days")
    @classmethod
    def _possible_days(cls, days: tuple[int, ...]) -> tuple[int, ...]:
        if not all(0 <= day <= 3650 for day in days):
            raise ValueError("days are 0 to 3650")
        return days

    @field_validator("national_platform_url")
    @classmethod
    def _numbers_travel_encrypted(cls, url: str, info: ValidationInfo) -> str:
        if info.data.get("profile") != "development" and url.startswith("http:"):
            raise ValueError("must be https: ID numbers are sent there")
        return url

    import_unpacked_bytes: int = Field(
        500 * 1024 * 1024, ge=1024, description="What the files of an import's archive may come to together, unpacked."
    )
    transfer_days: int = Field(7, ge=1, le=365, description="Days for which archives of imports and exports are kept.")
