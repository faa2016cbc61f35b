"""What a city's devices measure through the day, one row a kind: a new one is a row of KINDS, and in the gateway one of the mapping's."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""Of some rounds (rows) and the devices of a kind (columns)."""

BROKEN: Final = 0.02
"""Of the street lights: half say so, the others are just dark."""
# One incident of a minute for each manhole every four hours, one after the other; the first comes soon, so that a demo shows it.
INCIDENT_CYCLE_SECONDS: Final = 4 * 3600
INCIDENT_SECONDS: Final = 60
FIRST_INCIDENT_SECONDS: Final = 15


@dataclass(frozen=True)
class Moments:
    """When devices measure, and how they differ."""

    hour: Array
    """Of the day, 0 to 24, UTC."""
    seconds: Array
    """Since the start of the run."""
    own: Array
    """Of each device, -1 to 1: what its place is like."""
    phase: Array
    """Of each device, 0 to 1, evenly spread over those of its kind; the first has 0."""
    noise: Array
    """Standard normal, cut at four deviations; of three independent ones."""


@dataclass(frozen=True)
class Kind:
    """Devices of a kind, and what they say."""

    name: str
    """In their ids."""
    topic: str
    share: float
    """Of a city's devices."""
    members: Callable[[Moments], Mapping[str, Array]]
    """Of their messages, beside time, sequence and district."""
    qos: int = 1


def _sun(hour: Array) -> Array:
    """-1 at three in the night, 1 at three in the afternoon, when it is warmest."""
    return np.sin(2 * math.pi * (hour - 9) / 24)


def _bustle(hour: Array) -> Array:
    """How much is going on, 0 to about 1: two rush hours, and the day between them."""
    rush = np.exp(-(((hour - 8) / 1.5) ** 2)) + np.exp(-(((hour - 17.5) / 2) ** 2))
    return 0.05 + 0.6 * rush + 0.35 * ((hour > 7) & (hour < 22))


def _temperature(at: Moments) -> Mapping[str, Array]:
    return {"value": 14 + 6 * _sun(at.hour) + 1.5 * at.own + 0.2 * at.noise[0]}


def _humidity(at: Moments) -> Mapping[str, Array]:
    return {"value": np.clip(65 - 18 * _sun(at.hour) + 5 * at.own + at.noise[0], 5, 100)}


def _air(at: Moments) -> Mapping[str, Array]:
    bustle = _bustle(at.hour)
    pm25 = (7 + 14 * bustle) * np.exp(0.4 * at.own + 0.1 * at.noise[0])
    return {
        "pm25": pm25,
        "pm10": 1.6 * pm25 + 4 + np.abs(at.noise[1]),
        "no2": (12 + 45 * bustle) * np.exp(0.3 * at.own + 0.1 * at.noise[2]),
        # made by the sun, and eaten by what cars emit
        "o3": np.clip(55 + 35 * _sun(at.hour) - 15 * bustle + 3 * at.noise[1], 0, None),
    }


def _noise(at: Moments) -> Mapping[str, Array]:
    return {"value": 46 + 20 * _bustle(at.hour) + 4 * at.own + 1.5 * at.noise[0]}


def _light(at: Moments) -> Mapping[str, Array]:
    on = (at.hour + 0.3 * at.own < 6.5) | (at.hour + 0.3 * at.own > 17.5)
    brightness = np.where(on, np.where((at.hour > 23) | (at.hour < 5), 50, 100), 0)
    broken, says_so = at.phase < BROKEN, at.phase < BROKEN / 2
    power = np.where(broken, 0.2, 0.4 + 0.9 * brightness + np.abs(at.noise[0]))
    return {"on": on, "power_w": power, "brightness": brightness, "fault": np.broadcast_to(says_so, on.shape)}


def _parking(at: Moments) -> Mapping[str, Array]:
    """Cars come and go, each place in its own rhythm of ten minutes to three hours, and stay the longer the busier the city is."""
    cycle_seconds = 600 + 5000 * (1 + at.own)
    return {"occupied": (at.seconds / cycle_seconds + at.phase) % 1 < 0.25 + 0.6 * _bustle(at.hour)}


def _manhole(at: Moments) -> Mapping[str, Array]:
    since = (at.seconds - FIRST_INCIDENT_SECONDS - at.phase * INCIDENT_CYCLE_SECONDS) % INCIDENT_CYCLE_SECONDS
    incident = since < INCIDENT_SECONDS
    # the cover is moved, the sewer is full, or gas comes up
    sort = np.floor((at.own + 1) * 1.5)
    moved, flooded, gas = (incident & (sort == number) for number in range(3))
    return {
        "tilt_deg": np.where(moved, 35, 0.3) + 0.1 * np.abs(at.noise[0]),
        "water_cm": np.where(flooded, 95, 12 + 6 * at.own) + 0.5 * np.abs(at.noise[1]),
        "gas_ppm": np.where(gas, 5200, 60) + 10 * np.abs(at.noise[2]),
        "open": moved,
    }


def _traffic(at: Moments) -> Mapping[str, Array]:
    load = _bustle(at.hour) * np.exp(0.3 * at.own)
    return {
        "vehicles_per_min": np.clip(np.round(1 + 15 * load + at.noise[0]), 0, None),
        "speed_kmh": np.clip(52 - 14 * load + 2 * at.noise[1], 5, None),
        "occupancy": np.clip(25 * load + at.noise[2], 0, 100),
    }


KINDS: Final = (
    Kind("light", "lights/{}/status", 0.30, _light),
    Kind("parking", "parking/{}/occupancy", 0.25, _parking),
    Kind("traffic", "traffic/{}/flow", 0.10, _traffic),
    Kind("air", "sensors/{}/air", 0.10, _air),
    Kind("temperature", "sensors/{}/temperature", 0.08, _temperature),
    Kind("humidity", "sensors/{}/humidity", 0.07, _humidity),
    Kind("noise", "sensors/{}/noise", 0.07, _noise),
    Kind("manhole", "manhole/{}/alarm", 0.03, _manhole, qos=2),
)
