"""Every error code that is written anywhere in the code is registered: found in the sources, not by running into it."""

import ast
from pathlib import Path

from kernel.errors import ERROR_CODES

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for room in ("kernel", "services", "ops") for path in (ROOT / room).rglob("*.py"))


def _codes(tree: ast.AST) -> list[tuple[int, str]]:
    """(line, code) of each code that is written out in ``YunkuError(code, …)`` or ``FieldError(pointer, code, …)``."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        position = {"YunkuError": 0, "FieldError": 1}.get(name)
        if position is None:
            continue
        candidates = [*node.args[position : position + 1], *(k.value for k in node.keywords if k.arg == "code")]
        found += [(node.lineno, c.value) for c in candidates if isinstance(c, ast.Constant) and isinstance(c.value, str)]
    return found


def test_codes_in_the_sources_are_registered() -> None:
    written = [(f"{path.relative_to(ROOT)}:{line}", code) for path in SOURCES for line, code in _codes(ast.parse(path.read_text("utf-8")))]
    assert len(written) > 10
    assert [(where, code) for where, code in written if code not in ERROR_CODES] == []


def test_the_search_finds_what_it_should() -> None:
    text = """
YunkuError('a', field='/x')
errors.YunkuError(code='b')
FieldError('/x', 'c')
FieldError(pointer='/x', code='d')
YunkuError(e)
"""
    assert [code for _, code in _codes(ast.parse(text))] == ["a", "b", "c", "d"]
