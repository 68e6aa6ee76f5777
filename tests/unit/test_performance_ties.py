"""Whose a performance and an award are, by what stands and what domains decided of it."""

from __future__ import annotations

from typing import Any

import pytest
from yunku.certificate.v1 import performance_pb2, service_pb2

import catalogue
from services.certificate.performances import ties

KNOWN = catalogue.load()
VIEW = performance_pb2.Performance(id="p", category="construction", state="submitted")
A, B = "domain-a", "domain-b"


def paper(kind: str, *decisions: tuple[str, str], version: int = 4, pushed: int = 0, **fields: Any) -> service_pb2.Certificate:
    """A submitted certificate; ``decisions`` are (domain, state), in their order."""
    one = service_pb2.Certificate(id=kind, type=kind, state="submitted", fields=fields, version=version)
    one.accepted.version = version
    one.accepted.fields.update(fields)
    for number, (domain_id, state) in enumerate(decisions, 1):
        one.pushes.add(id=f"{kind}{number}", number=number, domain_id=domain_id, state=state, version=pushed or version)
    return one


def own(**more: Any) -> dict[str, service_pb2.Certificate]:
    papers = [
        paper("bid_award_notice", (A, "approved")),
        paper("construction_contract", (A, "approved"), project_manager="王建国", pm_certificate_no="辽1210001"),
        paper("completion_acceptance", (A, "approved")),
    ]
    return {one.type: one for one in papers} | more


def is_approved(**more: Any) -> bool:
    return ties.approved(KNOWN, VIEW, own(**more).values())


def test_a_performance_is_approved_when_one_domain_approved_all_that_counts() -> None:
    assert is_approved()
    assert is_approved(supporting_material=paper("supporting_material", (A, "rejected")))
    assert is_approved(completion_acceptance=paper("completion_acceptance", (B, "rejected"), (A, "approved")))


@pytest.mark.parametrize(
    "decisions",
    [
        (),
        ((A, "delivered"),),
        ((A, "rejected"),),
        ((A, "withdrawn"),),
        ((B, "approved"),),  # no one domain approved all
        ((A, "approved"), (A, "rejected")),  # reviewed again
    ],
)
def test_it_is_not_while_one_of_them_is_not(decisions: tuple[tuple[str, str], ...]) -> None:
    assert not is_approved(completion_acceptance=paper("completion_acceptance", *decisions))
    assert not is_approved(contract_change_proof=paper("contract_change_proof", *decisions))


def test_a_later_decision_counts_and_a_pending_one_changes_nothing() -> None:
    assert is_approved(completion_acceptance=paper("completion_acceptance", (A, "rejected"), (A, "approved"), (A, "delivered")))


def test_an_approval_of_a_former_version_is_none() -> None:
    assert not is_approved(completion_acceptance=paper("completion_acceptance", (A, "approved"), version=7, pushed=4))


def test_what_is_missing_superseded_or_not_submitted_approves_nothing() -> None:
    for state in ("superseded", "draft", "discarded"):
        one = paper("completion_acceptance", (A, "approved"))
        one.state = state
        assert not is_approved(completion_acceptance=one)
    assert not ties.approved(KNOWN, VIEW, [])
    assert not ties.approved(KNOWN, performance_pb2.Performance(category="construction", state="draft"), own().values())


def test_the_manager_is_the_effective_one_of_what_stands() -> None:
    assert ties.manager(KNOWN, list(own().values())) == "王建国"
    change = paper("contract_change_proof", item="项目经理", new_value="李建国")
    assert ties.manager(KNOWN, [*own().values(), change]) == "李建国"
    change.state = "draft"
    assert ties.manager(KNOWN, [*own().values(), change]) == "王建国"
    assert ties.manager(KNOWN, []) == ""
    contract = own()["construction_contract"]
    contract.fields["project_manager"] = "赵建国"  # being changed beside what was accepted
    assert ties.manager(KNOWN, [contract]) == "王建国"


def test_the_number_is_the_managers_own() -> None:
    papers = list(own().values())
    assert ties.manager_number(KNOWN, papers) == "辽1210001"
    assert ties.manager_number(KNOWN, [*papers, paper("contract_change_proof", item="项目经理", new_value="李建国")]) == ""
    types = [one for one in KNOWN.types if one.owner == "person" and any(field.type == "certno" for field in one.fields)]
    kind = types[0]
    name = next(field.name for field in kind.fields if field.type == "certno")
    number: dict[str, Any] = {name: "辽1210001"}
    assert ties.holds_number([paper(kind.code, **number)], "辽1210001")
    assert not ties.holds_number([paper(kind.code, **number)], "辽1210002")
    assert not ties.holds_number([paper(kind.code)], "")


def test_awards_are_the_managers_once_approved() -> None:
    award = paper("project_award", (B, "approved"))
    assert [one.id for one in ties.awards([award], "王建国", "project_award")] == ["project_award"]
    assert ties.awards([paper("project_award", (B, "approved"), project_manager="李建国")], "王建国", "project_award") == []
    assert ties.awards([paper("project_award", (B, "approved"), project_manager="王建国")], "王建国", "project_award")
    assert ties.awards([paper("project_award", (B, "delivered"))], "王建国", "project_award") == []
    award.state = "superseded"
    assert ties.awards([award], "王建国", "project_award") == []
