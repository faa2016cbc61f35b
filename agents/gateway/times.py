"""Times as devices write them, to Unix milliseconds: a number in the unit that a mapping row names, or ISO 8601 with a zone."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from schemas.quoting import quoted

ISO: Final = "iso8601"
UNITS: Final[Mapping[str, tuple[int, int]]] = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}
"""Milliseconds in so many of the unit."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def whole(value: object) -> int | None:
    """An integer, also where it is written as 1.79e12, as Lua's and C's clients do; None for anything else."""
    if type(value) is int:
        return value
    return int(value) if type(value) is float and value.is_integer() else None


def milliseconds(value: object, unit: str) -> int:
    """Unix milliseconds; what is finer is cut off. Raises ValueError for what is no time in this unit."""
    if unit == ISO:
        return _of_text(value)
    number = whole(value)
    if number is None:
        raise ValueError(f"{quoted(value)} is no whole number of {unit}")
    times, parts = UNITS[unit]
    return number * times // parts


def _of_text(value: object) -> int:
    try:
        found = datetime.fromisoformat(value.strip())  # type: ignore[attr-defined]
    except (AttributeError, ValueError) as error:
        raise ValueError(f"{quoted(value)} is no time of ISO 8601, like 2026-11-29T20:00:00Z") from error
    if found.tzinfo is None:
        raise ValueError(f"{quoted(value)} names no zone: Z, or an offset like +01:00")
    return (found - _EPOCH) // _MILLISECOND
