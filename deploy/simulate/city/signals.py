"""The messages of a city, as columns; the same for the same seed and start, so those of the last minute are made again, not kept."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from deploy.simulate.city.kinds import KINDS, Array, Moments
from schemas import json_wire

DAY_SECONDS: Final = 86_400
NOISES: Final = 3


@dataclass(frozen=True)
class Signals:
    """What a fleet says. In round k every device sends its message number k, at its moment of the `period_ms` after start + k periods."""

    fleet: pl.DataFrame
    seed: int
    start_ms: int
    period_ms: float
    disorder_ms: int = 0
    """Devices' clocks, and when they come to send, are off by up to so much either way."""

    def messages(self, first: int, rounds: int) -> pl.DataFrame:
        """Messages of some rounds, in the order they are sent.

        `device`: row of the fleet; `sequence`: counts a device's messages; `number`: counts all, sequence x devices + device;
        `timestamp` (ms, of the measurement), `sent_at` (ms) and `payload` (JSON).
        """
        devices = self.fleet.height
        drawn = [np.random.default_rng((self.seed, k)) for k in range(first, first + rounds)]
        noise = np.stack([np.clip(rng.standard_normal((NOISES, devices)), -4, 4) for rng in drawn], axis=1)
        off_ms = np.stack([rng.uniform(-self.disorder_ms, self.disorder_ms, devices) for rng in drawn])
        sequence = np.repeat(np.arange(first, first + rounds)[:, None], devices, axis=1)
        sent_at = self.start_ms + ((sequence + self._moments) * self.period_ms).astype(np.int64)
        timestamp = sent_at + off_ms.astype(np.int64)
        frames = []
        for kind in KINDS:
            of_kind = self._rows[kind.name]
            if not len(of_kind):
                continue
            at = timestamp[:, of_kind]
            seconds = at / 1000
            members = kind.members(
                Moments(
                    hour=seconds % DAY_SECONDS / 3600,
                    seconds=seconds - self.start_ms / 1000,
                    own=self._column("own", of_kind),
                    phase=self._column("phase", of_kind),
                    noise=noise[:, :, of_kind],
                )
            )
            said = pl.DataFrame({"timestamp": at.ravel(), "sequence": sequence[:, of_kind].ravel()}).with_columns(
                self.fleet["district"][np.tile(of_kind, rounds)],
                *(pl.Series(name, _rounded(values).ravel()) for name, values in members.items()),
            )
            frames.append(
                said.select(
                    pl.Series("device", np.tile(of_kind, rounds)),
                    "sequence",
                    (pl.col("sequence") * devices + pl.Series(np.tile(of_kind, rounds))).alias("number"),
                    "timestamp",
                    pl.Series("sent_at", sent_at[:, of_kind].ravel()),
                    pl.Series("payload", json_wire.encode(said), dtype=pl.Binary),
                )
            )
        return pl.concat(frames).sort("sent_at", "number")

    @cached_property
    def _moments(self) -> NDArray[np.float64]:
        return np.random.default_rng(self.seed).random(self.fleet.height)

    @cached_property
    def _rows(self) -> dict[str, NDArray[np.int64]]:
        return {kind.name: (self.fleet["kind"] == kind.name).arg_true().to_numpy().astype(np.int64) for kind in KINDS}

    def _column(self, name: str, rows: NDArray[np.int64]) -> Array:
        return self.fleet[name].to_numpy()[rows]


def _rounded(values: Array) -> Array:
    return np.round(values, 2) if values.dtype.kind == "f" else values
