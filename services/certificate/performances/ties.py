"""Automatic ties 业绩信息 and 工程获奖 of persons (manual 三 (三) 7, 8): pure.

A performance is the person's who is named as its manager (项目经理, 项目总监, 项目负责人) in its contract, once both are approved.
Nothing of it is stored: it follows each time from what stands, so that it is right at once when anything is superseded, unbound or
reviewed again.
"""

from collections.abc import Iterable, Sequence

from yunku.certificate.v1 import performance_pb2, service_pb2

import catalogue
from catalogue import Catalogue
from kernel import values
from services.certificate.domain import SUBMITTED
from services.certificate.performances import domain


def standing(certificates: Iterable[service_pb2.Certificate]) -> list[service_pb2.Certificate]:
    """The submitted ones with the content that was accepted last, whatever is being changed beside it."""
    found = []
    for one in certificates:
        if one.state == SUBMITTED:
            stands = service_pb2.Certificate()
            stands.CopyFrom(one)
            stands.ClearField("fields")
            stands.fields.update(one.accepted.fields)
            stands.successor_id = ""
            found.append(stands)
    return found


def approving(one: service_pb2.Certificate) -> set[str]:
    """The domains whose last decision over the version that stands is an approval."""
    decided = {
        push.domain_id: push.state for push in one.pushes if push.version == one.accepted.version and push.state in ("approved", "rejected")
    }
    return {domain_id for domain_id, state in decided.items() if state == "approved"}


def approved(known: Catalogue, view: performance_pb2.Performance, certificates: Iterable[service_pb2.Certificate]) -> bool:
    """Whether some domain has approved all that counts of a submitted performance (``domain.counts``)."""
    if view.state != SUBMITTED:
        return False
    counting = [one for one in standing(certificates) if domain.counts(known, view.category, one.type)]
    required = set(known.performances.category(view.category).required)
    if not required <= {one.type for one in counting}:
        return False
    return bool(set.intersection(*(approving(one) for one in counting)))


def manager(known: Catalogue, certificates: Sequence[service_pb2.Certificate]) -> str:
    """Whom the contract names as manager, with the changes that were submitted; empty where nobody is named."""
    items, _ = domain.contract(known, standing(certificates))
    return next(item.effective for item in items if item.item == "project_manager")


def manager_number(known: Catalogue, certificates: Sequence[service_pb2.Certificate]) -> str:
    """The number of the manager's certificate in the contract. Empty where it isn't stated, or a change named somebody else since."""
    for one in standing(certificates):
        if one.type == known.performances.contract and values.equal(
            "person", one.fields.get("project_manager", ""), manager(known, certificates)
        ):
            return one.fields.get("pm_certificate_no", "")
    return ""


def holds_number(certificates: Iterable[service_pb2.Certificate], number: str) -> bool:
    """Whether one of a person's submitted certificates has the number."""
    known = catalogue.load()
    return bool(number) and any(
        field.type == "certno" and values.equal("certno", one.fields.get(field.name, ""), number)
        for one in standing(certificates)
        for field in known.type(one.type).fields
    )


def awards(certificates: Iterable[service_pb2.Certificate], name: str, award_type: str) -> list[service_pb2.Certificate]:
    """The approved awards among a tied performance's certificates; one that names another manager isn't this one's."""
    return [
        one
        for one in standing(certificates)
        if one.type == award_type
        and approving(one)
        and (not one.fields.get("project_manager") or values.equal("person", one.fields["project_manager"], name))
    ]
