"""Times as devices write them, to Unix milliseconds: a number in the unit that a mapping row names, or ISO 8601 with a zone."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Final

from schemas.quoting import quoted

ISO: Final = "iso8601"
UNITS: Final[Mapping[str, tuple[int, int]]] = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}
"""Milliseconds in so many of the unit."""
EARLIEST_MS: Final = 946_684_800_000
"""2000-01-01: no reading is older, and a device that sends seconds for milliseconds is in January 1970."""
AHEAD_MS: Final = 60_000
"""How far a device's clock may run ahead of the broker's."""
LATEST_MS: Final = 4_102_444_800_000
"""2100-01-01: what a row's unit makes later than that is of another unit."""
_NAMES: Final = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds", ISO: "a time of ISO 8601"}
_LIKE: Final = ", like 2026-11-29T20:00:00Z"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BITS: Final = 63
"""Of a time, beside its sign."""
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
        finer = ": send whole milliseconds, and say time_unit: ms" if unit == "s" and type(value) is float and isfinite(value) else ""
        raise ValueError(f"{quoted(value)} is no whole number of {unit}{finer}")
    times, parts = UNITS[unit]
    return number * times // parts


def plausible(value: object, unit: str) -> int:
    """The same of a time from 2000 to 2100; a number of another unit raises ValueError, too."""
    at = milliseconds(value, unit)
    if at.bit_length() > _BITS:
        raise ValueError(f"{quoted(value)} is no time in {_NAMES[unit]}: it has more than {_BITS} bits of milliseconds")
    if not EARLIEST_MS <= at <= LATEST_MS and (other := _unit(value, LATEST_MS)):
        raise ValueError(f"{quoted(value)} is no time in {_NAMES[unit]}: it looks like {_NAMES[other]}, the row's time_unit is {unit}")
    return at


def misdated(value: object, arrival: int, remedy: str = "") -> str:
    """What is wrong with the time of a message that arrived then (ms). `remedy`: what else to say of a time in the unit `{}`."""
    told = f"timestamp is {quoted(value)}, arrived at {arrival}"
    unit = _unit(value, arrival + AHEAD_MS)
    if unit and type(value) is float and not value.is_integer():
        return f"{told}: it looks like {_NAMES[unit]} with a fraction, a time is a whole number: send whole milliseconds"
    if unit:
        return f"{told}: it looks like {_NAMES[unit]}, milliseconds are expected{remedy.format(unit)}"
    return told if whole(value) is not None else f"{told}: a whole number of milliseconds is expected"


def _unit(value: object, latest: int) -> str:
    """The unit in which a value is a time from 2000 to `latest` (ms); empty if there is none."""
    if isinstance(value, str):
        with suppress(ValueError):
            return ISO if EARLIEST_MS <= _of_text(value) <= latest else ""
    if type(value) is int or (type(value) is float and isfinite(value)):
        return next((unit for unit in UNITS if EARLIEST_MS <= milliseconds(int(value), unit) <= latest), "")
    return ""


def _of_text(value: object) -> int:
    try:
        found = datetime.fromisoformat(value.strip().upper())  # type: ignore[attr-defined]
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{quoted(value)} is no time of ISO 8601{_LIKE}") from error
    except ValueError as error:
        why = "" if "isoformat" in str(error) else f": {error}"  # which says what was given once more
        raise ValueError(f"{quoted(value)} is no time of ISO 8601{why or _LIKE}") from error
    if found.tzinfo is None:
        raise ValueError(f"{quoted(value)} names no zone: Z, or an offset like +01:00")
    return (found - _EPOCH) // _MILLISECOND
