"""What a sensor reading means: when it is valid, when it is critical, which windows it belongs to. A new rule is a row of RULES."""

from typing import Final

import polars as pl

from agents.factory.sensors import LIMITS, TREND_LIMITS
from agents.reading import Domain
from agents.rules import Forecast, Rule, Severity
from schemas.catalog import READINGS
from schemas.rejects import Reason, Reject
from tables import trends
from tables.factory import WINDOWING

# 2000-01-01: no reading is older, and a device that sends seconds for milliseconds is in January 1970.
EARLIEST_MS: Final = 946_684_800_000
# How far a device's clock may run ahead of the broker's.
AHEAD_MS: Final = 60_000

# Bounds what one device takes of the state; see ROWS_PER_SHARD in tables/checkpoint.py.
LONGEST_DEVICE_ID: Final = 200

_value, _critical = pl.col("value"), pl.col("critical")

RULES: Final = (
    Rule(
        name="above-critical",
        severity=Severity.CRITICAL,
        raises=_value > _critical,
        # 5 % below: a value that trembles at the limit is one episode
        clears=_value < 0.95 * _critical,
        threshold=_critical,
        cooldown_ms=300_000,
        message="{subject} of {device} is {value:.1f}, critical above {threshold:g}",
    ),
)

# Requirement document, case 1: 15 minutes' notice. The rest goes to a minute's window, the lateness it waits for, and the smoothing,
# which is some ten minutes late to see that wear has begun. Measured: bench/prediction.py.
NOTICE_MINUTES: Final = 28
MINUTE_MS: Final = WINDOWING.pane_ms
_max, _silent_ms, _constant_ms = pl.col("max"), pl.col("silent_ms"), pl.col("constant_ms")
_likely = trends.confidence(_critical, NOTICE_MINUTES)
_met = _max > _critical

TREND_RULES: Final = (
    Rule(
        name="critical-expected",
        severity=Severity.WARNING,
        raises=(_likely >= 0.8) & ~_met,
        clears=(_likely < 0.4) | _met,
        threshold=_critical,
        cooldown_ms=30 * MINUTE_MS,
        message="{subject} of {device} is {value:.1f} and expected at {threshold:g} in {minutes:.0f} minutes ({confidence:.0%} sure)",
        forecast=Forecast(
            expected_at=pl.col("timestamp") + trends.panes_until(_critical) * MINUTE_MS,
            confidence=pl.when(_met).then(1.0).otherwise(_likely),
        ),
    ),
    Rule(
        name="changing-fast",
        severity=Severity.WARNING,
        raises=pl.col("change").abs() > pl.col("fast"),
        clears=pl.col("change").abs() < 0.5 * pl.col("fast"),
        threshold=pl.col("fast"),
        cooldown_ms=10 * MINUTE_MS,
        message="{subject} of {device} moved by more than {threshold:g} in a minute, to {value:.1f}",
    ),
    Rule(
        name="stuck",
        severity=Severity.WARNING,
        raises=_constant_ms >= 15 * MINUTE_MS,
        clears=_constant_ms < MINUTE_MS,
        threshold=pl.lit(15.0),
        cooldown_ms=60 * MINUTE_MS,
        message="{subject} of {device} has been exactly {value:g} for more than {threshold:g} minutes: is the sensor alive?",
    ),
    Rule(
        name="missing",
        severity=Severity.WARNING,
        raises=_silent_ms.is_between(5 * MINUTE_MS, trends.FORGOTTEN_MS, closed="left"),
        # after a day it was taken away
        clears=(_silent_ms < MINUTE_MS) | (_silent_ms >= trends.FORGOTTEN_MS),
        threshold=pl.lit(5.0),
        cooldown_ms=60 * MINUTE_MS,
        message="{subject} of {device} has said nothing for more than {threshold:g} minutes, while others of its partition have",
    ),
)
"""Once a minute, of each sensor's trend."""

_UNFIT: Final = (
    (pl.col("key") != pl.col("device_id").cast(pl.Binary), Reason.WRONG_KEY, pl.format("device_id is {}", "device_id")),
    (
        ~pl.col("device_id").str.len_bytes().is_between(1, LONGEST_DEVICE_ID),
        Reason.BAD_DEVICE_ID,
        pl.format("device_id is of {} bytes", pl.col("device_id").str.len_bytes()),
    ),
    (pl.col("critical").is_null(), Reason.UNKNOWN_SENSOR, pl.format("sensor_type is {}", "sensor_type")),
    (~_value.is_finite(), Reason.NOT_FINITE, pl.format("value is {}", "value")),
    (
        ~_value.is_between("minimum", "maximum"),
        Reason.OUT_OF_RANGE,
        pl.format("{} is {}, not within {} to {}", "sensor_type", "value", "minimum", "maximum"),
    ),
    (
        ~pl.col("timestamp").is_between(EARLIEST_MS, pl.col("arrival") + AHEAD_MS),
        Reason.BAD_TIMESTAMP,
        pl.format("timestamp is {}, arrived at {}", "timestamp", "arrival"),
    ),
)
"""Why a reading is unfit (first match counts): condition, reason, and what was found."""
_IS_UNFIT: Final = pl.any_horizontal(condition for condition, _, _ in _UNFIT).fill_null(value=True)


def prepare(records: pl.DataFrame) -> tuple[pl.DataFrame, list[Reject]]:
    """Decoded SensorReadings → those fit for rules and windows, with their limits, and a reject for each other."""
    readings = records.join(LIMITS, on="sensor_type", how="left", maintain_order="left")
    unfit = readings.select(_IS_UNFIT).to_series()
    if not unfit.any():
        return readings, []
    return readings.filter(~unfit), _rejects(readings.filter(unfit))


def _rejects(readings: pl.DataFrame) -> list[Reject]:
    conditions = [condition.fill_null(value=True) for condition, _, _ in _UNFIT]
    which = pl.coalesce(pl.when(condition).then(pl.lit(number)) for number, condition in enumerate(conditions)).alias("which")
    found = readings.select("row", which, *(detail.alias(str(number)) for number, (_, _, detail) in enumerate(_UNFIT)))
    return [Reject(row, _UNFIT[number][1], details[number] or "") for row, number, *details in found.iter_rows()]


FACTORY: Final = Domain(
    name="factory",
    source=READINGS,
    fields=("device_id", "sensor_type", "value", "timestamp", "plant"),
    rules=RULES,
    windowing=WINDOWING,
    prepare=prepare,
    trend_rules=TREND_RULES,
    prepare_trends=lambda frame: frame.join(TREND_LIMITS, on="sensor_type", how="left", maintain_order="left"),
)
