"""Commands over performances: load, ask what must be asked, decide, append; over several streams in one transaction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final, TypeVar
from uuid import UUID

from google.protobuf.message import Message
from yunku.certificate.v1 import performance_pb2, service_pb2, types_pb2

import catalogue
from kernel import context as call_context
from kernel import ids
from kernel.calendar import CHINA
from kernel.errors import FieldError, YunkuError
from kernel.eventlog.store import EventLog, Transaction
from kernel.values import BadValue
from services.certificate import domain as certificate_domain
from services.certificate.handlers import stands_alone
from services.certificate.performances import check, domain, materials
from services.certificate.ports import Domains, Subjects
from services.certificate.projections import CERTIFICATE, PERFORMANCE

R = TypeVar("R", bound=Message)

MAX_CONFIRMED: Final = 200


def performance_id(text: str) -> UUID:
    """The id of a performance; what is none names no performance of the caller's."""
    try:
        return UUID(text)
    except ValueError:
        raise YunkuError("not_found") from None


@dataclass(frozen=True)
class Loaded:
    """A performance with its certificates, as one transaction sees them."""

    state: domain.State
    own: list[service_pb2.Certificate]

    @property
    def materials(self) -> list[service_pb2.Certificate]:
        """The living materials and contract changes, in the order of their making."""
        known = catalogue.load().performances
        return [one for one in domain.living(self.own) if domain.is_material(known, one.type)]


