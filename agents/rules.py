"""A rule as a row of data: when to raise an alert, when it is over, and how it reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import polars as pl


class Severity(StrEnum):
    """How much an alert matters, least first."""

    INFO = "INFO"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A condition over the columns of a prepared frame; both conditions must be false on null."""

    name: str
    """Names the condition; part of every alert's id, so it never changes."""
    severity: Severity
    raises: pl.Expr
    """True where an episode begins."""
    clears: pl.Expr
    """True where it is over; leave a band between the two, or a value at the limit flaps."""
    threshold: pl.Expr
    """The limit the value is judged by, for people to read."""
    cooldown_ms: int
    """Raised again within this time of its start, the same episode is reopened instead of a new one raised."""
    message: str
    """Format of the text; knows `device`, `subject`, `value` and `threshold`."""


def evaluate(rules: Sequence[Rule], frame: pl.DataFrame) -> pl.DataFrame:
    """All rules in one pass: columns `<rule>/raises` and `<rule>/clears` (Boolean) and `<rule>/threshold`, a row for each of the frame."""
    columns = [
        column.alias(f"{rule.name}/{kind}")
        for rule in rules
        for kind, column in (
            ("raises", rule.raises.fill_null(value=False)),
            ("clears", rule.clears.fill_null(value=False)),
            ("threshold", rule.threshold),
        )
    ]
    return frame.select_seq(*columns)
