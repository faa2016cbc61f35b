"""Statistics of a measurement that merge exactly: any grouping of the same readings gives the same bits.

Floating-point sums depend on the order of addition, so a replay that cuts the log elsewhere would end a few bits off. Sums are
therefore kept of the value in fixed point, as integers: 64 bits for the sum, 128 for the sum of squares.
"""

from typing import Final

import polars as pl

# 2^-30 is finer than a sensor measures (1e-9 of its unit); a mean is off by at most half of it. Values up to ±2^13 (8,192) then leave
# room in 64 bits for the sum of a million readings, and in 128 bits for count × squares in the variance of `result`.
SCALE_BITS: Final = 30
GREATEST: Final = 2.0**13
_SCALE: Final = float(1 << SCALE_BITS)

SCHEMA: Final[dict[str, pl.DataType]] = {
    "count": pl.Int64(),
    "sum": pl.Int64(),
    "squares": pl.Int128(),
    "min": pl.Float64(),
    "max": pl.Float64(),
    "last": pl.Float64(),
    "last_at": pl.Int64(),
}
"""Columns of an aggregate: `sum` in units of 2^-30, `squares` of 2^-60, `last_at` in milliseconds of event time."""


def measure(value: str, timestamp: str) -> list[pl.Expr]:
    """Aggregate of the readings of a group: their number, sums, extremes, and the value of the greatest event time."""
    fixed = (pl.col(value) * _SCALE).round().cast(pl.Int64)
    wide = fixed.cast(pl.Int128)
    return [
        pl.len().cast(pl.Int64).alias("count"),
        fixed.sum().alias("sum"),
        (wide * wide).sum().alias("squares"),
        _extreme(pl.col(value).min()).alias("min"),
        _extreme(pl.col(value).max()).alias("max"),
        pl.col(value).get(pl.col(timestamp).arg_max()).alias("last"),
        pl.col(timestamp).max().alias("last_at"),
    ]


def merge() -> list[pl.Expr]:
    """Aggregate of the aggregates of a group; associative and commutative while no two share their `last_at`."""
    return [
        pl.col("count").sum(),
        pl.col("sum").sum(),
        pl.col("squares").sum(),
        pl.col("min").min(),
        pl.col("max").max(),
        pl.col("last").get(pl.col("last_at").arg_max()),
        pl.col("last_at").max(),
    ]


def result() -> list[pl.Expr]:
    """Mean and standard deviation of the population (divided by count) of an aggregate."""
    count, total = pl.col("count").cast(pl.Int128), pl.col("sum").cast(pl.Int128)
    variance = (count * pl.col("squares") - total * total).cast(pl.Float64) / pl.col("count").cast(pl.Float64).pow(2)
    return [
        (pl.col("sum").cast(pl.Float64) / pl.col("count") / _SCALE).alias("mean"),
        (variance.sqrt() / _SCALE).alias("stddev"),
    ]


def _extreme(value: pl.Expr) -> pl.Expr:
    """0.0 for -0.0: as they are equal, which of them is the least would depend on the grouping."""
    return pl.when(value == 0).then(0.0).otherwise(value)
