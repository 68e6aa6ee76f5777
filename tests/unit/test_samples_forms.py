"""Plain forms: every type of the catalogue can be filled in, printed, and read as true."""

from __future__ import annotations

import random
from typing import Any

import pytest

import catalogue
import samples
from samples import forms
from samples.facts import make_company
from services.verify import light

TYPES: dict[str, dict[str, Any]] = {one["code"]: one for module in catalogue.load().to_public()["modules"] for one in module["types"]}
COMPANY = make_company(random.Random(3))


@pytest.mark.parametrize("code", sorted(TYPES))
@pytest.mark.parametrize("seed", range(3))
def test_a_form_filled_in_is_true_and_would_be_green(code: str, seed: int) -> None:
    kind = catalogue.load().type(code)
    values = forms.fill(TYPES[code], COMPANY, random.Random(seed))
    assert kind.parse(values) == (values, {})
    assert {field.name for field in kind.fields if field.required} <= set(values)
    style = samples.Style.choose(random.Random(seed))
    evidence = {}
    for field in kind.fields:
        if field.compared:
            printed = forms.printed(field.type, values[field.name], style)
            scored = light.Candidate(printed, 0.0, 0.0, 99.0)
            evidence[field.name] = light.Evidence((light.Reading(printed, 1.0, 0.0),), (scored,))
    own = frozenset(light.person_statements(kind, values))
    holder = light.Holder(COMPANY.uscc, COMPANY.name)
    outcome = light.decide(light.Inputs(kind, holder, values, frozenset(), frozenset(evidence), evidence, person_agrees=own))
    wrong = [one for one in outcome.fields if one.verdict not in (light.Verdict.MATCH, light.Verdict.NOT_COMPARED)]
    assert (outcome.light, wrong) == (light.Light.GREEN, [])
    assert [one for one in outcome.failures if not one.note] == []


def test_a_form_prints_what_a_document_can_show_and_says_where() -> None:
    kind = TYPES["tax_payment_certificate"]
    values = forms.fill(kind, COMPANY, random.Random(1))
    sample = samples.form(kind, values, seed=1, degradation="good")
    assert sample.media_type == "image/jpeg"
    assert set(sample.truth["fields"]) == set(values) - {"month"}, "the month is the user's word"
    assert sample.values() == {name: value for name, value in values.items() if name != "month"}
    assert sample.truth["absent"] == ["lines"]
    for page, (x0, y0, x1, y1) in sample.boxes().values():
        assert page == 1
        assert 0 <= x0 < x1 <= 1
        assert 0 <= y0 < y1 <= 1
    boxes = sorted(box[1] for _, box in sample.boxes().values())
    assert len(set(boxes)) == len(boxes), "a line each"
    assert samples.form(kind, values, seed=1, degradation="good") == sample


@pytest.mark.parametrize("form", ["digital_pdf", "scan_pdf"])
def test_a_form_is_any_file(form: samples.Format) -> None:
    kind = TYPES["shareholder"]
    sample = samples.form(kind, forms.fill(kind, COMPANY, random.Random(1)), seed=1, format=form)
    assert sample.bytes.startswith(b"%PDF")
    assert sample.truth["fields"]["ratio"]["printed"].endswith("%")


def test_a_form_takes_the_types_fields_only() -> None:
    with pytest.raises(ValueError, match="not fields of shareholder"):
        samples.form(TYPES["shareholder"], {"colour": "red"}, seed=1)
    with pytest.raises(ValueError, match="must be clean"):
        samples.form(TYPES["shareholder"], {}, seed=1, format="digital_pdf", degradation="poor")
