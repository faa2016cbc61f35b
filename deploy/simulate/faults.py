"""What goes wrong between a sensor and its topic: readings doubled, delayed, and joined by garbage. Adds records, never takes one.

Only healthy channels are doubled and delayed, so the alerts that are due stay those of the signals, whatever the order of delivery.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import Final

import numpy as np
import polars as pl

DAY_MS: Final = 86_400_000

DUPLICATE_SECONDS: Final = 2
_VALUES: Final[Mapping[str, pl.Expr]] = {
    "out_of_range": (pl.col("value").abs() + 1) * 1000,
    "not_finite": pl.lit(math.nan),
    "infinite": pl.lit(math.inf),
}
_TIMESTAMPS: Final[Mapping[str, pl.Expr]] = {
    "timestamp_zero": pl.lit(0, pl.Int64),
    "timestamp_in_seconds": pl.col("timestamp") // 1000,
    "timestamp_ahead": pl.col("timestamp") + DAY_MS,
}


@dataclass(frozen=True)
class Faults:
    """Shares of the readings, 0 to 1, and how long the delayed ones take, in seconds."""

    duplicates: float = 0.01
    """Sent a second time within two seconds."""
    disorder: float = 0.02
    """Overtaken by others: sent up to `disorder_seconds` late."""
    late: float = 0.001
    """Joined by a reading of `late_seconds` earlier, as from a device that was offline."""
    garbage: float = 0.001
    """Joined by a record nobody can use, of all kinds in turn."""
    disorder_seconds: float = 5
    late_seconds: float = 3600

    @classmethod
    def parse(cls, text: str) -> "Faults":
        """From `name=number,…`, what is not named is 0; `default` is the default mix, `none` nothing. Raises ValueError."""
        if text == "default":
            return cls()
        chosen = {field.name: 0.0 for field in fields(cls) if not field.name.endswith("_seconds")}
        for part in text.split(",") if text != "none" else ():
            name, _, number = part.partition("=")
            if name not in {field.name for field in fields(cls)}:
                raise ValueError(f"no fault is named {name!r}: {', '.join(field.name for field in fields(cls))}")
            chosen[name] = float(number)
        return cls(**chosen)


def inject(readings: pl.DataFrame, faults: Faults, garbage: Sequence[str], healthy: pl.Series, seed: Sequence[int]) -> pl.DataFrame:
    """Add `sent_at` (ms) and `fault` to readings, and the faulty records: null for what is sound, else why the record is there.

    Faults are `duplicate`, `disorder`, `late` or one of the `garbage` kinds the sink knows. `healthy`: a boolean for each channel.
    """
    rng = np.random.default_rng(seed)
    drawn = readings.with_columns(
        pl.col("timestamp").alias("sent_at"),
        pl.Series("draw", rng.random(readings.height)),
        pl.Series("delay", rng.random(readings.height)),
        pl.Series("kind", garbage, dtype=pl.String).gather(rng.integers(len(garbage), size=readings.height)),
        healthy.gather(readings["channel"]).alias("healthy"),
    )
    # one draw decides, so no reading suffers two faults
    shares = (faults.garbage, faults.duplicates, faults.disorder, faults.late)
    bad, doubled, delayed, late = (
        pl.col("draw").is_between(end - share, end, closed="left") for share, end in zip(shares, accumulate(shares), strict=True)
    )
    overtaken = pl.col("healthy") & delayed
    sound = drawn.with_columns(
        pl.when(overtaken).then(_delayed(faults.disorder_seconds)).otherwise("sent_at").alias("sent_at"),
        pl.when(overtaken).then(pl.lit("disorder")).alias("fault"),
    )
    copies = drawn.filter("healthy", doubled).with_columns(_delayed(DUPLICATE_SECONDS).alias("sent_at"), fault=pl.lit("duplicate"))
    # 7 ms aside, or it could be the double of a reading of that time
    offline = (pl.col("timestamp") - int(faults.late_seconds * 1000) - 7).alias("timestamp")
    belated = drawn.filter("healthy", late).with_columns(offline, fault=pl.lit("late"))
    spoiled = drawn.filter(bad).with_columns(_by_kind(_VALUES, "value"), _by_kind(_TIMESTAMPS, "timestamp"), pl.col("kind").alias("fault"))
    return pl.concat([frame.select(*readings.columns, "sent_at", "fault") for frame in (sound, copies, belated, spoiled)])


def _delayed(seconds: float) -> pl.Expr:
    return pl.col("sent_at") + (pl.col("delay") * seconds * 1000).cast(pl.Int64)


def _by_kind(changes: Mapping[str, pl.Expr], column: str) -> pl.Expr:
    changed = [pl.when(pl.col("kind") == kind).then(change) for kind, change in changes.items()]
    return pl.coalesce(*changed, column).alias(column)
