"""The register's calendar: its days, and those on documents, are China's."""

from datetime import timedelta, timezone
from typing import Final

CHINA: Final = timezone(timedelta(hours=8))
