"""Operators' rules in a running worker: it reads all of the topic `rules` before its first batch, and follows it from then on."""

from collections.abc import Iterator
from typing import Final, cast

import polars as pl
from aiohttp import web
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.web.drivers.aiohttp import Web
from mode import Service

from agents.rulebook import Row, refused, with_rows
from schemas.catalog import RULES
from schemas.wire import decode
from streams.assembly import App
from streams.metrics import Sample
from streams.settings import settings
from streams.watching import Watching

# How long a look for changes may wait at the broker.
POLL_MS: Final = 500


class Rulebook(Service):
    """Keeps a watch's rules as the topic has them. What does not fit is logged and counted, and the rule before it stays."""

    def __init__(self, app: App, watching: Watching) -> None:
        """Run with `app`, before it reads anything else."""
        super().__init__()
        self.app, self.watching = app, watching
        self.builtin = watching.domain
        self.rows: dict[str, Row] = {}
        self.refused = 0
        app.prerequisites.append(self)
        app.metrics.sources.append(self._samples)
        cast(Web, app.web).web_app.router.add_get("/rules", self.page)

    async def on_start(self) -> None:
        """Read what is there. Waits for Kafka and the registry."""
        self._consumer = AIOKafkaConsumer(bootstrap_servers=settings().kafka, enable_auto_commit=False, fetch_max_wait_ms=POLL_MS)
        await self._consumer.start()
        everything = TopicPartition(RULES.topic, 0)
        self._consumer.assign([everything])
        await self._consumer.seek_to_beginning(everything)
        end = (await self._consumer.end_offsets([everything]))[everything]
        while await self._consumer.position(everything) < end:
            await self._take()

    async def on_stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    @Service.task
    async def _follow(self) -> None:
        while not self.should_stop:
            await self._take()

    async def _take(self) -> None:
        found = await self._consumer.getmany(timeout_ms=POLL_MS)
        values = [record.value for records in found.values() for record in records]
        if not values:
            return
        writers = self.app.writers
        while (decoded := decode(values, RULES.codec, writers.known, writers.missing)).unknown:
            await writers.fetch(decoded.unknown)
        for reject in decoded.rejects:
            self._refuse("", f"{reject.reason}: {reject.detail}")
        for record in decoded.frame.filter(pl.col("domain") == self.builtin.name).iter_rows(named=True):
            row = Row.of(record)
            if problem := refused(row, self.builtin):
                self._refuse(row.name, problem)
            else:
                self.rows[row.name] = row
                self.log.info("rule_applied name=%s retired=%s by=%s", row.name, row.retired, record["applied_by"])
        self.watching.adopt(with_rows(self.builtin, self.rows.values()))

    def _refuse(self, name: str, problem: str) -> None:
        self.refused += 1
        self.log.error("rule_refused name=%s: %s", name, problem)

    def _samples(self) -> Iterator[Sample]:
        yield Sample("headrace_refused_rules_total", (self.builtin.name,), self.refused)

    async def page(self, _: web.Request) -> web.Response:
        """The rules in force: those of the code by name, an operator's whole."""
        domain = self.watching.domain
        there = {"readings": domain.rules, "trends": domain.trend_rules}
        rules = [
            {"name": rule.name, "over": over, "severity": rule.severity, "message": rule.message, "command": rule.command, "from": "code"}
            | ({**self.rows[rule.name].model_dump(mode="json"), "from": "operator"} if rule.name in self.rows else {})
            for over, rules in there.items()
            for rule in rules
        ]
        return web.json_response({"domain": domain.name, "rules": rules, "refused": self.refused})
