"""Questions about verdicts, answered from the log itself."""

from uuid import UUID

from yunku.verify.v1 import service_pb2

from kernel.context import Caller
from kernel.errors import YunkuError
from kernel.eventlog.store import EventLog
from services.verify import domain
from services.verify.projections import VERIFICATION


async def explain(log: EventLog, verification_id: str, caller: Caller) -> service_pb2.ExplainResponse:
    """The verdict with its evidence. ``not_found`` unless it is the caller's; ``verification_running`` before it is reached."""
    state = await _visible(log, verification_id, caller)
    return service_pb2.ExplainResponse(verified=state.verified)


async def replay(log: EventLog, verification_id: str, caller: Caller) -> service_pb2.ReplayResponse:
    """Decides again from the recorded inputs, and says whether it is the same verdict. Refusals as ``explain``."""
    state = await _visible(log, verification_id, caller)
    assert state.accepted is not None
    assert state.verified is not None
    again = domain.replay(state.accepted, state.verified)
    return service_pb2.ReplayResponse(verified=again, same=domain.same(again, state.verified))


async def _visible(log: EventLog, verification_id: str, caller: Caller) -> domain.Verification:
    try:
        stream_id = UUID(verification_id)
    except ValueError:
        raise YunkuError("not_found") from None
    state = (await log.load(VERIFICATION, stream_id)).state
    if state.accepted is None:
        raise YunkuError("not_found")
    own = bool(caller.subject_id) and caller.subject_id == state.accepted.holder.subject_id
    if not (caller.kind == "service" or (caller.kind == "account" and own) or caller.has_role("AUDITOR")):
        raise YunkuError("not_found")
    if state.verified is None:
        raise YunkuError("verification_running")
    return state
