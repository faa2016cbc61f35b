"""What a measurement means: when it is valid, and when it is too much. A new rule is a row of RULES."""

from typing import Final

import polars as pl

from agents.city.sensors import LIMITS
from agents.reading import Domain
from agents.rules import Rule, Severity
from agents.sieve import Sieve
from schemas.catalog import CITY_READINGS
from schemas.rejects import Reason
from tables.city import WINDOWING

MINUTE_MS: Final = 60_000
_sensor, _value, _critical = pl.col("sensor_type"), pl.col("value"), pl.col("critical")
_raises, _clears = _value > _critical, _value < 0.95 * _critical
_in_manhole = _sensor.is_in(["tilt_deg", "water_cm", "gas_ppm", "open"])
_of_light = _sensor.is_in(["fault", "unlit"])

RULES: Final = (
    # People fall in, streets flood, gas explodes: at once, and again whenever it begins anew.
    Rule(
        name="manhole-unsafe",
        severity=Severity.CRITICAL,
        raises=_in_manhole & _raises,
        clears=_clears,
        threshold=_critical,
        cooldown_ms=10 * MINUTE_MS,
        message="manhole {device}: {subject} is {value:g}{unit}, unsafe above {threshold:g}{unit}",
    ),
    Rule(
        name="light-faulty",
        severity=Severity.WARNING,
        raises=(_sensor == "fault") & _raises,
        clears=_clears,
        threshold=_critical,
        cooldown_ms=60 * MINUTE_MS,
        message="street light {device} says that it is faulty",
    ),
    # A lamp needs a moment to start, and its meter to see that.
    Rule(
        name="light-dark",
        severity=Severity.WARNING,
        raises=(_sensor == "unlit") & _raises,
        clears=_clears,
        threshold=_critical,
        cooldown_ms=60 * MINUTE_MS,
        hold_ms=2 * MINUTE_MS,
        message="street light {device} is on and has taken no power for two minutes",
    ),
    Rule(
        name="congested",
        severity=Severity.INFO,
        raises=(_sensor == "density_per_km") & _raises,
        clears=_clears,
        threshold=_critical,
        cooldown_ms=30 * MINUTE_MS,
        # A traffic light's red is no jam.
        hold_ms=3 * MINUTE_MS,
        message="traffic at {device} is congested: {value:.0f} vehicles a kilometre and lane, it flows below {threshold:g}",
    ),
    Rule(
        name="above-critical",
        severity=Severity.WARNING,
        raises=~_in_manhole & ~_of_light & (_sensor != "density_per_km") & _raises,
        clears=_clears,
        threshold=_critical,
        cooldown_ms=15 * MINUTE_MS,
        message="{subject} of {device} is {value:.1f}{unit}, critical above {threshold:g}{unit}",
    ),
)

SIEVE: Final = Sieve(
    (_critical.is_null(), Reason.UNKNOWN_SENSOR, pl.format("sensor_type is {}", "sensor_type")),
    (
        ~_value.is_between("minimum", "maximum"),
        Reason.OUT_OF_RANGE,
        pl.format("{} is {}, not within {} to {}", "sensor_type", "value", "minimum", "maximum"),
    ),
)

CITY: Final = Domain(
    name="city",
    source=CITY_READINGS,
    fields=("device_id", "sensor_type", "value", "timestamp", "district", "origin", "position", "historical"),
    rules=RULES,
    windowing=WINDOWING,
    prepare=SIEVE.sift,
    limits=LIMITS,
)
