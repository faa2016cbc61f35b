"""The desk in a running worker: it follows alerts and actions, writes actions, and escalates what nobody cares for."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from typing import Final, cast

import polars as pl
from mode import Service

from agents.desk import Desk, State, overdue
from agents.rules import Severity
from schemas.catalog import ALERT_ACTIONS, ALERTS
from schemas.rejects import Reject
from streams.assembly import App
from streams.clock import now_ms
from streams.exposition import Sample
from streams.following import Following
from streams.settings import settings

# People's time: nobody minds some seconds of it.
ESCALATE_SECONDS: Final = 5.0
FORGET_SECONDS: Final = 60.0
# Kafka takes an action in some milliseconds, and gives it back in as many.
TAKEN_UP_SECONDS: Final = 5.0


class Handling(Service):
    """Every desk holds all alerts of its tenant and needs no other: what it knows is in the two topics."""

    def __init__(self, app: App) -> None:
        """Run with `app`."""
        super().__init__()
        self.app, self.desk = app, Desk()
        self._news = asyncio.Event()
        Following(app, ALERTS, partial(self._take, self.desk.change))
        Following(app, ALERT_ACTIONS, partial(self._take, self.desk.act))
        app.writes.append(ALERT_ACTIONS)
        app.services.append(self)
        app.metrics.sources.append(self._samples)

    def _take(self, take: Callable[[pl.DataFrame], None], records: pl.DataFrame, rejects: Sequence[Reject]) -> None:
        if rejects:  # the warehouse, which reads the same topics, makes dead letters of them
            self.log.error("unreadable records=%d first=%s", len(rejects), rejects[0])
        take(records.filter(pl.col("tenant") == settings().tenant))
        self._news.set()
        self._news = asyncio.Event()

    async def act(self, actions: pl.DataFrame) -> None:
        """Write records of `alert-actions`; return when Kafka has them and, unless that takes long, so has this desk."""
        await self.app.send_frame(ALERT_ACTIONS, actions)
        await self.app.bulk.flush()
        with suppress(TimeoutError):
            async with asyncio.timeout(TAKEN_UP_SECONDS):
                while not actions["action_id"].is_in(self.desk.actions["action_id"].implode()).all():
                    await self._news.wait()

    @Service.timer(ESCALATE_SECONDS)
    async def _escalate(self) -> None:
        """By this machine's clock: it is about people, not about what devices measure."""
        if minutes := settings().escalate_minutes:
            actions = await asyncio.to_thread(lambda: overdue(self.desk.alerts(now_ms()), now_ms(), int(minutes * 60_000)))
            if actions.height:
                self.log.info("alerts_escalated count=%d", actions.height)
                await self.act(actions)

    @Service.timer(FORGET_SECONDS)
    async def _forget(self) -> None:
        self.desk.forget(now_ms())

    def _samples(self) -> Iterator[Sample]:
        now = now_ms()
        alerts = self.desk.alerts(now)
        for state, severity in product(State, Severity):
            those = alerts.filter(state=state, severity=severity)
            yield Sample("headrace_desk_alerts", (state, severity), those.height)
            if state is State.OPEN:
                waited = (now - those["waiting_since"]).max()
                yield Sample("headrace_desk_waiting_seconds", (severity,), cast(int, waited or 0) / 1000)
