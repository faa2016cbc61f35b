"""What each kind of device says in its messages, by data type: a new kind needs a row only where it has members to hold it to.

Whatever a device's kind, each member of `data` that has the name of a sensor type is a measurement. A row here says of which members
anything but a number, or a yes or no, makes the message unfit, and what is to be computed of several.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

Numbers = Mapping[str, float]
"""A message's measurements by name."""


@dataclass(frozen=True)
class Kind:
    """One data type."""

    members: frozenset[str]
    """Numbers, or yes or no, where they are there."""
    derived: Mapping[str, Callable[[Numbers], float | None]]
    """Measurements made of several of one message; None: none."""


# A lamp that is on and draws no more than its electronics in standby has failed; (EU) 2019/2020 allows those 0.5 W, and a meter is a
# little off.
STANDBY_W: Final = 1.0


def _unlit(numbers: Numbers) -> float | None:
    """1 for a lamp that is on and takes no power, 0 for one that is off or takes some; None where that is not said."""
    on, power = numbers.get("on"), numbers.get("power_w")
    if (on is not None and on <= 0) or (power is not None and power > STANDBY_W):
        return 0.0
    return None if on is None or power is None else 1.0


def _density(numbers: Numbers) -> float | None:
    """Vehicles a kilometre: the fundamental relation of traffic, flow is density times speed. None where it stands."""
    flow, speed = numbers.get("vehicles_per_min"), numbers.get("speed_kmh")
    return None if flow is None or speed is None or speed <= 0 else 60 * flow / speed


KINDS: Final[Mapping[str, Kind]] = {
    "environment": Kind(frozenset({"temperature", "humidity", "pm25", "pm10", "no2", "o3", "noise"}), {}),
    "lighting": Kind(frozenset({"on", "power_w", "brightness", "fault"}), {"unlit": _unlit}),
    "parking": Kind(frozenset({"occupied"}), {}),
    "manhole": Kind(frozenset({"tilt_deg", "water_cm", "gas_ppm", "open"}), {}),
    "traffic": Kind(frozenset({"vehicles_per_min", "speed_kmh", "occupancy"}), {"density_per_km": _density}),
}
