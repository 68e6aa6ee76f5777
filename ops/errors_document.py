"""docs/errors.md, made from where the codes are defined: ``python -m ops.errors_document [--check]``."""

import sys
from pathlib import Path
from typing import Final

from kernel.errors import ERROR_CODES
from kernel.texts import text

DOCUMENT: Final = Path(__file__).resolve().parents[1] / "docs" / "errors.md"


def render() -> str:
    """The page: one row a code, in the order of their definition."""
    lines = [
        "# Error codes",
        "",
        "Made by `python -m ops.errors_document` from `kernel/errors.py` and `kernel/texts/zh_CN.toml`; change those.",
        "A refused call answers with RFC 9457 problem details (`application/problem+json`) whose `code` is one of these;",
        "`errors[]` names the fields concerned, with codes of the same table.",
        "",
        "| code | HTTP | title | when |",
        "| --- | --- | --- | --- |",
    ]
    for code in ERROR_CODES.values():
        title = text(f"errors.{code.code}").replace("|", "\\|")
        lines.append(f"| `{code.code}` | {code.http_status} | {title} | {code.meaning} |")
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
