"""docs/states.md, made by running every command in every state: ``python -m ops.states_document [--check]``."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from ops import performance_states, person_states, push_states
from ops.certificate_states import COMMANDS, HISTORIES, MEANINGS, WORDS, outcome, taken

DOCUMENT: Final = Path(__file__).resolve().parents[1] / "docs" / "states.md"
#: What each command is over HTTP.
CALLS: Final[dict[str, str]] = {
    "upload": "`PUT …/document`",
    "state": "`PUT …/fields`: a KEY field",
    "mark": "`PUT …/marks`",
    "switch": "`PUT …/mode`",
    "verify": "`POST …/verification`",
    "seal": "`POST …/seal/preparation`",
    "submit": "`POST …/submission`",
    "discard": "`POST …/discard`",
    "supplement": "`POST …/supplement`",
    "push": "`POST …/pushes`: again to the same domain",
    "withdraw": "`DELETE …/pushes/{id}`",
    "follow": "`POST /certificates` with `supersedes`",
}


def _shown(cell: str) -> str:
    """Allowed with its event, allowed and nothing to do, or refused with a code."""
    if cell in ("", "-"):
        return "-"
    return f"**{cell}**" if cell[0].isupper() else f"`{cell}`"


def _table(states: Iterable[str], commands: Iterable[str], outcome_of: Callable[[str, str], str]) -> list[str]:
    named = list(commands)
    rows = [f"| {state} | " + " | ".join(_shown(outcome_of(state, command)) for command in named) + " |" for state in states]
    return ["| state | " + " | ".join(named) + " |", "| --- " * (len(named) + 1) + "|", *rows]


def render() -> str:
    """The page: what each command does in each state, and which words of others are taken in."""
    lines = [
        "# States of certificates, performances, persons and pushes",
        "",
        "Made by `python -m ops.states_document`, which runs the real decisions of `services/certificate/domain.py` in every state of",
        "`ops/certificate_states.py`; `tests/unit/test_certificate_domain.py` holds the same runs against a table written by hand. The",
        "type has a verification and a seal and isn't revisable. **bold**: allowed, with its event (of `seal`: what may be sealed);",
        "`-`: allowed, nothing to do; otherwise the code of the refusal (409 mostly, [errors.md](errors.md)).",
        "",
        "| command | over HTTP |",
        "| --- | --- |",
        *(f"| {command} | {CALLS[command]} |" for command in COMMANDS),
        "",
        "## Commands of the company",
        "",
        "| state | meaning | " + " | ".join(COMMANDS) + " |",
        "| --- " * (len(COMMANDS) + 2) + "|",
    ]
    for situation in HISTORIES:
        shown = [_shown(outcome(situation, command)) for command in COMMANDS]
        lines.append(f"| {situation} | {MEANINGS[situation]} | " + " | ".join(shown) + " |")
    lines += [
        "",
        "## Words of other services",
        "",
        "`+`: taken into the history; empty: passed over. The verdict and the seal are over the content that was verified first.",
        "",
        "| state | " + " | ".join(WORDS) + " |",
        "| --- " * (len(WORDS) + 1) + "|",
        *(f"| {situation} | " + " | ".join("+" if taken(situation, word) else " " for word in WORDS) + " |" for situation in HISTORIES),
        "",
        "## A performance 业绩",
        "",
        "Decisions of `services/certificate/performances/domain.py` in every state of `ops/performance_states.py`, held by",
        "`tests/unit/test_performance_domain.py`. `submit`: with all materials ready and all warnings confirmed.",
        "",
        *_table(
            performance_states.STATES,
            performance_states.COMMANDS,
            lambda state, command: performance_states.outcome(performance_states.COMMANDS[command], performance_states.STATES[state]),
        ),
        "",
        "## A person 人员, seen by one company",
        "",
        "Decisions of `services/subject/persons.py` in every state of `ops/person_states.py`, held by",
        "`tests/unit/test_subject_persons.py`.",
        "",
        *_table(
            person_states.HISTORIES,
            person_states.COMMANDS,
            lambda state, command: person_states.outcome(
                person_states.COMMANDS[command], person_states.given(*person_states.HISTORIES[state])
            ),
        ),
        "",
        "## A push 推送, its review and its appeal",
        "",
        "Decisions of `services/push/domain.py` in every state of `ops/push_states.py`, held by `tests/unit/test_push_domain.py`.",
        "",
        *_table(push_states.HISTORIES, push_states.COMMANDS, push_states.outcome),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes the page, or with ``--check`` says whether it is current (exit code 1 if not)."""
    if "--check" in sys.argv[1:]:
        current = DOCUMENT.exists() and DOCUMENT.read_text() == render()
        print(f"{DOCUMENT.name} is {'current' if current else 'stale'}")
        return 0 if current else 1
    DOCUMENT.write_text(render())
    return 0


if __name__ == "__main__":
    sys.exit(main())
