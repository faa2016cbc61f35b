"""What was written twice because a worker crashed in between, told by where it came from.

A topic that is made of others has records with an origin (a partition of another topic) and a position in it that only grows. Whoever
writes them after a crash, or as a zombie, starts no later than behind the last that was written, and goes on in order: so a record is
new if and only if its position is above all of its origin before it.
"""

from collections.abc import Mapping

import polars as pl


def repeated(places: tuple[str, str], reached: Mapping[str, int], readings: pl.DataFrame) -> tuple[pl.Series, dict[str, int]]:
    """Which readings came before, in this frame or by `reached` (origin → greatest position), and what is reached with them."""
    now, came_before = dict(reached), []
    # a walk, as of the few readings that come at a time passes of Polars took ten times as long
    for origin, position in zip(*(readings[name].to_list() for name in places), strict=True):
        again = origin in now and position <= now[origin]
        came_before.append(again)
        if not again:
            now[origin] = position
    return pl.Series(came_before, dtype=pl.Boolean), now