class Handlers:
    """One method per command; each answers with the whole performance as it is after it."""

    def __init__(self, log: EventLog, subjects: Subjects, domains: Domains) -> None:
        self._log = log
        self._subjects = subjects
        self._domains = domains

    async def draft(self, request: performance_pb2.DraftPerformanceRequest) -> performance_pb2.DraftPerformanceResponse:
        holder = await self._subjects.holder(self._subject())
        made = ids.uuid7()
        return await self._simple(
            performance_pb2.DraftPerformanceResponse,
            made,
            lambda state: domain.draft(
                state,
                performance_id=str(made),
                holder=holder,
                known=catalogue.load(),
                category=request.category,
                information=request.information,
            ),
        )

    async def state_information(self, request: performance_pb2.StateInformationRequest) -> performance_pb2.StateInformationResponse:
        subject_id = self._subject()
        return await self._simple(
            performance_pb2.StateInformationResponse,
            performance_id(request.performance_id),
            lambda state: domain.state_information(
                state, subject_id, catalogue.load().performances, request.information, request.category, request.expected_version
            ),
        )

    async def record_change(self, request: performance_pb2.RecordContractChangeRequest) -> performance_pb2.RecordContractChangeResponse:
        """Begins the certificate of a contract change; its document and seal follow as with every certificate."""
        known = catalogue.load()
        kind = known.type(known.performances.change)
        fields = _change_fields(known, request)
        subject_id = self._subject()
        loaded = (await self._log.load(PERFORMANCE, performance_id(request.performance_id))).state
        domain.opened(loaded, subject_id)
        await materials.begin(self._log, subject_id, kind, request.performance_id)
        holder = await self._subjects.holder(subject_id)
        made = ids.uuid7()

        async def work(transaction: Transaction) -> performance_pb2.RecordContractChangeResponse:
            await self._log.execute(
                CERTIFICATE,
                made,
                lambda state: certificate_domain.draft(
                    state,
                    certificate_id=str(made),
                    holder=holder,
                    kind=kind,
                    catalogue_version=known.version,
                    mode=types_pb2.MODE_MANUAL,
                    fields=fields,
                    performance_id=request.performance_id,
                ),
                call_context.current(),
                transaction=transaction,
            )
            now = await self._load(transaction, performance_id(request.performance_id), subject_id)
            return performance_pb2.RecordContractChangeResponse(view=materials.whole(now.state.view, now.own), certificate_id=str(made))

        return await self._log.together(call_context.current(), performance_pb2.RecordContractChangeResponse, work)

    async def check(self, request: performance_pb2.CheckPerformanceRequest, today: date) -> performance_pb2.CheckPerformanceResponse:
        """The logic check as things stand, with what is missing altogether."""
        subject_id = self._subject()
        stream_id = performance_id(request.performance_id)
        async with self._log.transaction() as transaction:
            loaded = await self._load(transaction, stream_id, subject_id)
        findings = await self._findings(loaded, today)
        rows = domain.table(catalogue.load(), loaded.state.view, loaded.materials)
        return performance_pb2.CheckPerformanceResponse(
            findings=findings,
            missing=[row for row in rows if row.required and not row.HasField("certificate")],
            digest=check.digest(findings),
            missing_information=domain.missing_information(catalogue.load().performances, loaded.state.view.information),
        )

    async def submit(self, request: performance_pb2.SubmitPerformanceRequest, today: date) -> performance_pb2.SubmitPerformanceResponse:
        """Submits the performance and every material that isn't submitted yet, in one transaction: all or nothing.

        Raises ``field_required`` (information), ``material_missing``, ``material_not_ready`` (which, and why), ``check_failed``,
        ``check_unconfirmed``.
        """
        if len(request.confirm) > MAX_CONFIRMED:
            raise YunkuError("value_too_long", field="/confirm", max=str(MAX_CONFIRMED))
        context = call_context.current()
        subject_id = self._subject()
        stream_id = performance_id(request.performance_id)
        known = catalogue.load()
        names = await self._holder_names(subject_id)

        async def work(transaction: Transaction) -> performance_pb2.SubmitPerformanceResponse:
            loaded = await self._load(transaction, stream_id, subject_id)
            view = domain.opened(loaded.state, subject_id, request.expected_version)
            missing = domain.missing_information(known.performances, view.information)
            if missing:
                raise YunkuError("field_required", errors=[FieldError(f"/{name}", "field_required", {"field": name}) for name in missing])
            _complete(known, view, loaded.materials)
            due = [one for one in loaded.materials if certificate_domain.editable(one)]
            await self._ready(transaction, due, subject_id, today)
            findings = check.run(materials.check_inputs(view, loaded.materials, names, today))
            _confirmed(findings, request.confirm)
            for one in due:
                # The former gives up its place before the successor takes it.
                await self._on_former(one, _superseding(one.id), transaction)
                submitting = _submission(subject_id, one, today)
                outcome = await self._log.execute(CERTIFICATE, UUID(one.id), submitting, context, transaction=transaction)
                await stands_alone(outcome.state.view, transaction)
            after = await self._load(transaction, stream_id, subject_id)
            rows = domain.table(known, view, after.materials)
            confirmed = [one for one in findings if one.severity == check.WARNING]
            await self._log.execute(
                PERFORMANCE,
                stream_id,
                lambda state: domain.submit(
                    state,
                    subject_id,
                    materials=after.materials,
                    light=domain.light(known, rows),
                    confirmed=confirmed,
                    expected_version=view.version,
                ),
                context,
                transaction=transaction,
            )
            now = await self._load(transaction, stream_id, subject_id)
            return performance_pb2.SubmitPerformanceResponse(view=materials.whole(now.state.view, now.own))

        return await self._log.together(context, performance_pb2.SubmitPerformanceResponse, work)

    async def reopen(self, request: performance_pb2.ReopenPerformanceRequest) -> performance_pb2.ReopenPerformanceResponse:
        subject_id = self._subject()
        return await self._simple(
            performance_pb2.ReopenPerformanceResponse,
            performance_id(request.performance_id),
            lambda state: domain.reopen(state, subject_id, request.expected_version),
        )

    async def discard(self, request: performance_pb2.DiscardPerformanceRequest) -> performance_pb2.DiscardPerformanceResponse:
        """Gives a draft up with its materials; of a reopened one the drafts and open supplements of its materials."""
        context = call_context.current()
        subject_id = self._subject()
        stream_id = performance_id(request.performance_id)

        async def work(transaction: Transaction) -> performance_pb2.DiscardPerformanceResponse:
            loaded = await self._load(transaction, stream_id, subject_id)
            if loaded.state.view.state != certificate_domain.DISCARDED:
                domain.opened(loaded.state, subject_id, request.expected_version)
                for one in loaded.materials:
                    if certificate_domain.editable(one):
                        await self._log.execute(
                            CERTIFICATE,
                            UUID(one.id),
                            lambda state: certificate_domain.discard(state, subject_id, 0),
                            context,
                            transaction=transaction,
                        )
                        await self._on_former(one, _releasing(one.id), transaction)
                await self._log.execute(
                    PERFORMANCE,
                    stream_id,
                    lambda state: domain.discard(state, subject_id, request.expected_version),
                    context,
                    transaction=transaction,
                )
            now = await self._load(transaction, stream_id, subject_id)
            return performance_pb2.DiscardPerformanceResponse(view=materials.whole(now.state.view, now.own))

        return await self._log.together(context, performance_pb2.DiscardPerformanceResponse, work)

    async def push(self, request: performance_pb2.PushPerformanceRequest) -> performance_pb2.PushPerformanceResponse:
        """Pushes every submitted material to the domain; one whose version is pending or approved there isn't pushed twice."""
        context = call_context.current()
        subject_id = self._subject()
        stream_id = performance_id(request.performance_id)
        domain.owned((await self._log.load(PERFORMANCE, stream_id)).state, subject_id)
        await self._domains.require(request.domain_id)
        made = str(ids.uuid7())

        async def work(transaction: Transaction) -> performance_pb2.PushPerformanceResponse:
            loaded = await self._load(transaction, stream_id, subject_id)
            pushes: list[tuple[str, str]] = []
            fresh = False
            for one in loaded.materials:
                if one.state != certificate_domain.SUBMITTED:
                    continue
                standing = _standing(one, request.domain_id)
                if not standing:
                    standing, fresh = str(ids.derived("performance-push", made, one.id)), True
                    await self._log.execute(
                        CERTIFICATE, UUID(one.id), _pushing(subject_id, standing, request.domain_id), context, transaction=transaction
                    )
                pushes.append((one.id, standing))
            await self._log.execute(
                PERFORMANCE,
                stream_id,
                lambda state: domain.request_push(
                    state, subject_id, push_id=made, domain_id=request.domain_id, materials=pushes, fresh=fresh
                ),
                context,
                transaction=transaction,
            )
            now = await self._load(transaction, stream_id, subject_id)
            return performance_pb2.PushPerformanceResponse(view=materials.whole(now.state.view, now.own), push_id=made)

        return await self._log.together(context, performance_pb2.PushPerformanceResponse, work)

    async def withdraw(self, request: performance_pb2.WithdrawPerformancePushRequest) -> performance_pb2.WithdrawPerformancePushResponse:
        """Asks back every push of the whole that is still pending."""
        context = call_context.current()
        subject_id = self._subject()
        stream_id = performance_id(request.performance_id)

        async def work(transaction: Transaction) -> performance_pb2.WithdrawPerformancePushResponse:
            loaded = await self._load(transaction, stream_id, subject_id)
            told = domain.pushed(catalogue.load(), loaded.state.view, loaded.own)
            push = next((one for one in told.pushes if one.id == request.push_id), None)
            if push is None:
                raise YunkuError("not_found")
            pending = sorted((one.certificate_id, one.push_id) for one in push.materials if one.state in certificate_domain.PENDING)
            if not pending and push.state != "withdrawn":
                raise YunkuError("push_not_pending", state=push.state)
            for certificate_id, push_id in pending:
                await self._log.execute(
                    CERTIFICATE, UUID(certificate_id), _withdrawing(subject_id, push_id), context, transaction=transaction
                )
            now = await self._load(transaction, stream_id, subject_id)
            return performance_pb2.WithdrawPerformancePushResponse(view=materials.whole(now.state.view, now.own))

        return await self._log.together(context, performance_pb2.WithdrawPerformancePushResponse, work)

    # -- what commands share -------------------------------------------------------------------------------------------

    def _subject(self) -> str:
        return call_context.current().caller.require_subject()

    async def _holder_names(self, subject_id: str) -> list[str]:
        holder = await self._subjects.holder(subject_id)
        return [holder.name, *holder.former_names]

    async def _findings(self, loaded: Loaded, today: date) -> list[types_pb2.CheckFinding]:
        names = await self._holder_names(loaded.state.view.holder.subject_id)
        return check.run(materials.check_inputs(loaded.state.view, loaded.materials, names, today))

    async def _load(self, transaction: Transaction, stream_id: UUID, subject_id: str) -> Loaded:
        """The caller's own performance with its certificates. Raises ``not_found``."""
        state = (await self._log.load(PERFORMANCE, stream_id, transaction.connection)).state
        domain.owned(state, subject_id)
        return Loaded(state, await materials.certificates_of(transaction.connection, subject_id, [str(stream_id)]))

    async def _ready(self, transaction: Transaction, due: Sequence[service_pb2.Certificate], subject_id: str, today: date) -> None:
        """Whether each would be submitted by its own rules; all that aren't are told at once, by type and reason."""
        wrong: list[FieldError] = []
        for one in due:
            state = (await self._log.load(CERTIFICATE, UUID(one.id), transaction.connection)).state
            try:
                _submission(subject_id, one, today)(state)
            except YunkuError as refused:
                at = f"/materials/{one.type}/{one.id}"
                wrong += [FieldError(at + error.pointer, error.code, error.params) for error in refused.errors] or [
                    FieldError(at, refused.code, refused.params)
                ]
        if wrong:
            raise YunkuError("material_not_ready", errors=wrong[:100])

    async def _simple(self, response: type[R], stream_id: UUID, decide: Callable[[domain.State], Sequence[Message]]) -> R:
        """A command on the performance's own stream alone."""
        context = call_context.current()
        subject_id = self._subject()

        async def work(transaction: Transaction) -> R:
            await self._log.execute(PERFORMANCE, stream_id, decide, context, transaction=transaction)
            now = await self._load(transaction, stream_id, subject_id)
            return response(view=materials.whole(now.state.view, now.own))

        return await self._log.together(context, response, work)

    async def _on_former(
        self, one: service_pb2.Certificate, decide: Callable[[certificate_domain.State], Sequence[Message]], transaction: Transaction
    ) -> None:
        """What is to happen on the material that this one follows, if it follows any."""
        if one.supersedes:
            await self._log.execute(CERTIFICATE, UUID(one.supersedes), decide, call_context.current(), transaction=transaction)


