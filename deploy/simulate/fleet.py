"""Five plants full of machines: one row per channel, a sensor on a device, with how its signal behaves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from agents.factory.sensors import LIMITS
from deploy.simulate.signals import SHAPES

PLANTS: Final = 5
LINES: Final = 4  # production lines in a plant, each in a hall
MACHINES: Final = ("press", "mill", "lathe", "robot", "oven")


@dataclass(frozen=True)
class Wear:
    """Devices with one sensor that wears out and is repaired, again and again: their share, and the seconds from repair to repair."""

    share: float = 0.05
    shortest: float = 45
    """It shows an alert in a demo of a minute."""
    longest: float = 900


@dataclass(frozen=True)
class Normal:
    """A healthy sensor: its usual value, and how far noise (standard deviation), drift and a working shift move it."""

    sensor_type: str
    value: float
    noise: float
    drift: float
    shift: float


# Made so that a healthy sensor stays under 0.95 × critical, where alerts clear.
NORMALS: Final = (
    Normal("temperature", 70, 0.8, 5, 8),
    Normal("pressure", 500, 6, 30, 40),
    Normal("vibration", 12, 0.6, 2, 3),
    Normal("current", 45, 0.8, 4, 8),
    Normal("voltage", 228, 0.7, 2, 2),
    Normal("humidity", 45, 0.6, 6, 4),
)


def fleet(devices: int, seed: int, wear: Wear = Wear(), formats: Sequence[str] = ("avro",)) -> pl.DataFrame:
    """Channels of `devices` machines: names, limits, and the parameters of `signals.Signals`, those of wear null for healthy ones.

    The machines write in `formats` in turn.
    """
    rng = np.random.default_rng(seed)
    number = np.arange(devices)
    plant, line = number % PLANTS + 1, number // PLANTS % LINES + 1
    machines = pl.DataFrame(
        {
            "device_id": [f"plant-{p}.{MACHINES[n % len(MACHINES)]}-{n:04d}" for p, n in zip(plant, number // PLANTS, strict=True)],
            "plant": [f"plant-{p}" for p in plant],
            "location": [f"plant-{p}/hall-{h}" for p, h in zip(plant, line, strict=True)],
            "production_line": [f"line-{h}" for h in line],
            "format": [formats[n % len(formats)] for n in range(devices)],
        }
    )
    channels = LIMITS.latest(machines.join(pl.DataFrame(NORMALS), how="cross"))
    count = channels.height
    degrading = min(devices, max(PLANTS, round(wear.share * devices)))
    worn = rng.choice(devices, degrading, replace=False) * len(NORMALS) + rng.integers(len(NORMALS), size=degrading)
    wear_seconds = np.full(count, np.nan)
    wear_seconds[worn] = np.geomspace(wear.shortest, wear.longest, degrading)
    own, drift_seconds, phase = rng.uniform(-2, 2, count), rng.uniform(600, 3600, count), rng.uniform(0, 1, count)
    shapes = dict(zip(worn.tolist(), rng.permuted(np.resize(list(SHAPES), degrading)).tolist(), strict=True))
    return channels.with_columns(
        pl.col("value") + pl.Series("own", own) * pl.col("noise"),
        pl.Series("drift_seconds", drift_seconds),
        pl.Series("phase", phase),
        pl.Series("wear_seconds", wear_seconds, nan_to_null=True),
        pl.Series("wear_shape", [shapes.get(channel) for channel in range(count)], dtype=pl.String),
        # where critical is crossed stays clear of the maximum, beyond which a reading is invalid
        worn_value=pl.col("critical") + 0.35 * (pl.col("maximum") - pl.col("critical")),
    )
