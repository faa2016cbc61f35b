"""What the windows say of what is coming: the trend of every sensor, and the rules that look at trends instead of readings.

A pane is judged when no reading can change it any more, `patience_ms` after its end, each once and in order.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import polars as pl

from agents import alerts
from agents.episodes import Episodes, advance, forget, from_frame, to_frame
from agents.reading import Domain
from agents.rules import Rule
from tables import trends
from tables.windows import Panes, mean_until

logger = logging.getLogger(__name__)

TRENDS: Final = "trends"
EPISODES: Final = "trend-episodes"
"""Families of the checkpoint."""

Attempt = Callable[[Callable[[], pl.DataFrame]], pl.DataFrame | Exception]
"""Does a piece of work; gives what it gives, or, where a crash is to be borne, the exception it raises."""


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
    crashes: Counter[str] = field(default_factory=Counter)
    """Rule → panes it did not judge, as it raised an exception."""
    _kept: pl.DataFrame = field(default_factory=partial(to_frame, {}), compare=False)
    """The episodes as a checkpoint keeps them."""

    def __post_init__(self) -> None:
        self.trends = trends.nothing(self.domain.windowing)

    @property
    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps besides the families."""
        return {"reached": self.reached, "forecasts": self.forecasts.copy(), "crashes": self.crashes.copy()}

    def recover(self, facts: Mapping[str, Any], families: Mapping[str, pl.DataFrame]) -> None:
        """Take up what `facts` and `advance` gave."""
        self.reached, self.forecasts = facts["reached"], Counter(facts["forecasts"])
        self.crashes = Counter(facts.get("crashes", {}))  # the first versions had none
        if TRENDS in families:
            self.trends = families[TRENDS].sort(*self.domain.windowing.keys)
        if EPISODES in families:
            self.episodes = from_frame(families[EPISODES])
            self._kept = to_frame(self.episodes)

    def advance(self, panes: Panes, given_up: int, attempt: Attempt = lambda work: work()) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
        """Take in the panes that ended by `given_up` (ms): the alerts that calls for, and the families that changed.

        A rule that raises does not judge the pane, and its episodes stay as they were; `attempt` says whether the others go on.
        """
        spec, before = self.domain.windowing, self.reached
        found = [alerts.NONE]
        for start in sorted(start for start in panes if self.reached <= start and start + spec.pane_ms <= given_up):
            self.reached = start + spec.pane_ms
            self.trends = trends.advance(spec, self.trends, panes[start], start)
            found += self._judge(panes, attempt)
            self.trends = trends.remembered(self.trends, self.reached)
        if self.reached == before:
            return alerts.NONE, {}
        forget(self.domain.trend_rules, self.episodes, self.reached)
        self._kept = advance(self._kept, self.episodes.changes())
        told = pl.concat(found)
        self.forecasts.update(_outcomes(told))
        return told, {TRENDS: self.trends, EPISODES: self._kept}

    def _judge(self, panes: Panes, attempt: Attempt) -> Iterator[pl.DataFrame]:
        """What the rules make of the trends as they are: of all at once, or where one raises of each alone."""
        rows = views(self.domain, self.trends, panes, self.reached)
        judged = attempt(partial(self._apply, self.domain.trend_rules, rows))
        if not isinstance(judged, Exception):
            yield judged
            return
        for rule in self.domain.trend_rules:
            judged = attempt(partial(self._apply, [rule], rows))
            if isinstance(judged, Exception):
                self.crashes[rule.name] += 1
                logger.error("trend_rule_crashed rule=%s pane_end=%d", rule.name, self.reached, exc_info=judged)
            else:
                yield judged

    def _apply(self, rules: Sequence[Rule], rows: pl.DataFrame) -> pl.DataFrame:
        return alerts.judge(rules, self.episodes, alerts.evaluated(rules, rows, [self.episodes]), self.origin)


def _outcomes(told: pl.DataFrame) -> dict[str, int]:
    """What became of forecasts: their first change and their last count."""
    forecasts = told.filter(pl.col("confidence").is_not_null())
    raised = forecasts.filter(pl.col("status") == alerts.Status.RAISED).height
    cleared = forecasts.filter(pl.col("status") == alerts.Status.CLEARED)
    true = cleared.filter(pl.col("confidence") == 1).height
    return {"raised": raised, "came-true": true, "withdrawn": cleared.height - true}


def views(domain: Domain, found: pl.DataFrame, panes: Panes, end: int) -> pl.DataFrame:
    """Trends as rules look at them at the end of a pane: with the means of the domain's windows, and what it adds; each is on time."""
    now = pl.lit(end, pl.Int64)
    rows = found.with_columns(
        now.alias("timestamp"),
        now.alias("watermark"),
        pl.col("mean").alias("value"),
        (now - pl.col("last_at")).alias("silent_ms"),
        (pl.col("last_at") - pl.col("constant_since")).alias("constant_ms"),
    )
    for length in domain.trend_windows_ms:
        means = mean_until(domain.windowing, panes, end, length)
        rows = rows.join(means, on=domain.windowing.keys, how="left", maintain_order="left")
    return domain.view(rows)
