"""Every code that values and verification can give has its Chinese text."""

from __future__ import annotations

import re
from pathlib import Path

from catalogue.loading import _RULES
from kernel.texts import keys, text
from kernel.values import Finding
from services.verify import light

ROOT = Path(__file__).parents[2]


def codes_in(pattern: str, *folders: str) -> set[str]:
    found: set[str] = set()
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            found |= set(re.findall(pattern, path.read_text("utf-8")))
    return found


def test_every_problem_with_a_value_has_a_text() -> None:
    codes = codes_in(r'(?:BadValue|Finding)\(\s*"([a-z0-9_.]+)"', "kernel/values", "catalogue")
    assert "uscc.length" in codes
    assert len(codes) >= 30
    assert codes <= keys("values")


def test_every_reason_of_a_verdict_has_a_text() -> None:
    source = Path(light.__file__).read_text("utf-8")
    reasons = set(re.findall(r'Verdict\.[A-Z_]+, (?:reason=)?"([a-z_]+)"', source))
    reasons |= set(re.findall(r'return "([a-z_]+)", \{', source))
    reasons |= {"match", "likely", "text_layer_differs", "lookalike"}
    assert {"illegible", "mismatch_part", "absent", "unmarked", "cannot_tell"} <= reasons
    reasons |= {f"rule_{rule}" for rule in _RULES}
    reasons |= {f"not_holder_{one}" for one in ("company_name", "uscc", "person_id", "person_name")}
    findings = codes_in(r'Finding\(\s*"([a-z0-9_.]+)"', "kernel/values", "catalogue")
    assert Finding("uscc.check_digit").code in findings
    reasons |= {code.replace(".", "_") for code in findings}
    assert reasons <= keys("verify")


def test_the_notice_is_the_manuals() -> None:
    lines = [text(f"verify.notice.line{n}") for n in range(1, 7)]
    assert [line[:2] for line in lines] == [f"{n}." for n in range(1, 7)]
    assert text("verify.notice.title") == "温馨提示"
