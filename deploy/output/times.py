"""Times as people read them."""

from datetime import UTC, datetime
from typing import Final

TEN_YEARS: Final = 5_256_000
"""In minutes: longer times of options are slips, and some no calendar has."""


def when(ms: int | None) -> str:
    """ISO 8601 with its zone, UTC, to the second: 2026-11-30T06:54:05Z; of Unix time in ms; of 0 and None nothing, as that is no time."""
    if not ms:
        return ""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
