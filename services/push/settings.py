"""What may be set for this service."""

from pathlib import Path

from pydantic import Field

from kernel.settings import KernelSettings


class Settings(KernelSettings):
    """Settings of the push service."""

    nats_keys: Path = Field(
        default=Path(".yunku/nats/keys"),
        description="Directory of the keys with which domains' NATS accounts are made, and of the accounts made so far.",
    )
    nats_replicas: int = Field(default=1, ge=1, le=5, description="Replicas of the streams in domains' NATS accounts.")
    domain_look_seconds: float = Field(
        default=2.0,
        gt=0,
        le=300,
        description="How often each domain's streams are looked at: are they still there, and what has its system acknowledged.",
    )
    domain_retry_seconds: float = Field(
        default=10.0, gt=0, le=600, description="Longest pause before a domain that can't be reached is tried again."
    )
