"""What ocr, verify, signing and push found out, taken into the certificate's own history."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from google.protobuf.message import Message
from yunku.certificate.v1 import events_pb2, types_pb2
from yunku.kernel.v1 import kernel_pb2
from yunku.ocr.v1 import events_pb2 as ocr_events
from yunku.push.v1 import events_pb2 as push_events
from yunku.signing.v1 import events_pb2 as signing_events
from yunku.verify.v1 import events_pb2 as verify_events

from kernel.bus.consumer import Handler, Subscription
from kernel.context import CallContext, Caller, CallerKind
from kernel.eventlog.events import RecordedEvent
from kernel.eventlog.hashing import microseconds
from kernel.eventlog.store import EventLog, Transaction
from services.certificate import domain
from services.certificate.projections import CERTIFICATE

Decide = Callable[[domain.State, Any, RecordedEvent], Sequence[Message]]


def subscriptions(log: EventLog) -> list[Subscription]:
    """One handler per foreign event; each appends to the stream of the certificate that the event names, or nothing."""

    def taking(decide: Decide) -> Handler:
        async def handle(event: RecordedEvent, transaction: Transaction, context: CallContext) -> None:
            # Who acted there acted here: the operation record names the reviewer, not the service that passed the word on.
            await log.execute(
                CERTIFICATE,
                UUID(event.data.certificate_id),
                lambda state: decide(state, event.data, event) if state.exists else [],
                replace(context, caller=_actor(event)),
                transaction=transaction,
                subject_id=event.meta.acting_subject_id,
            )

        return handle

    return [
        Subscription(
            "ocr",
            ocr_events,
            {
                ocr_events.FieldsExtracted: taking(_extracted),
                ocr_events.RecognitionPostponed: taking(_recognition_postponed),
            },
        ),
        Subscription(
            "verify",
            verify_events,
            {
                verify_events.Verified: taking(_verified),
                verify_events.VerificationPostponed: taking(_verification_postponed),
            },
        ),
        Subscription("signing", signing_events, {signing_events.Signed: taking(_signed)}),
        Subscription(
            "push",
            push_events,
            {
                push_events.PushDelivered: taking(_progress("DELIVERED")),
                push_events.PushAcknowledged: taking(_progress("ACKNOWLEDGED")),
                push_events.PushWithdrawn: taking(_progress("WITHDRAWN")),
                push_events.Reviewed: taking(_reviewed),
                push_events.Appealed: taking(_appealed),
                push_events.AppealAnswered: taking(_appeal_answered),
            },
        ),
    ]


_ACTORS: Final[dict[int, CallerKind]] = {
    kernel_pb2.ACTOR_KIND_ACCOUNT: "account",
    kernel_pb2.ACTOR_KIND_SERVICE: "service",
    kernel_pb2.ACTOR_KIND_DOMAIN_SYSTEM: "domain_system",
}


def _actor(event: RecordedEvent) -> Caller:
    return Caller(kind=_ACTORS[event.meta.actor_kind], id=event.meta.actor_id)


def _extracted(state: domain.State, data: ocr_events.FieldsExtracted, event: RecordedEvent) -> Sequence[Message]:
    return domain.record_recognition(
        state,
        events_pb2.RecognitionRecorded(
            certificate_id=data.certificate_id,
            document_sha256=data.document_sha256,
            fields=data.fields,
            engine=data.engine,
            engine_version=data.engine_version,
            pages_rendered=data.pages_rendered,
        ),
    )


def _recognition_postponed(state: domain.State, data: ocr_events.RecognitionPostponed, event: RecordedEvent) -> Sequence[Message]:
    return domain.record_recognition_delay(
        state,
        events_pb2.RecognitionDelayed(certificate_id=data.certificate_id, document_sha256=data.document_sha256, reason=data.reason),
    )


def _verified(state: domain.State, data: verify_events.Verified, event: RecordedEvent) -> Sequence[Message]:
    return domain.record_verdict(
        state,
        events_pb2.VerdictRecorded(
            certificate_id=data.certificate_id,
            verification_id=data.verification_id,
            version=data.version,
            light=data.light,
            fields=data.fields,
            rules=data.rules,
            rules_version=data.rules_version,
            engine_version=data.engine_version,
        ),
    )


def _verification_postponed(state: domain.State, data: verify_events.VerificationPostponed, event: RecordedEvent) -> Sequence[Message]:
    return domain.record_verification_delay(
        state,
        events_pb2.VerificationDelayed(
            certificate_id=data.certificate_id, verification_id=data.verification_id, version=data.version, reason=data.reason
        ),
    )


def _signed(state: domain.State, data: signing_events.Signed, event: RecordedEvent) -> Sequence[Message]:
    seal: types_pb2.Seal = data.seal
    return domain.record_seal(state, data.certificate_id, seal)


def _progress(name: str) -> Decide:
    def decide(state: domain.State, data: Any, event: RecordedEvent) -> Sequence[Message]:
        return domain.record_progress(
            state,
            events_pb2.PushProgressRecorded(
                certificate_id=data.certificate_id, push_id=data.push_id, state=name, at_us=microseconds(event.recorded_at)
            ),
        )

    return decide


def _reviewed(state: domain.State, data: push_events.Reviewed, event: RecordedEvent) -> Sequence[Message]:
    return domain.record_review(
        state,
        events_pb2.ReviewRecorded(
            certificate_id=data.certificate_id,
            push_id=data.push_id,
            domain_id=data.domain_id,
            version=data.version,
            decision=data.decision,
            opinion=data.opinion,
            reviewed_at_us=microseconds(event.recorded_at),
            channel=push_events.ReviewChannel.Name(data.channel).removeprefix("REVIEW_CHANNEL_").lower(),
            reviewer_id=data.reviewer_id,
            reasons=data.reasons,
        ),
    )


def _appealed(state: domain.State, data: push_events.Appealed, event: RecordedEvent) -> Sequence[Message]:
    return domain.record_appeal(
        state,
        events_pb2.AppealRecorded(
            certificate_id=data.certificate_id,
            push_id=data.push_id,
            domain_id=data.domain_id,
            grounds=data.grounds,
            appealed_at_us=microseconds(event.recorded_at),
        ),
    )


def _appeal_answered(state: domain.State, data: push_events.AppealAnswered, event: RecordedEvent) -> Sequence[Message]:
    return domain.record_appeal_answer(
        state,
        events_pb2.AppealAnswerRecorded(
            certificate_id=data.certificate_id,
            push_id=data.push_id,
            domain_id=data.domain_id,
            decision=data.decision,
            opinion=data.opinion,
            answered_at_us=microseconds(event.recorded_at),
        ),
    )
