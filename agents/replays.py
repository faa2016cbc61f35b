"""What was written twice because a worker crashed in between, told by where it came from.

A topic that is made of others has records with an origin (a partition of another topic) and a position in it that only grows. Whoever
writes them after a crash, or as a zombie, starts no later than behind the last that was written, and goes on in order: so a record is
new if and only if its position is above all of its origin before it.
"""

from collections.abc import Mapping

import polars as pl


def repeated(places: tuple[str, str], reached: Mapping[str, int], readings: pl.DataFrame) -> pl.Series:
    """Which readings came before, in this frame or by `reached` (origin → greatest position)."""
    origin, position = map(pl.col, places)
    before = position.cum_max().shift(1).over(origin)
    known = origin.replace_strict(list(reached), list(reached.values()), default=None, return_dtype=pl.Int64) if reached else None
    return readings.select((position <= pl.max_horizontal(before, known)).fill_null(value=False)).to_series()


def advanced(places: tuple[str, str], reached: Mapping[str, int], readings: pl.DataFrame) -> dict[str, int]:
    """Greatest positions with those of the readings."""
    origin, position = places
    found = dict(readings.group_by(origin).agg(pl.col(position).max()).iter_rows())
    return {**reached, **{name: max(at, reached.get(name, at)) for name, at in found.items()}}
