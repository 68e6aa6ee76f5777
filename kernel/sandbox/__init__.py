"""A sandbox for code that reads what strangers uploaded: one process per job, behind several walls, bytes in and out.

`Sandbox` is what a service uses; `Refusal` is what an operation raises. See `kernel.sandbox.sandbox` for the whole
story.
"""

from kernel.sandbox.errors import (
    Refusal,
    SandboxCrashed,
    SandboxError,
    SandboxMemory,
    SandboxRefused,
    SandboxTimeout,
    SandboxUnavailable,
)
from kernel.sandbox.sandbox import Sandbox

__all__ = [
    "Refusal",
    "Sandbox",
    "SandboxCrashed",
    "SandboxError",
    "SandboxMemory",
    "SandboxRefused",
    "SandboxTimeout",
    "SandboxUnavailable",
]
