"""Events and seals as they were first written: readable, and valid, for ever.

The files of ``golden/signing`` are never changed; files of a new version are added beside them. The seals were made by a
development CA that is gone, and are judged, as the service does it, at the moment and by the revocation lists of then.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from kernel import pki
from services.signing import adapters, digital, domain, handlers
from services.signing.projections import TYPES
from tests.service import seal_kit as kit

GOLDEN = Path(__file__).parent / "golden" / "signing"
JUDGED_AT = datetime.fromisoformat((GOLDEN / "judged_at").read_text())
TRUST = handlers.trust_of_bundle((GOLDEN / "trust.json").read_bytes())


def payload(name: str, version: int) -> bytes:
    return base64.b64decode((GOLDEN / f"{name}-{version}.b64").read_text("ascii"))


def event(name: str, version: int = 1) -> Any:
    return TYPES.decode(f"yunku.signing.v1.{name}", version, payload(name, version))


def test_every_event_type_has_its_golden_payload() -> None:
    written = {path.stem for path in GOLDEN.glob("*.b64")}
    assert {f"{name.rsplit('.', 1)[-1]}-{TYPES.current_version(name)}" for name in TYPES.names} <= written


@pytest.mark.parametrize(
    "name",
    ["SealPrepared", "Signed", "SealRefused", "SealedDocumentLocked", "DigitalCertificateIssued", "DigitalCertificateRevoked"],
)
def test_what_was_written_says_today_what_it_said(name: str) -> None:
    assert event(name).SerializeToString(deterministic=True) == payload(name, 1)


def test_the_state_of_then() -> None:
    state = domain.Preparation()
    for name in ("SealPrepared", "Signed", "SealedDocumentLocked"):
        state = domain.evolve(state, event(name), JUDGED_AT)
    assert state.phase is domain.Phase.SIGNED
    assert state.seal is not None
    assert (state.seal.version, state.seal.signer_uscc) == (3, "91210202MA0YK0015G")
    assert state.retain_until_us == 2110000000000000


def test_the_digital_certificate_of_then() -> None:
    state = digital.DigitalCertificate()
    for name in ("DigitalCertificateIssued", "DigitalCertificateRevoked"):
        state = digital.evolve(state, event(name), JUDGED_AT)
    assert state.issued is not None
    assert (state.issued.unique_code, state.issued.status_index, state.revoked) == ("21QABCDEFGHIJKLMNOPQ", 7, "replaced")


@pytest.mark.parametrize("name", ["pdf", "jpeg", "copy"])
def test_seals_stay_valid(name: str) -> None:
    judged = kit.judge((GOLDEN / f"sealed-{name}.pdf").read_bytes(), TRUST, at=JUDGED_AT)
    assert judged["reason"] == ""
    assert judged["facts"]["version"] == 3
    assert judged["signer"]["uscc"] == "91210202MA0YK0015G"
    assert judged["timestamp"]


def test_a_preparation_of_then_can_be_finished_today() -> None:
    prepared = event("SealPrepared")
    signature = bytes.fromhex((GOLDEN / "prepared.signature").read_text())
    document = (GOLDEN / "sealed-pdf.pdf").read_bytes()
    _, first, second, _ = json.loads(prepared.finishing_json)["byte_range"]
    emptied = document[: first + 1] + b"0" * (second - first - 2) + document[second - 1 :]
    kept = adapters.prepared_from(emptied, prepared.to_sign, prepared.finishing_json)
    leaf = pki.parse_chain(prepared.certificate_pem)[0]
    assert kit.judge(adapters.finish(kept, signature, leaf), TRUST, at=JUDGED_AT)["reason"] == ""
