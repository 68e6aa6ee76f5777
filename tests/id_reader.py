"""A simulated ID-card reader: what an agent beside a real one hands over (docs/id-reader.md)."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Card:
    """What the chip of a card holds."""

    name: str
    id_no: str
    ethnicity: str = "汉"
    address: str = "辽宁省沈阳市和平区南京南街1号"
    issuing_authority: str = "沈阳市公安局和平分局"
    valid_from: str = "2020-01-01"
    valid_until: str = "2040-01-01"
    photo: bytes = b"a photo"


class SimulatedReader:
    """One device."""

    def __init__(self, serial: str = "SIM-0001") -> None:
        self.serial = serial

    def read(self, card: Card, at: datetime | None = None) -> dict[str, str]:
        """One reading of a card."""
        number = card.id_no
        return {
            "name": card.name,
            "gender": "男" if int(number[16]) % 2 else "女",
            "ethnicity": card.ethnicity,
            "birth_date": f"{number[6:10]}-{number[10:12]}-{number[12:14]}",
            "address": card.address,
            "id_no": number,
            "issuing_authority": card.issuing_authority,
            "valid_from": card.valid_from,
            "valid_until": card.valid_until,
            "photo_sha256": hashlib.sha256(card.photo).hexdigest(),
            "reader_serial": self.serial,
            "read_at": (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "nonce": secrets.token_hex(16),
        }
