"""The one place where any exception is caught: it costs the record it was raised for, never the worker.

Decoding is total by itself, and rules are checked before they are applied. What still raises is a fault of ours or of somebody's rule, and
a message that is read again after every start would stop every worker for good.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeVar

from schemas.bounds import DETAIL_LETTERS
from schemas.quoting import brief
from schemas.rejects import Reason, Reject

logger = logging.getLogger(__name__)

Made = TypeVar("Made")
_TRACED: Final = 3
"""Tracebacks that are logged of one batch: they are of one fault, mostly."""


class Guarded(NamedTuple):
    """What came of a batch."""

    kept: Sequence[int]
    """Rows of the batch that the work was done on: its own rows count within these."""
    crashed: Mapping[int, Exception]
    """The other rows, and what the work raised on each by itself."""

    @property
    def rejects(self) -> list[Reject]:
        """A reject for each row that was left out."""
        return [Reject(row, Reason.CRASHED, told(error)) for row, error in self.crashed.items()]


def attempt(work: Callable[[], Made]) -> Made | Exception:
    """What the work gives or raises."""
    try:
        return work()
    except Exception as error:
        return error


def guarded(count: int, work: Callable[[Sequence[int]], Made]) -> tuple[Made, Guarded]:
    """What `work` makes of rows 0 to `count`: of all in one pass and, where it raises, of those on which alone it does not.

    It is given the rows, ascending. What it raises on none at all is raised.
    """
    rows: Sequence[int] = range(count)
    made = attempt(lambda: work(rows))
    if not isinstance(made, Exception):
        return made, Guarded(rows, {})
    crashed: dict[int, Exception] = {}
    _find(rows, work, crashed, made)
    for row, error in [*crashed.items()][:_TRACED]:
        logger.error("record_crashed row=%d of=%d", row, count, exc_info=error)
    kept = [row for row in rows if row not in crashed]
    made = attempt(lambda: work(kept))
    if isinstance(made, Exception):  # each by itself it can be done, and not together
        crashed |= dict.fromkeys(kept, made)
        kept = []
        made = work(kept)
    return made, Guarded(kept, dict(sorted(crashed.items())))


def told(error: Exception) -> str:
    """An exception in a sentence: its name and what it says."""
    said = attempt(lambda: str(error))
    return brief(f"{type(error).__name__}: {said}" if isinstance(said, str) else type(error).__name__, DETAIL_LETTERS)


def _find(rows: Sequence[int], work: Callable[[Sequence[int]], object], crashed: dict[int, Exception], error: Exception) -> None:
    """Note the rows on which the work raises by itself; it has raised `error` on them together."""
    if len(rows) <= 1:
        crashed |= dict.fromkeys(rows, error)
        return
    middle = len(rows) // 2
    for half in (rows[:middle], rows[middle:]):
        found = attempt(partial(work, half))
        if isinstance(found, Exception):
            _find(half, work, crashed, found)