def today() -> date:
    """Today where the documents' dates are from."""
    return datetime.now(UTC).astimezone(CHINA).date()


def _change_fields(known: catalogue.Catalogue, request: performance_pb2.RecordContractChangeRequest) -> dict[str, str]:
    """The fields of a contract change's certificate. Every mistake with its pointer into the request."""
    wrong: list[FieldError] = []
    kind = known.type(known.performances.change)
    try:
        item = known.performances.item(request.item)
    except KeyError:
        raise YunkuError("value_invalid", field="/item") from None
    fields = {"item": item.label}
    for name, text in (("content", request.content), ("changed_on", request.changed_on)):
        if not text.strip():
            if kind.field(name).required:
                wrong.append(FieldError(f"/{name}", "field_required", {"field": name}))
            continue
        try:
            fields[name] = kind.field(name).parse(text)
        except BadValue as problem:
            wrong.append(FieldError(f"/{name}", "value_invalid", {**problem.details, "problem": problem.code}))
    if not request.value.strip():
        wrong.append(FieldError("/value", "field_required", {"field": "value"}))
    else:
        try:
            fields["new_value"] = domain.change_value(known, item.code, request.value)
        except BadValue as problem:
            wrong.append(FieldError("/value", "value_invalid", {**problem.details, "problem": problem.code}))
    if wrong:
        raise YunkuError(wrong[0].code, errors=wrong)
    return fields


