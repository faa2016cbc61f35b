"""Which readings are fit for rules and windows, in any domain, and what becomes of the others."""

from typing import Final

import polars as pl

from agents.gateway.times import AHEAD_MS, EARLIEST_MS, misdated
from schemas.bounds import DEVICE_ID_BYTES
from schemas.rejects import Reason, Reject

Fault = tuple[pl.Expr, Reason, pl.Expr]
"""When a reading is unfit (null counts as true), the reason, and what was found (text)."""

COMMON: Final[tuple[Fault, ...]] = (
    (pl.col("key") != pl.col("device_id").cast(pl.Binary), Reason.WRONG_KEY, pl.format("device_id is {}", "device_id")),
    (
        ~pl.col("device_id").str.len_bytes().is_between(1, DEVICE_ID_BYTES),
        Reason.BAD_DEVICE_ID,
        pl.format("device_id is of {} bytes", pl.col("device_id").str.len_bytes()),
    ),
    (~pl.col("value").is_finite(), Reason.NOT_FINITE, pl.format("value is {}", "value")),
    (
        ~pl.col("timestamp").is_between(EARLIEST_MS, pl.col("arrival") + AHEAD_MS),
        Reason.BAD_TIMESTAMP,
        # of rejects alone, so a loop over records
        pl.struct("timestamp", "arrival").map_elements(lambda of: misdated(of["timestamp"], of["arrival"]), pl.String),
    ),
)
"""Those of every domain."""


class Sieve:
    """Sorts readings by the common faults and a domain's own; of several the first counts."""

    def __init__(self, *faults: Fault) -> None:
        self._faults = (*COMMON, *faults)
        self._conditions = [condition.fill_null(value=True) for condition, _, _ in self._faults]
        self._is_unfit = pl.any_horizontal(self._conditions)

    def sift(self, readings: pl.DataFrame) -> tuple[pl.DataFrame, list[Reject]]:
        """Those that are fit, and a reject for each other. There are `row`, `key`, `device_id`, `value`, `timestamp`, `arrival` (ms)."""
        unfit = readings.select_seq(self._is_unfit).to_series()
        if not unfit.any():
            return readings, []
        return readings.filter(~unfit), self._rejects(readings.filter(unfit))

    def _rejects(self, readings: pl.DataFrame) -> list[Reject]:
        which = pl.coalesce(pl.when(condition).then(pl.lit(number)) for number, condition in enumerate(self._conditions)).alias("which")
        found = readings.select("row", which, *(detail.alias(str(number)) for number, (_, _, detail) in enumerate(self._faults)))
        return [Reject(row, self._faults[number][1], details[number] or "") for row, number, *details in found.iter_rows()]
