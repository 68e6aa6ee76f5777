"""What may be set for this service: nothing beyond the kernel's settings."""

from kernel.settings import KernelSettings


class Settings(KernelSettings):
    """Settings of the subject service."""