def _complete(known: catalogue.Catalogue, view: performance_pb2.Performance, there: Sequence[service_pb2.Certificate]) -> None:
    """Refuses while a required material isn't there. Raises ``material_missing``."""
    missing = [
        FieldError(
            f"/materials/{row.supports + '/' if row.supports else ''}{row.type}",
            "material_missing",
            {"material": known.type(row.type).label},
        )
        for row in domain.table(known, view, there)
        if row.required and not row.HasField("certificate")
    ]
    if missing:
        raise YunkuError("material_missing", errors=missing, material=missing[0].params["material"])


def _confirmed(findings: Sequence[types_pb2.CheckFinding], confirm: Sequence[str]) -> None:
    """Refuses on errors of the check, and on warnings that weren't confirmed. Raises ``check_failed``, ``check_unconfirmed``."""
    errors = [one for one in findings if one.severity == check.ERROR]
    if errors:
        raise YunkuError("check_failed", errors=[_told("check_failed", one) for one in errors[:100]])
    open_ones = check.unconfirmed(findings, confirm)
    if open_ones:
        raise YunkuError("check_unconfirmed", errors=[_told("check_unconfirmed", one) for one in open_ones[:100]])


def _told(code: str, finding: types_pb2.CheckFinding) -> FieldError:
    said = [source.value for source in finding.sources]
    params = {"finding": finding.code, "left": said[0][:200], "right": said[-1][:200]}
    return FieldError(f"/confirm/{finding.id}", code, params)


def _standing(one: service_pb2.Certificate, domain_id: str) -> str:
    """Id of the push of the accepted version that is pending or approved at the domain; empty where there is none."""
    for push in reversed(one.pushes):
        if push.domain_id == domain_id and push.version == one.accepted.version:
            return push.id if push.state in (*certificate_domain.PENDING, "approved") else ""
    return ""


def _submission(subject_id: str, one: service_pb2.Certificate, on: date) -> Callable[[certificate_domain.State], Sequence[Message]]:
    kind = catalogue.load().type(one.type)
    return lambda state: certificate_domain.submit(state, subject_id, kind, today=on, expected_version=one.version)


def _pushing(subject_id: str, push_id: str, domain_id: str) -> Callable[[certificate_domain.State], Sequence[Message]]:
    return lambda state: certificate_domain.request_push(state, subject_id, push_id=push_id, domain_id=domain_id)


def _superseding(successor_id: str) -> Callable[[certificate_domain.State], Sequence[Message]]:
    return lambda former: certificate_domain.supersede(former, successor_id)


def _releasing(successor_id: str) -> Callable[[certificate_domain.State], Sequence[Message]]:
    return lambda former: certificate_domain.release_successor(former, successor_id)


def _withdrawing(subject_id: str, push_id: str) -> Callable[[certificate_domain.State], Sequence[Message]]:
    return lambda state: certificate_domain.withdraw_push(state, subject_id, push_id)
