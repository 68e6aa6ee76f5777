"""Completeness of a company's register, from counts alone."""

from collections.abc import Sequence

from yunku.certificate.v1 import service_pb2, types_pb2
from yunku.subject.v1 import service_pb2 as subject_pb2

import catalogue
from services.gateway import models
from services.gateway.completeness import completeness

INSIDE, OUTSIDE = "91210102MA0YK0015B", "91110000101623741K"
BASIC = [one.code for one in catalogue.load().module("basic_information").types]


def subject(uscc: str = INSIDE, state: str = "none") -> subject_pb2.Subject:
    accepted = subject_pb2.AcceptedProfile(number=1) if state in ("submitted", "changing") else None
    return subject_pb2.Subject(id="s", uscc=uscc, profile_state=state, accepted_profile=accepted)


def count(kind: str, state: str = "submitted", number: int = 1, light: int = types_pb2.LIGHT_GREEN) -> service_pb2.CertificateCount:
    return service_pb2.CertificateCount(type=kind, state=state, count=number, light=types_pb2.Light.ValueType(light))


def modules(one: subject_pb2.Subject, counts: Sequence[service_pb2.CertificateCount]) -> dict[str, models.ModuleCompleteness]:
    told = completeness(one, counts)
    assert [module.number for module in told.modules] == list(range(1, 10))
    assert told.complete == all(module.complete for module in told.modules)
    return {module.module: module for module in told.modules}


def test_nothing_there() -> None:
    told = modules(subject(), [])
    assert [one.code for one in told["basic_information"].missing] == BASIC
    assert (told["basic_information"].profile, told["basic_information"].complete) == ("none", False)
    assert all(
        module.complete and not module.required and module.profile is None for code, module in told.items() if code != "basic_information"
    )


def test_basic_information_is_complete_with_its_six_types_and_its_submission() -> None:
    counts = [count(kind) for kind in BASIC]
    assert not modules(subject(state="draft"), counts)["basic_information"].complete
    assert modules(subject(state="submitted"), counts)["basic_information"].complete
    assert modules(subject(state="changing"), counts)["basic_information"].complete
    lacking = modules(subject(state="submitted"), [count("business_license", "draft"), *counts[1:]])["basic_information"]
    assert ([one.label for one in lacking.missing], lacking.complete) == (["营业执照"], False)
    assert not modules(subject(state="submitted"), [count("business_license", "superseded"), *counts[1:]])["basic_information"].complete


def test_outside_entry_is_required_of_companies_from_outside_only() -> None:
    assert modules(subject(), [])["outside_entry"].complete
    outside = modules(subject(OUTSIDE), [])["outside_entry"]
    assert ([one.code for one in outside.missing], outside.complete) == (["outside_entry_report"], False)
    assert modules(subject(OUTSIDE), [count("outside_entry_report", light=types_pb2.LIGHT_NONE)])["outside_entry"].complete
    assert completeness(subject(OUTSIDE), []).outside


def test_counts_by_state_and_of_the_submitted_by_light() -> None:
    told = modules(
        subject(),
        [
            count("business_license", "draft", 3, types_pb2.LIGHT_RED),
            count("business_license", "submitted", 2, types_pb2.LIGHT_YELLOW),
            count("bank_account", "submitted", 1),
            count("bank_account", "superseded", 4),
            count("a_type_of_an_earlier_catalogue", "submitted", 9),
        ],
    )["basic_information"]
    assert told.states == models.StateCounts(draft=3, submitted=3, superseded=4)
    assert told.lights == models.LightCounts(RED=0, YELLOW=2, GREEN=1, NONE=0)
