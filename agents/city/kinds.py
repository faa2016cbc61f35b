"""What each kind of device says in its messages, by data type: a new kind needs a row only where it has members to hold it to.

Whatever a device's kind, each member of `data` that has the name of a sensor type is a measurement. A row here says of which members
anything but a number, or a yes or no, makes the message unfit, and what is to be computed of several.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl


@dataclass(frozen=True)
class Kind:
    """One data type."""

    members: frozenset[str]
    """Numbers, or yes or no, where they are there."""
    derived: Mapping[str, pl.Expr]
    """Measurements made of several: each an aggregate over the measurements of one message; null: none."""


def member(name: str) -> pl.Expr:
    """A message's measurement of that name, for `Kind.derived`; null where it has none."""
    return pl.col("value").filter(pl.col("sensor_type") == name).first()


# A lamp that is on and draws no more than its electronics in standby has failed; (EU) 2019/2020 allows those 0.5 W, and a meter is a
# little off.
STANDBY_W: Final = 1.0

KINDS: Final[Mapping[str, Kind]] = {
    "environment": Kind(frozenset({"temperature", "humidity", "pm25", "pm10", "no2", "o3", "noise"}), {}),
    "lighting": Kind(
        frozenset({"on", "power_w", "brightness", "fault"}),
        {"unlit": (member("on") > 0) & (member("power_w") <= STANDBY_W)},
    ),
    "parking": Kind(frozenset({"occupied"}), {}),
    "manhole": Kind(frozenset({"tilt_deg", "water_cm", "gas_ppm", "open"}), {}),
    "traffic": Kind(
        frozenset({"vehicles_per_min", "speed_kmh", "occupancy"}),
        # The fundamental relation of traffic: flow is density times speed.
        {"density_per_km": pl.when(member("speed_kmh") > 0).then(60 * member("vehicles_per_min") / member("speed_kmh"))},
    ),
}
