"""What can go wrong with a job in the sandbox, in the words that callers decide by.

`Refusal` is raised inside the worker by an operation; everything else is raised in the service that asked. A caller
treats `SandboxUnavailable` as "try again later" (nothing is known about the input) and every other error as a fact
about the input: it was refused, or it made its worker exceed a limit or die.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

CODE_PATTERN: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
MAX_PARAMS: Final = 16
MAX_PARAM_TEXT: Final = 200
"""Bounds on a refusal's parameters (count; characters of a text), because they come from a process that may be
hostile."""

Param = str | int | float | bool | None
"""What a refusal may say beside its code: it ends up in a message to the user, so it is small and flat."""


class Refusal(Exception):
    """Raised by an operation, in the worker: the input is not acceptable, for the reason named by `code`.

    `params` are small facts that a message needs (a limit, a count), never content of the input.
    """

    def __init__(self, code: str, **params: Param) -> None:
        super().__init__(code)
        self.code = code
        self.params: dict[str, Param] = dict(params)


class SandboxError(Exception):
    """Base of all errors of `Sandbox.run`."""


class SandboxRefused(SandboxError):
    """The operation refused its input with a `Refusal`; `code` and `params` are well-formed but come from the worker,
    so a caller maps codes that it doesn't know to its general error."""

    def __init__(self, code: str, params: Mapping[str, Param]) -> None:
        super().__init__(code)
        self.code = code
        self.params: dict[str, Param] = dict(params)


class SandboxTimeout(SandboxError):
    """The job used up its time; `which` is "wall" or "cpu"."""

    def __init__(self, which: str) -> None:
        super().__init__(f"the job exceeded its {which} time limit")
        self.which = which


class SandboxMemory(SandboxError):
    """The job asked for more memory than it may have."""


class SandboxCrashed(SandboxError):
    """The worker died or answered nonsense; `reason` is a short technical word for logs (a signal, an exception's class
    and place, `output_too_large`, `malformed_output`), without content of the input."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the worker failed: {reason}")
        self.reason = reason


class SandboxUnavailable(SandboxError):
    """No worker could be had (the fork server died or can't start): says nothing about the input, try again."""
