"""What is true of a simulated run: which message of which device was sent, and whether somebody took responsibility for it."""

from collections import Counter
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from agents.gateway.message import Verdict

TAKEN: Final = frozenset({Verdict.DELIVERED, Verdict.SPOOLED, Verdict.DUPLICATE})
"""Verdicts that acknowledge a message: Kafka has it, or will."""
_SENT, _ACKNOWLEDGED = 1, 2


class Truth:
    """By message number, a byte each: ten thousand messages a second take 36 MB in an hour."""

    def __init__(self, fleet: pl.DataFrame) -> None:
        self._fleet = fleet
        self._states = bytearray()
        self.sent: Counter[str] = Counter()
        """Messages sent, by fault; `sound` are the first copies of the devices' messages."""
        self.verdicts: Counter[tuple[str, str]] = Counter()
        """Answers by protocol and verdict; an MQTT broker's acknowledgement is `delivered`."""

    def delivered(self, messages: pl.DataFrame) -> None:
        """Messages on their way."""
        for fault, count in messages.group_by(pl.col("fault").fill_null("sound")).len().iter_rows():
            self.sent[fault] += count
        numbers = messages.filter(pl.col("number") >= 0)["number"]
        missing = (max(numbers) if len(numbers) else -1) + 1 - len(self._states)
        self._states.extend(bytes(max(0, missing)))
        states = np.frombuffer(self._states, np.uint8)
        states[numbers.to_numpy()] |= _SENT

    def settled(self, number: int, protocol: str, verdict: str) -> None:
        """The answer to a message, or to one without a number."""
        self.verdicts[protocol, verdict] += 1
        if number >= 0 and verdict in TAKEN:
            self._states[number] |= _ACKNOWLEDGED

    def frame(self) -> pl.DataFrame:
        """A row for each message sent: `device_id`, `kind`, `protocol`, `topic`, `sequence` and whether it was `acknowledged`."""
        states = np.frombuffer(bytes(self._states), np.uint8)
        numbers = np.flatnonzero(states & _SENT)
        of_device = self._fleet.select("device_id", "kind", "protocol", "topic")[numbers % self._fleet.height]
        return of_device.with_columns(
            pl.Series("sequence", numbers // self._fleet.height),
            pl.Series("acknowledged", states[numbers] & _ACKNOWLEDGED > 0),
        )

    def write(self, path: Path) -> None:
        """As Parquet."""
        self.frame().write_parquet(path)
