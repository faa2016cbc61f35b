"""How each sensor has been moving: its level and slope, minute by minute, in a row of state that outliers and jumps do not bend.

Holt's linear smoothing made robust after Gelper, Fried and Croux, "Robust forecasting with exponential and Holt-Winters smoothing",
Journal of Forecasting 29 (2010): an error beyond two scales counts as two, and the scale itself follows bounded errors. Several
large errors in a row are a jump (another shift, a repair): the level moves there, and the slope is forgotten.

A trend advances by panes that no reading can change any more, each once and in order: so it does not depend on how the log was cut.
"""

from typing import Final

import polars as pl

from tables import aggregates
from tables.windows import Windowing

# Chosen with bench/prediction.py on seeds of their own: quick enough for 15 minutes' notice, slow enough not to follow a cycle of ten.
LEVEL_WEIGHT: Final = 0.3
SLOPE_WEIGHT: Final = 0.03
# Gelper et al.: errors are bounded at 2 scales, the scale's weight is 0.1, and 2.52 makes it consistent for normal errors.
BOUND: Final = 2.0
SCALE_WEIGHT: Final = 0.1
CONSISTENCY: Final = 2.52
JUMP_SCALES: Final = 6.0
JUMP_PANES: Final = 3
# A trend of fewer panes says nothing; after a jump it has to start again from three.
WARM_UP_PANES: Final = 12
# Of the standard deviation within a pane: a sensor whose minutes happened to agree is not exact.
LEAST_SCALE: Final = 0.25
# After so long a silence a sensor is forgotten, or those that were taken away would fill the memory.
FORGOTTEN_MS: Final = 86_400_000

SCHEMA: Final[dict[str, pl.DataType]] = {
    "mean": pl.Float64(),
    "max": pl.Float64(),
    "change": pl.Float64(),
    "level": pl.Float64(),
    "slope": pl.Float64(),
    "scale": pl.Float64(),
    "panes": pl.Int64(),
    "errors": pl.Int64(),
    "last": pl.Float64(),
    "last_at": pl.Int64(),
    "constant_since": pl.Int64(),
}
"""Columns of a trend besides its keys.

`mean` and `max` of the latest pane, `change` of its mean against the pane before (per pane); `level` and `slope` (per pane) of the
smoothed mean, the `scale` of its one-step error; `panes` it rests on, large `errors` in a row; `last` value and `last_at`, its event
time in milliseconds, and since when no reading had another value.
"""


def nothing(spec: Windowing) -> pl.DataFrame:
    """No trends yet."""
    keys: dict[str, pl.DataType] = dict.fromkeys(spec.keys, pl.String())
    return pl.DataFrame(schema={**keys, **SCHEMA})


def advance(spec: Windowing, trends: pl.DataFrame, pane: pl.DataFrame, start: int) -> pl.DataFrame:
    """Trends after the final pane that starts at `start` (ms): keys with readings in it move on, the others stay; sorted by key."""
    now = pane.select(*spec.keys, "min", "max", "last", "last_at", *aggregates.result())
    rows = trends.join(now.rename(_NOW), on=spec.keys, how="full", coalesce=True).sort(*spec.keys)
    elapsed = ((start - spec.pane_of(pl.col("last_at"))) / spec.pane_ms).fill_null(1)
    rows = rows.with_columns(
        level=pl.coalesce("level", "mean_now"),
        slope=pl.col("slope").fill_null(0),
        scale=pl.coalesce("scale", pl.col("stddev_now") + _LEAST),
        elapsed=elapsed,
        step=(pl.col("mean_now") - pl.col("mean")) / elapsed,
        even=pl.col("min_now") == pl.col("max_now"),
    )
    rows = rows.with_columns(forecast=pl.col("level") + pl.col("slope") * pl.col("elapsed"))
    rows = rows.with_columns(error=(pl.col("mean_now") - pl.col("forecast")) / pl.col("scale"))
    errors = pl.when(pl.col("error").abs() > JUMP_SCALES).then(pl.col("errors").fill_null(0) + 1).otherwise(0)
    jumps = errors >= JUMP_PANES
    bounded = pl.col("error").clip(-BOUND, BOUND) * pl.col("scale")
    moved = {
        "mean": pl.col("mean_now"),
        "max": pl.col("max_now"),
        "change": pl.col("step"),
        "level": pl.when(jumps).then("mean_now").otherwise(pl.col("forecast") + LEVEL_WEIGHT * bounded),
        "slope": pl.when(jumps).then(0.0).otherwise(pl.col("slope") + SLOPE_WEIGHT * bounded),
        "scale": pl.max_horizontal(_scale(), LEAST_SCALE * pl.col("stddev_now") + _LEAST),
        "panes": pl.when(jumps).then(JUMP_PANES).otherwise(pl.col("panes").fill_null(0) + 1),
        "errors": pl.when(jumps).then(0).otherwise(errors),
        "last": pl.col("last_now"),
        "last_at": pl.col("last_at_now"),
        "constant_since": pl.when(pl.col("even") & (pl.col("last") == pl.col("last_now")))
        .then("constant_since")
        .otherwise(pl.when("even").then(pl.lit(start, pl.Int64)).otherwise("last_at_now")),
    }
    seen = pl.col("mean_now").is_not_null()
    return rows.select(
        *spec.keys, *(pl.when(seen).then(value).otherwise(name).cast(SCHEMA[name]).alias(name) for name, value in moved.items())
    )


def remembered(trends: pl.DataFrame, now: int) -> pl.DataFrame:
    """Trends of the sensors that reported within the day."""
    return trends.filter(pl.col("last_at") + FORGOTTEN_MS > now)


def confidence(limit: pl.Expr, panes: int) -> pl.Expr:
    """Probability that the mean is above the limit so many panes from now; 0 while the trend is too young, or may be jumping.

    The variance is that of Holt's method (Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", 8.7, table 8.8) with
    the trend's scale as deviation; the normal distribution by its logistic approximation, which is off by at most 0.01.
    """
    errors = 1 + sum((LEVEL_WEIGHT + SLOPE_WEIGHT * ago) ** 2 for ago in range(1, panes))
    score = (pl.col("level") + panes * pl.col("slope") - limit) / (pl.col("scale") * errors**0.5)
    known = (pl.col("panes") >= WARM_UP_PANES) & (pl.col("errors") == 0)
    return pl.when(known).then(1 / (1 + (-1.702 * score).exp())).otherwise(0.0)


def panes_until(limit: pl.Expr) -> pl.Expr:
    """How many panes from now the trend meets the limit; null where it does not move towards it, or takes more than 10,000."""
    panes = ((limit - pl.col("level")) / pl.col("slope")).clip(0)
    return pl.when((pl.col("slope") > 0) & (panes <= 10_000)).then(panes)


_NOW: Final = {name: f"{name}_now" for name in ("min", "max", "last", "last_at", "mean", "stddev")}
# Of any unit: keeps a sensor that never moved from dividing by zero.
_LEAST: Final = 1e-9


def _scale() -> pl.Expr:
    """The scale after the error: a mean of bounded squares (Tukey's biweight)."""
    rest = (1 - (pl.col("error") / BOUND) ** 2).clip(0)
    return pl.col("scale") * (1 - SCALE_WEIGHT + SCALE_WEIGHT * CONSISTENCY * (1 - rest**3)).sqrt()
