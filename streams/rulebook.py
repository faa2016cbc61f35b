"""Operators' rules in a running worker."""

import logging
from collections.abc import Iterator, Sequence
from typing import cast

import polars as pl
from aiohttp import web
from faust.web.drivers.aiohttp import Web

from agents.operators import condition
from agents.reading import Domain
from agents.row_model import Unfit
from agents.rulebook import Row, fit, with_rules
from agents.rules import Rule
from schemas.catalog import RULES
from schemas.rejects import Reject
from streams.assembly import App
from streams.exposition import Sample
from streams.following import Following
from streams.watching import Watching

logger = logging.getLogger(__name__)


class Rulebook:
    """Keeps a watch's rules as the topic has them. What does not fit is logged and counted, and the rule before it stays."""

    def __init__(self, app: App, watching: Watching, page: str = "/rules") -> None:
        """Run with `app`, before it reads anything else; `page` is where its rules are shown."""
        self.watching = watching
        self.builtin = watching.domain
        self.rules: dict[str, tuple[Row, Rule]] = {}
        self.refused = 0
        Following(app, RULES, self._take)
        app.metrics.sources.append(self._samples)
        cast(Web, app.web).web_app.router.add_get(page, self.page)

    def adopt(self, domain: Domain) -> None:
        """From now on apply the rules to another version of the domain; its columns are the same."""
        self.builtin = domain
        self.watching.adopt(with_rules(domain, [*self.rules.values()]))

    def _take(self, records: pl.DataFrame, rejects: Sequence[Reject]) -> None:
        for reject in rejects:
            self._refuse("", f"{reject.reason}: {reject.detail}")
        for record in records.filter(pl.col("domain") == self.builtin.name).iter_rows(named=True):
            try:
                row = Row.of(record)
                self.rules[row.name] = row, fit(row, self.builtin)
            except Unfit as unfit:
                self._refuse(record["name"], str(unfit))
            else:
                logger.info("rule_applied name=%s retired=%s by=%s", row.name, row.retired, record["applied_by"])
        self.adopt(self.builtin)

    def _refuse(self, name: str, problem: str) -> None:
        self.refused += 1
        logger.error("rule_refused name=%s: %s", name, problem)

    def _samples(self) -> Iterator[Sample]:
        yield Sample("headrace_refused_rules_total", (self.builtin.name,), self.refused)

    async def page(self, _: web.Request) -> web.Response:
        """The rules in force: those of the code by name, an operator's whole."""
        domain = self.watching.domain
        there = {"readings": domain.rules, "trends": domain.trend_rules}
        rules = [
            {"name": rule.name, "over": over, "severity": rule.severity, "raises": condition.text(rule.raises)}
            | {"message": rule.message, "command": rule.command, "from": "code"}
            | ({**self.rules[rule.name][0].model_dump(mode="json"), "from": "operator"} if rule.name in self.rules else {})
            for over, rules in there.items()
            for rule in rules
        ]
        told = {"refused": self.refused, "switched_off": dict(self.watching.switched_off)}
        return web.json_response({"domain": domain.name, "rules": rules, **told})
