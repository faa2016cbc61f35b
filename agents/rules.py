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

    @property
    def rank(self) -> int:
        """0 for the least."""
        return list(Severity).index(self)

    @property
    def higher(self) -> "Severity":
        """The next above; the highest stays."""
        return list(Severity)[min(self.rank + 1, len(Severity) - 1)]


@dataclass(frozen=True)
class Forecast:
    """When a value is expected to meet its limit (ms of event time), and how likely that is (0 to 1)."""

    expected_at: pl.Expr
    confidence: pl.Expr


@dataclass(frozen=True)
class Escalation:
    """When an open episode matters more than its rule says, and how much it then does."""

    when: pl.Expr
    to: Severity


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
    """Format of the text while it is so. It knows `device`, `subject`, `value`, `threshold` and `unit` (with a blank before it, or
    nothing), of a forecast also `minutes` to go and `confidence`."""
    forecast: Forecast | None = None
    """Of a rule that warns of what is not yet so; its confidence is 1 where that has come true."""
    hold_ms: int = 0
    """How long, in event time, each reading of a key must raise before an episode begins, or ask for another severity before it has it."""
    escalation: Escalation | None = None
    """An episode begins with the severity its reading calls for, and goes up and down with the condition."""
    command: str = ""
    """What the machine is told to do when an episode is raised or reopened; empty: nothing. Only of rules over readings."""

    def severity_of(self, *, escalated: bool) -> Severity:
        """How much an episode matters."""
        return self.escalation.to if escalated and self.escalation else self.severity


def evaluate(rules: Sequence[Rule], frame: pl.DataFrame) -> pl.DataFrame:
    """All rules in one pass, a row for each of the frame: columns `<rule>/<name>` for the names of `columns`."""
    evaluated = {f"{rule.name}/{name}": column for rule in rules for name, column in columns(rule).items()}
    # beside the first column, or constants alone would be one row
    found = frame.select_seq(pl.first().alias(""), **evaluated)
    found.drop_in_place("")  # unlike `drop` no pass of its own
    return found


def columns(rule: Rule) -> dict[str, pl.Expr]:
    """What is evaluated of a rule: `raises`, `clears`, `threshold`, of a forecast `expected_at` and `confidence`, else `escalates`."""
    found = {"raises": rule.raises.fill_null(value=False), "clears": rule.clears.fill_null(value=False), "threshold": rule.threshold}
    if rule.forecast:
        found |= {"expected_at": rule.forecast.expected_at.cast(pl.Int64), "confidence": rule.forecast.confidence}
    if rule.escalation:
        found |= {"escalates": rule.escalation.when.fill_null(value=False)}
    return found
