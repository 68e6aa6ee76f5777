"""Questions."""

import re
from typing import Final

from sqlalchemy import select
from yunku.signing.v1 import service_pb2

from kernel.context import CallContext
from kernel.errors import YunkuError
from kernel.eventlog.sql import render
from services.signing.handlers import Desk, judge_again, require_service
from services.signing.projections import SEAL
from services.signing.tables import preparations

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


async def validate(desk: Desk, request: service_pb2.ValidateRequest, context: CallContext) -> service_pb2.ValidateResponse:
    """Judges a sealed PDF as it is stored. Raises ``not_found`` for one that this service never made."""
    require_service(context)
    if not _SHA256.fullmatch(request.sealed_sha256):
        raise YunkuError("not_found")
    query = select(preparations.c.preparation_id).where(preparations.c.sealed_sha256 == request.sealed_sha256)
    async with desk.log.pool.connection() as connection:
        row = await (await connection.execute(*render(query.limit(1)), prepare=True)).fetchone()
    if row is None:
        raise YunkuError("not_found")
    state = (await desk.log.load(SEAL, row[0])).state
    judgement = await judge_again(desk, state)
    return service_pb2.ValidateResponse(valid=judgement.valid, reason=judgement.reason, seal=state.seal, statement=judgement.statement)
