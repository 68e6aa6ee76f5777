"""Commands: load, ask others what must be asked, decide, append. No remote call happens inside a transaction."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from google.protobuf.message import Message
from sqlalchemy import select
from yunku.certificate.v1 import service_pb2

import catalogue
from catalogue import CertificateType, Owner
from kernel import context as call_context
from kernel import ids
from kernel.calendar import CHINA
from kernel.errors import YunkuError
from kernel.eventlog.sql import render
from kernel.eventlog.store import EventLog, Transaction
from services.certificate import domain
from services.certificate.performances import materials
from services.certificate.ports import Domains, Inspector, Persons, Sealer, Subjects
from services.certificate.projections import CERTIFICATE, view_of
from services.certificate.tables import MATERIAL_SLOT, certificates

R = TypeVar("R", bound=Message)



def certificate_id(text: str) -> UUID:
    """The id of a certificate; what is none names no certificate of the caller's."""
    try:
        return UUID(text)
    except ValueError:
        raise YunkuError("not_found") from None


def former_id(text: str) -> UUID:
    """The id of a certificate to be followed."""
    try:
        return UUID(text)
    except ValueError:
        raise YunkuError("not_found", field="/supersedes") from None


class Handlers:
    """One method per command; each answers with the certificate as it is after its own event."""

    def __init__(self, log: EventLog, subjects: Subjects, persons: Persons, inspector: Inspector, sealer: Sealer, domains: Domains) -> None:
        self._log = log
        self._subjects = subjects
        self._persons = persons
        self._inspector = inspector
        self._sealer = sealer
        self._domains = domains

    async def draft(self, request: service_pb2.DraftCertificateRequest, place: UUID | None = None) -> service_pb2.DraftCertificateResponse:
        context = call_context.current()
        subject_id = context.caller.require_subject()
        known = catalogue.load()
        if not known.has_type(request.type):
            raise YunkuError("type_unknown", field="/type")
        # Rises with time, which lists are ordered by. A command repeated gets its first answer, and so its first draft, by its key.
        # A row of an import has its place, and so its one draft, from before.
        made = place or ids.uuid7()
        kind = known.type(request.type)
        prefilled = {} if await self._log.answered(context) else await materials.begin(self._log, subject_id, kind, request.performance_id)
        holder = await self._subjects.holder(subject_id)

        def follow(former: domain.State) -> Sequence[Message]:
            return domain.begin_successor(
                former, subject_id, str(made), kind=kind, person_id=request.person_id, performance_id=request.performance_id
            )

        bound = bool(request.person_id) and kind.owner is Owner.PERSON and await self._persons.bound(request.person_id, subject_id)
        try:
            outcome = await self._log.execute(
                CERTIFICATE,
                made,
                lambda state: domain.draft(
                    state,
                    certificate_id=str(made),
                    holder=holder,
                    kind=kind,
                    catalogue_version=known.version,
                    mode=request.mode,
                    fields={**prefilled, **request.fields},
                    person_id=request.person_id,
                    performance_id=request.performance_id,
                    supersedes=request.supersedes,
                    person_bound=bound,
                ),
                context,
                respond=lambda state, _: service_pb2.DraftCertificateResponse(certificate=view_of(state) if state.exists else None),
                also=self._on_former(follow) if request.supersedes else None,
            )
        except psycopg.errors.UniqueViolation as taken:
            if taken.diag.constraint_name != MATERIAL_SLOT:
                raise
            raise YunkuError("material_exists", field="/performance_id") from None
        return _reply(service_pb2.DraftCertificateResponse, outcome.response)

    async def assign_person(self, request: service_pb2.AssignPersonRequest) -> service_pb2.AssignPersonResponse:
        bound = await self._persons.bound(request.person_id, call_context.current().caller.require_subject())
        return await self._command(
            service_pb2.AssignPersonResponse,
            request.certificate_id,
            lambda state, subject_id, kind: domain.assign_person(state, subject_id, kind(), request.person_id, person_bound=bound),
        )

    async def upload(self, request: service_pb2.UploadDocumentRequest) -> service_pb2.UploadDocumentResponse:
        view = await self._changing(request.certificate_id)
        if not domain.editable(view):
            raise YunkuError("wrong_state", state=view.state)
        document = await self._inspector.inspect(request.sha256, request.size)
        document.file_name = request.file_name[:200]
        return await self._command(
            service_pb2.UploadDocumentResponse,
            request.certificate_id,
            lambda state, subject_id, _: domain.upload(state, subject_id, document, request.expected_version),
        )

    async def state_fields(self, request: service_pb2.StateFieldsRequest) -> service_pb2.StateFieldsResponse:
        await self._changing(request.certificate_id)
        return await self._command(
            service_pb2.StateFieldsResponse,
            request.certificate_id,
            lambda state, subject_id, kind: domain.state_fields(
                state,
                subject_id,
                kind(),
                request.fields,
                list(request.absent) if request.set_absent else None,
                request.expected_version,
            ),
        )

    async def mark_fields(self, request: service_pb2.MarkFieldsRequest) -> service_pb2.MarkFieldsResponse:
        await self._changing(request.certificate_id)
        return await self._command(
            service_pb2.MarkFieldsResponse,
            request.certificate_id,
            lambda state, subject_id, kind: domain.mark_fields(state, subject_id, kind(), request.marks, request.expected_version),
        )

    async def switch_mode(self, request: service_pb2.SwitchModeRequest) -> service_pb2.SwitchModeResponse:
        await self._changing(request.certificate_id)
        return await self._command(
            service_pb2.SwitchModeResponse,
            request.certificate_id,
            lambda state, subject_id, kind: domain.switch_mode(state, subject_id, kind(), request.mode, request.expected_version),
        )

    async def request_verification(self, request: service_pb2.RequestVerificationRequest) -> service_pb2.RequestVerificationResponse:
        view = await self._changing(request.certificate_id)
        holder = await self._subjects.holder(view.holder.subject_id)
        version = catalogue.load().version
        made = str(ids.uuid7())
        return await self._command(
            service_pb2.RequestVerificationResponse,
            request.certificate_id,
            lambda state, subject_id, kind: domain.request_verification(
                state,
                subject_id,
                kind(),
                verification_id=made,
                holder=holder,
                catalogue_version=version,
                expected_version=request.expected_version,
            ),
        )

    async def prepare_seal(self, request: service_pb2.PrepareSealRequest) -> service_pb2.PrepareSealResponse:
        await self._changing(request.certificate_id)
        state = (await self._log.load(CERTIFICATE, certificate_id(request.certificate_id))).state
        subject_id = call_context.current().caller.require_subject()
        view = domain.may_seal(state, subject_id, catalogue.load().type(state.view.type), request.expected_version)
        return await self._sealer.prepare(view, domain.statement(view), request)

    async def complete_seal(self, request: service_pb2.CompleteSealRequest) -> service_pb2.CompleteSealResponse:
        view = await self._changing(request.certificate_id)
        if not domain.editable(view):
            raise YunkuError("wrong_state", state=view.state)
        # Signing records Signed before it answers; should this process end here, its consumer records the seal all the same.
        seal = await self._sealer.complete(request.certificate_id, request.preparation_id, request.signature)

        def decide(state: domain.State, subject_id: str, _: Any) -> Sequence[Message]:
            present = domain.owned(state, subject_id)
            if present.version != seal.version:
                raise YunkuError("version_conflict", version=str(present.version))
            if not domain.covers(seal, present):
                raise YunkuError("seal_outdated")
            return domain.record_seal(state, present.id, seal)

        return await self._command(service_pb2.CompleteSealResponse, request.certificate_id, decide)

    async def submit(self, request: service_pb2.SubmitRequest) -> service_pb2.SubmitResponse:
        if not await self._log.answered(call_context.current()):
            await materials.may_submit(self._log, await self._changing(request.certificate_id))
        today = datetime.now(UTC).astimezone(CHINA).date()
        supersede = self._on_former(lambda former: domain.supersede(former, request.certificate_id))

        async def enter(state: domain.State, transaction: Transaction) -> None:
            await supersede(state, transaction)
            await stands_alone(state.view, transaction)

        return await self._command(
            service_pb2.SubmitResponse,
            request.certificate_id,
            lambda state, subject_id, kind: domain.submit(
                state, subject_id, kind(), today=today, expected_version=request.expected_version
            ),
            also=enter,
        )

    async def begin_supplement(self, request: service_pb2.BeginSupplementRequest) -> service_pb2.BeginSupplementResponse:
        await materials.may_supplement(self._log, await self._changing(request.certificate_id))
        return await self._command(
            service_pb2.BeginSupplementResponse,
            request.certificate_id,
            lambda state, subject_id, kind: domain.begin_supplement(state, subject_id, kind(), request.expected_version),
        )

    async def contest_light(self, request: service_pb2.ContestLightRequest) -> service_pb2.ContestLightResponse:
        return await self._command(
            service_pb2.ContestLightResponse,
            request.certificate_id,
            lambda state, subject_id, _: domain.contest_light(state, subject_id, request.grounds, request.expected_version),
        )

    async def discard(self, request: service_pb2.DiscardRequest) -> service_pb2.DiscardResponse:
        return await self._command(
            service_pb2.DiscardResponse,
            request.certificate_id,
            lambda state, subject_id, _: domain.discard(state, subject_id, request.expected_version),
            also=self._on_former(lambda former: domain.release_successor(former, request.certificate_id)),
        )

    async def request_push(self, request: service_pb2.RequestPushRequest) -> service_pb2.RequestPushResponse:
        context = call_context.current()
        await self._changing(request.certificate_id)
        await self._domains.require(request.domain_id)
        key = context.idempotency_key
        made = str(ids.derived("push", context.caller.id, key) if key else ids.uuid7())
        return await self._command(
            service_pb2.RequestPushResponse,
            request.certificate_id,
            lambda state, subject_id, _: domain.request_push(state, subject_id, push_id=made, domain_id=request.domain_id),
            push_id=made,
        )

    async def withdraw_push(self, request: service_pb2.WithdrawPushRequest) -> service_pb2.WithdrawPushResponse:
        return await self._command(
            service_pb2.WithdrawPushResponse,
            request.certificate_id,
            lambda state, subject_id, _: domain.withdraw_push(state, subject_id, request.push_id),
        )

    # -- what every command shares -------------------------------------------------------------------------------------

    async def _changing(self, text: str) -> service_pb2.Certificate:
        """The caller's own certificate, before anything remote is done for it; a person's only while the company employs them:
        what it submitted of former ones stays as it is (manual 三 (三) 11)."""
        context = call_context.current()
        subject_id = context.caller.require_subject()
        view = domain.owned((await self._log.load(CERTIFICATE, certificate_id(text))).state, subject_id)
        if view.person_id and not await self._log.answered(context) and not await self._persons.bound(view.person_id, subject_id):
            raise YunkuError("person_not_bound")
        return view

    def _on_former(self, decide: Callable[[domain.State], Sequence[Message]]) -> Callable[[domain.State, Transaction], Awaitable[None]]:
        """What is to happen on the certificate that this one follows, if it follows any, in the same transaction."""
        context = call_context.current()

        async def append(state: domain.State, transaction: Transaction) -> None:
            if state.view.supersedes:
                await self._log.execute(CERTIFICATE, former_id(state.view.supersedes), decide, context, transaction=transaction)

        return append

    async def _command(
        self,
        response: type[R],
        text: str,
        decide: Any,
        also: Callable[[domain.State, Transaction], Awaitable[None]] | None = None,
        **more: str,
    ) -> R:
        """Runs ``decide(state, subject_id, kind)``; ``kind()`` is the certificate's type, looked up once ownership is known."""
        context = call_context.current()
        subject_id = context.caller.require_subject()

        def decided(state: domain.State) -> Sequence[Message]:
            def kind() -> CertificateType:
                return catalogue.load().type(domain.owned(state, subject_id).type)

            events: Sequence[Message] = decide(state, subject_id, kind)
            return events

        outcome = await self._log.execute(
            CERTIFICATE,
            certificate_id(text),
            decided,
            context,
            respond=lambda state, _: response(certificate=view_of(state), **more),
            also=also,
        )
        return _reply(response, outcome.response)


async def stands_alone(view: service_pb2.Certificate, transaction: Transaction) -> None:
    """Refuses a submission that may not stand beside the holder's others of its type (catalogue: unique_by, at_most)."""
    kind = catalogue.load().type(view.type)
    if not kind.unique_by and kind.at_most is None:
        return
    # One submission of a holder and type at a time until the commit, so that the next one sees what this one entered.
    lock = "/".join(("alone", view.holder.subject_id, view.type, view.person_id, view.performance_id))
    await transaction.connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (lock,))
    columns = certificates.c
    others = select(columns.certificate).where(
        columns.subject_id == view.holder.subject_id,
        columns.type == view.type,
        columns.state == domain.SUBMITTED,
        columns.certificate_id != UUID(view.id),
    )
    rows = await (await transaction.connection.execute(*render(others))).fetchall()
    others_of_type = [service_pb2.Certificate.FromString(bytes(row[0])) for row in rows]
    ties = (view.person_id, view.performance_id)
    domain.stands_alone(kind, view, [one for one in others_of_type if (one.person_id, one.performance_id) == ties])


def _reply(kind: type[R], response: Any) -> R:
    if not isinstance(response, kind):
        raise TypeError(f"{type(response).__name__} is no {kind.__name__}")
    return response
