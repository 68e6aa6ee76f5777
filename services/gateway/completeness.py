"""How complete a company's register is, module by module: pure, from the catalogue, its counts and its basic information."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from yunku.certificate.v1 import service_pb2
from yunku.subject.v1 import service_pb2 as subject_pb2

import catalogue
from catalogue import CertificateType, Module
from services.gateway import models, render

#: The province's number in a USCC: third and fourth character, of the place that registered the company (GB 32100, GB/T 2260).
PROVINCE: Final = "21"
#: The module that the profile belongs to (manual 三 (一) 1).
_BASIC: Final = "basic_information"


def completeness(subject: subject_pb2.Subject, counts: Sequence[service_pb2.CertificateCount]) -> models.Completeness:
    """What each module requires of the company, what is there and what is missing."""
    outside = subject.uscc[2:4] != PROVINCE
    modules = [_module(module, subject, counts, outside) for module in catalogue.load().modules]
    return models.Completeness(subject_id=subject.id, outside=outside, complete=all(module.complete for module in modules), modules=modules)


def _module(
    module: Module, subject: subject_pb2.Subject, counts: Sequence[service_pb2.CertificateCount], outside: bool
) -> models.ModuleCompleteness:
    codes = {one.code for one in module.types}
    own = [one for one in counts if one.type in codes]
    submitted = {one.type for one in own if one.state == "submitted"}
    required = [one for one in module.types if _required(one, outside)]
    missing = [one for one in required if one.code not in submitted]
    states: Counter[str] = Counter()
    lights: Counter[str] = Counter()
    for one in own:
        states[one.state] += one.count
        if one.state == "submitted":
            lights[render.light(one.light)] += one.count
    profile = render.word(subject.profile_state) if module.code == _BASIC else None
    return models.ModuleCompleteness(
        module=module.code,
        number=module.number,
        label=module.label,
        required=[models.TypeNamed(code=one.code, label=one.label) for one in required],
        missing=[models.TypeNamed(code=one.code, label=one.label) for one in missing],
        states=models.StateCounts(**{state: states[state] for state in ("draft", "submitted", "superseded")}),
        lights=models.LightCounts(**{light: lights[light] for light in ("RED", "YELLOW", "GREEN", "NONE")}),
        profile=profile,
        complete=not missing and (profile is None or subject.HasField("accepted_profile")),
    )


def _required(one: CertificateType, outside: bool) -> bool:
    return one.required_of == "all" or (one.required_of == "outside" and outside)
