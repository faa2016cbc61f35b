"""What the windows say of what is coming: the trend of every sensor, and the rules that look at trends instead of readings.

A pane is judged when no reading can change it any more, `patience_ms` after its end, each once and in order.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from agents import alerts
from agents.episodes import Episodes, forget, from_frame, to_frame
from agents.reading import Domain
from agents.rules import evaluate
from tables import trends
from tables.windows import Panes

TRENDS: Final = "trends"
EPISODES: Final = "trend-episodes"
"""Families of the checkpoint."""


@dataclass
class Outlook:
    """The trends of one partition, the episodes they raised, and up to which event time (ms) panes are in them."""

    domain: Domain
    origin: alerts.Origin
    trends: pl.DataFrame = field(init=False, compare=False)
    episodes: Episodes = field(default_factory=Episodes)
    reached: int = 0
    forecasts: Counter[str] = field(default_factory=Counter)
    """How many were `raised`, `came-true` and were `withdrawn`."""

    def __post_init__(self) -> None:
        self.trends = trends.nothing(self.domain.windowing)

    @property
    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps besides the families."""
        return {"reached": self.reached, "forecasts": self.forecasts.copy()}

    def recover(self, facts: Mapping[str, Any], families: Mapping[str, pl.DataFrame]) -> None:
        """Take up what `facts` and `advance` gave."""
        self.reached, self.forecasts = facts["reached"], Counter(facts["forecasts"])
        if TRENDS in families:
            self.trends = families[TRENDS].sort(*self.domain.windowing.keys)
        if EPISODES in families:
            self.episodes = from_frame(families[EPISODES])

    def advance(self, panes: Panes, given_up: int) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
        """Take in the panes that ended by `given_up` (ms): the alerts that calls for, and the families that changed."""
        spec, rules = self.domain.windowing, self.domain.trend_rules
        found = []
        for start in sorted(start for start in panes if self.reached <= start and start + spec.pane_ms <= given_up):
            self.reached = start + spec.pane_ms
            self.trends = trends.advance(spec, self.trends, panes[start], start)
            rows = self.domain.prepare_trends(self.trends.with_columns(views(self.reached)))
            found.append(alerts.judge(rules, self.episodes, rows.hstack(evaluate(rules, rows)), self.origin))
            self.trends = trends.remembered(self.trends, self.reached)
        if not found:
            return alerts.NONE, {}
        forget(rules, self.episodes, self.reached)
        told = pl.concat(found)
        self.forecasts.update(_outcomes(told))
        return told, {TRENDS: self.trends, EPISODES: to_frame(self.episodes)}


def _outcomes(told: pl.DataFrame) -> dict[str, int]:
    """What became of forecasts: their first change and their last count."""
    forecasts = told.filter(pl.col("confidence").is_not_null())
    raised = forecasts.filter(pl.col("status") == alerts.Status.RAISED).height
    cleared = forecasts.filter(pl.col("status") == alerts.Status.CLEARED)
    true = cleared.filter(pl.col("confidence") == 1).height
    return {"raised": raised, "came-true": true, "withdrawn": cleared.height - true}


def views(end: int) -> list[pl.Expr]:
    """What rules look at besides the columns of `tables.trends`, at the end of a pane; every trend is on time."""
    now = pl.lit(end, pl.Int64)
    return [
        now.alias("timestamp"),
        now.alias("watermark"),
        pl.col("mean").alias("value"),
        (now - pl.col("last_at")).alias("silent_ms"),
        (pl.col("last_at") - pl.col("constant_since")).alias("constant_ms"),
    ]
