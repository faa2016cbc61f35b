"""What is healthy in a district, for an hour and for a day. A new limit is a row of GUIDELINES."""

from typing import Final, NamedTuple

import polars as pl

from agents.reading import Domain
from agents.rules import Rule, Severity
from agents.sieve import Sieve
from schemas.catalog import DISTRICTS as SOURCE
from tables.city import DISTRICTS_WINDOWING

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS


class Guideline(NamedTuple):
    """The mean of so many hours is to be no higher."""

    name: str
    """Of its rule: part of alerts' ids, so it never changes."""
    sensor_type: str
    hours: int
    limit: float
    severity: Severity
    unit: str = "µg/m³"


GUIDELINES: Final = (
    # WHO global air quality guidelines (2021), table 0.1, 24 hours; for nitrogen dioxide in an hour table 0.2.
    Guideline("pm25-day", "pm25", 24, 15, Severity.WARNING),
    Guideline("pm10-day", "pm10", 24, 45, Severity.WARNING),
    Guideline("no2-day", "no2", 24, 25, Severity.WARNING),
    Guideline("no2-hour", "no2", 1, 200, Severity.WARNING),
    # Directive 2008/50/EC, annex XII: the public is informed, and warned.
    Guideline("o3-hour", "o3", 1, 180, Severity.WARNING),
    Guideline("o3-hour-alert", "o3", 1, 240, Severity.CRITICAL),
    # WHO, Guidelines for Community Noise (1999), table 4.1: more harms the hearing of those who are there all day.
    Guideline("noise-day", "noise", 24, 70, Severity.WARNING, "dB(A)"),
)
IN_DISTRICTS: Final = frozenset({"temperature", "humidity", *(guideline.sensor_type for guideline in GUIDELINES)})
"""Sensor types that districts are told of."""

# Directive 2008/50/EC, annex XI: a day's mean needs three quarters of its hours.
LEAST_HOURS: Final = 18
# A district that has fallen silent is no longer known to be unhealthy.
SILENT_MS: Final = 3 * HOUR_MS
REFERENCE_DB: Final = 100.0


def energy(level: pl.Expr) -> pl.Expr:
    """Of noise in dB, as a share of that at 100 dB, of which levels of 10 to 139 dB fit the sums of `tables.aggregates`."""
    return pl.lit(10.0).pow((level - REFERENCE_DB) / 10)


def level(share: pl.Expr) -> pl.Expr:
    """The level of an energy: the equivalent continuous sound level (Leq) where it is a mean."""
    return REFERENCE_DB + 10 * share.log10()


def rule(guideline: Guideline) -> Rule:
    """The rule over the trends of districts that a guideline is."""
    is_it = pl.col("sensor_type") == guideline.sensor_type
    if guideline.hours == 1:
        mean, known, over = pl.col("value"), pl.col("silent_ms") < HOUR_MS, "the last hour"
    else:
        mean, known, over = pl.col("day"), pl.col("panes_86400") >= LEAST_HOURS, "the last 24 hours, now"
    return Rule(
        name=guideline.name,
        severity=guideline.severity,
        raises=is_it & known & (mean > guideline.limit),
        clears=is_it & ((known & (mean <= guideline.limit)) | (pl.col("silent_ms") >= SILENT_MS)),
        threshold=pl.lit(guideline.limit),
        cooldown_ms=6 * HOUR_MS,
        message=f"{{subject}} in {{device}} is above {{threshold:g}} {guideline.unit} in the mean of {over} at {{value:.1f}}",
    )


def _leveled(name: str) -> pl.Expr:
    return pl.when(pl.col("sensor_type") == "noise").then(level(pl.col(name))).otherwise(name)


def _view(trends: pl.DataFrame) -> pl.DataFrame:
    return trends.with_columns(_leveled("value").alias("value"), _leveled("mean_86400").alias("day"), subject="sensor_type")


SIEVE: Final = Sieve()

DISTRICTS: Final = Domain(
    name="districts",
    source=SOURCE,
    fields=("device_id", "sensor_type", "value", "timestamp", "origin", "position"),
    rules=(),
    windowing=DISTRICTS_WINDOWING,
    prepare=lambda records: SIEVE.sift(records.with_columns(subject="sensor_type")),
    trend_rules=tuple(map(rule, GUIDELINES)),
    prepare_trends=_view,
    trend_windows_ms=(DAY_MS,),
)
