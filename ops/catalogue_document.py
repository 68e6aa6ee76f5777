"""docs/catalogue.md, made from the catalogue's files: ``python -m ops.catalogue_document [--check]``."""

import sys
from pathlib import Path
from typing import Final

import catalogue
from catalogue import CertificateType, Field, Rule

DOCUMENT: Final = Path(__file__).resolve().parents[1] / "docs" / "catalogue.md"


def render() -> str:
    """The page: a section a module, a table a certificate type, in the order of the files."""
    known = catalogue.load()
    lines = [
        "# The catalogue",
        "",
        "Made by `python -m ops.catalogue_document` from `catalogue/*.yaml`; change those (`catalogue/README.md` tells how).",
        f"{len(known.types)} certificate types. Roles: KEY 关键实质性信息, DIGITAL 数字化智能信息, PLAIN recorded only.",
    ]
    for module in known.modules:
        lines += ["", f"## {module.number}. {module.label} (`{module.code}`)"]
        for one in module.types:
            lines += ["", f"### {one.label} (`{one.code}`)", "", _properties(one), ""]
            lines += ["| field | 名称 | type | role | required | remarks |", "| --- | --- | --- | --- | --- | --- |"]
            lines += [_row(field) for field in one.fields]
            lines += [_rule(rule) for rule in one.plausibility]
    return "\n".join(lines) + "\n"


def _properties(one: CertificateType) -> str:
    documents = ", ".join(document.label + ("" if document.required else " (optional)") for document in one.documents)
    said = [f"Of a {one.owner.value}", " or ".join(one.modes), f"document: {documents}"]
    said.append("verified" if one.verification else "no verification (light NONE)")
    said += ["no seal"] * (not one.sealed) + ["changed by 修改 at any light"] * one.revisable
    if one.unique_by:
        said.append(f"once for the same `{'`, `'.join(one.unique_by)}`")
    if one.at_most:
        said.append(f"`{one.at_most.field}` at most {one.at_most.total} together")
    if one.required_of:
        said.append("required of every company" if one.required_of == "all" else "required of companies from outside of the province")
    if one.valid_until:
        said.append(f"valid until `{one.valid_until}`")
    return "; ".join(said) + "."


def _row(field: Field) -> str:
    remarks = []
    if field.holder:
        remarks.append(f"the holder's {field.holder}")
    if field.may_be_absent:
        remarks.append("may be absent from the print")
    if not field.takes_mark:
        remarks.append("stated by the user, not printed")
    if field.choices:
        remarks.append("one of " + "、".join(field.choices) + ("、…" if field.open else ""))
    if field.format:
        remarks.append(f"usually `{field.format}`")
    row = (f"`{field.name}`", field.label, field.type, field.role.value, "yes" if field.required else "no", "; ".join(remarks))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _rule(rule: Rule) -> str:
    more = [f"years {' or '.join(map(str, rule.years))}"] * bool(rule.years) + [f"within {rule.within} yuan"] * bool(rule.within)
    more += [f"`{pattern}`: {'、'.join(allowed)}" for pattern, allowed in rule.allowed.items()]
    return f"- {rule.rule}: {', '.join(rule.fields)} ({rule.severity.value})" + "".join(f"; {one}" for one in more)


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
