"""Says once that Kafka is away, and once that it is back."""

import logging
from datetime import UTC, datetime
from typing import Final

logger = logging.getLogger(__name__)

# One question that is not answered in time may be a busy machine's.
MISSED: Final = 2


class KafkaAway:
    """Told after each question whether Kafka answered."""

    def __init__(self, servers: str) -> None:
        """Of the Kafka at `servers`, which answers now."""
        self._servers = servers
        self._missed = 0
        self._answered_at: float | None = None

    def note(self, answered: bool, now: float) -> None:
        """Take in an answer, or that there was none; `now` is Unix time, in seconds."""
        if answered:
            if self._missed >= MISSED and self._answered_at is not None:
                logger.warning("Kafka at %s is back after %.0f s", self._servers, now - self._answered_at)
            self._missed, self._answered_at = 0, now
            return
        self._answered_at = self._answered_at or now
        self._missed += 1
        if self._missed == MISSED:
            since = datetime.fromtimestamp(self._answered_at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            logger.warning("Kafka at %s is away since %s: this worker waits for it", self._servers, since)
