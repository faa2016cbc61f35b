"""What the sensors measure: drift, noise, shifts, wear and repair, as columns; the same for the same seed and start."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Of a cycle of wear: sound for so long, then wearing out, broken until then, and as new after the repair.
SOUND: Final = 0.4
WEARING: Final = 0.3
BROKEN_UNTIL: Final = 0.8

SHAPES: Final[Mapping[str, Callable[[Array], Array]]] = {
    "linear": lambda progress: progress,
    "quadratic": np.square,
    "exponential": lambda progress: np.expm1(3 * progress) / np.expm1(3),
    "saturating": lambda progress: progress**0.6,
    "staircase": lambda progress: np.floor(12 * progress) / 12,
}
"""How wear goes on: evenly, faster and faster, fast at first, or in steps."""


@dataclass(frozen=True)
class Signals:
    """The readings of a fleet. In round k every channel is read once, at its own moment of the `period_ms` after start + k periods."""

    fleet: pl.DataFrame
    seed: int
    start_ms: int
    period_ms: float

    def readings(self, first: int, rounds: int) -> pl.DataFrame:
        """Columns `channel` (row of the fleet), `timestamp` (ms) and `value` of some rounds, in order of time."""
        moment, order = self._moments()
        elapsed_ms = (np.arange(first, first + rounds)[:, None] + moment) * self.period_ms
        values = self._values(elapsed_ms / 1000, order, first)
        return pl.DataFrame(
            {
                "channel": np.tile(order.astype(np.uint32), rounds),
                "timestamp": self.start_ms + elapsed_ms.ravel().astype(np.int64),
                "value": values.ravel(),
            }
        )

    def _moments(self) -> tuple[Array, NDArray[np.int64]]:
        """When in the period each channel is read, ascending, and which channel that is."""
        moments = np.random.default_rng(self.seed).random(self.fleet.height)
        order = np.argsort(moments, kind="stable")
        return moments[order], order

    def _shapes(self) -> NDArray[np.int64]:
        """For each channel, which of SHAPES its wear has; any for those that do not wear."""
        return self.fleet["wear_shape"].replace_strict(list(SHAPES), range(len(SHAPES)), default=0).to_numpy()

    def _column(self, name: str, order: NDArray[np.int64]) -> Array:
        return self.fleet[name].to_numpy()[order]

    def _values(self, seconds: Array, order: NDArray[np.int64], first: int) -> Array:
        phase = self._column("phase", order)
        noise = np.stack([np.random.default_rng((self.seed, k)).standard_normal(len(order)) for k in range(first, first + len(seconds))])
        drift = np.sin(2 * math.pi * (seconds / self._column("drift_seconds", order) + phase))
        # two working shifts and a night, when the machines idle
        hour = (self.start_ms / 1000 + seconds) / 3600 % 24
        load = np.where((hour >= 6) & (hour < 22), 1.0, -1.0)
        values = self._column("value", order) + drift * self._column("drift", order) + load * self._column("shift", order)
        wear = self._column("wear_seconds", order)
        worn = np.flatnonzero(~np.isnan(wear))
        cycle = (seconds[:, worn] / wear[worn] + phase[worn]) % 1
        share = np.where(cycle < BROKEN_UNTIL, _wear(np.clip((cycle - SOUND) / WEARING, 0, 1), self._shapes()[order][worn]), 0.0)
        values[:, worn] = (1 - share) * values[:, worn] + share * self._column("worn_value", order)[worn]
        # cut at four standard deviations: no reading of a sound sensor is invalid
        return values + np.clip(noise, -4, 4) * self._column("noise", order)


def _wear(progress: Array, shape: NDArray[np.int64]) -> Array:
    """From 0 (as new) to 1 (beyond critical) as the wearing phase goes from 0 to 1."""
    return np.select([shape == number for number in range(len(SHAPES))], [wears(progress) for wears in SHAPES.values()])
