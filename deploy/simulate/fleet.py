"""Five plants full of machines: one row per channel, a sensor on a device, with how its signal behaves."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from agents.factory.sensors import LIMITS

PLANTS: Final = 5
LINES: Final = 4  # production lines in a plant, each in a hall
MACHINES: Final = ("press", "mill", "lathe", "robot", "oven")
DEGRADING: Final = 0.05  # share of devices with one sensor that wears out and is repaired, again and again
WEAR_SECONDS: Final = (45.0, 900.0)  # one repair to the next: the shortest shows an alert in a one-minute demo


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


def fleet(devices: int, seed: int) -> pl.DataFrame:
    """Channels of `devices` machines: names, limits, and the parameters of `signals.Signals`; `wear_seconds` is null for healthy ones."""
    rng = np.random.default_rng(seed)
    number = np.arange(devices)
    plant, line = number % PLANTS + 1, number // PLANTS % LINES + 1
    machines = pl.DataFrame(
        {
            "device_id": [f"plant-{p}.{MACHINES[n % len(MACHINES)]}-{n:04d}" for p, n in zip(plant, number // PLANTS, strict=True)],
            "plant": [f"plant-{p}" for p in plant],
            "location": [f"plant-{p}/hall-{h}" for p, h in zip(plant, line, strict=True)],
            "production_line": [f"line-{h}" for h in line],
        }
    )
    channels = machines.join(pl.DataFrame(NORMALS), how="cross").join(LIMITS, on="sensor_type", how="left", maintain_order="left")
    count = channels.height
    degrading = min(devices, max(PLANTS, round(DEGRADING * devices)))
    worn = rng.choice(devices, degrading, replace=False) * len(NORMALS) + rng.integers(len(NORMALS), size=degrading)
    wear_seconds = np.full(count, np.nan)
    wear_seconds[worn] = np.geomspace(*WEAR_SECONDS, degrading)
    return channels.with_columns(
        pl.col("value") + pl.Series("own", rng.uniform(-2, 2, count)) * pl.col("noise"),
        pl.Series("drift_seconds", rng.uniform(600, 3600, count)),
        pl.Series("phase", rng.uniform(0, 1, count)),
        pl.Series("wear_seconds", wear_seconds, nan_to_null=True),
        # where critical is crossed stays clear of the maximum, beyond which a reading is invalid
        worn_value=pl.col("critical") + 0.35 * (pl.col("maximum") - pl.col("critical")),
    )
