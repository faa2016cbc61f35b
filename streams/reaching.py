"""Commands to devices of the city, each by the way its device listens.

                       ┌─ a connection here: WebSocket, HTTP, CoAP ─┐
command ─▶ QUEUED ─────┼─ heard over MQTT: the broker ──────────────┼▶ DISPATCHED ─▶ its answers: DELIVERED, ACKNOWLEDGED, FAILED
                       └─ neither: it waits ──▶ EXPIRED             └▶ none in time ─▶ UNANSWERED

Every gateway follows `commands` and `command-events`, and so knows what stands: a device is told wherever it comes. What is once for each
command, whatever the number of gateways, is done by the one whose the command's partition is.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import polars as pl
from mode import Service

from agents.gateway.answers import Answer
from agents.gateway.commands import CITY, Outcome, event_row, payload_of, topic_of
from agents.gateway.place import Place
from agents.gateway.standing import Key, Order, Standing
from schemas.bounds import ANSWER_LETTERS
from schemas.catalog import COMMAND_EVENTS, COMMANDS
from schemas.quoting import brief
from schemas.rejects import Reject
from streams.assembly import App
from streams.clock import now_ms
from streams.dispatch import Dispatching
from streams.exposition import Sample
from streams.following import Following
from streams.gate import Gate
from streams.heard import Heard
from streams.peers import partition_of

LONGEST_LIFETIME_MS: Final = 7 * 24 * 3_600_000
"""Of a command: so far back the topics are read at the start."""
TEND_SECONDS: Final = 1.0
OWNERS_MS: Final = 2_000
"""How long a command is its partition's owner's alone to publish."""
FORGET_SECONDS: Final = 60.0


class Line:
    """A device's connection to this gateway."""

    def __init__(self, news: Callable[[], None]) -> None:
        """`news` is called when there may be something to tell."""
        self.news = news
        self.told: set[str] = set()
        """Commands that went over it."""


class Reaching(Service):
    """Keeps where commands stand, and has them go."""

    def __init__(self, app: App, place: Place, gate: Gate, dispatching: Dispatching) -> None:
        """Run with `app`; `dispatching` reads the commands, and publishes."""
        super().__init__()
        self.app, self.standing = app, Standing()
        self.counts: Counter[str] = Counter()
        """What this gateway told of commands, by outcome."""
        self._dispatching = dispatching
        self._lines: dict[Key, list[Line]] = {}
        self._heard = Heard(place, self._came)
        self._tenant = place.tenant
        self._tried: set[str] = set()
        """Commands that went to the MQTT broker, or are on their way there."""
        dispatching.apart[CITY] = self.queue
        gate.witnesses.append(self._heard.witness)
        Following(app, COMMANDS, self._take, LONGEST_LIFETIME_MS)
        Following(app, COMMAND_EVENTS, self._take_events, LONGEST_LIFETIME_MS)
        app.writes.append(COMMAND_EVENTS)
        app.services.append(self)
        app.metrics.sources.append(self._samples)

    # -- what stands

    def _take(self, records: pl.DataFrame, _: Sequence[Reject]) -> None:
        """The owner of their partition makes dead letters of what is none."""
        self.know(records.filter(pl.col("domain") == CITY).iter_rows(named=True))

    def _take_events(self, records: pl.DataFrame, rejects: Sequence[Reject]) -> None:
        if rejects:
            self.log.error("unreadable records=%d first=%s", len(rejects), rejects[0])
        self.standing.hear(records.filter(pl.col("domain") == CITY).iter_rows(named=True))

    def know(self, commands: Iterable[Mapping[str, Any]]) -> None:
        """Take in commands that are in Kafka, and wake those they are for."""
        for order in self.standing.take(commands):
            self._wake(order.key)

    async def queue(self, commands: Sequence[Mapping[str, Any]]) -> None:
        """Take in commands of this gateway's partitions; return when it is in Kafka that they wait."""
        self.know(commands)
        orders = [self.standing.orders[command["command_id"]] for command in commands]
        await self.tell([(order, Outcome.QUEUED, "", order.command["issued_at"]) for order in orders])
        self._offer(orders)

    async def tell(self, news: Sequence[tuple[Order, Outcome, str, int]]) -> None:
        """Write what became of commands; return when Kafka has it."""
        if not news:
            return
        rows = [event_row(order.command, outcome, detail, at) for order, outcome, detail, at in news]
        await self.app.send_frame(COMMAND_EVENTS, pl.DataFrame(rows, schema=COMMAND_EVENTS.codec.columns))
        await self.app.bulk.flush()
        self.standing.hear(rows)
        self.counts.update(outcome.lower() for _, outcome, _, _ in news)

    # -- by a connection of the device's own

    @contextmanager
    def line(self, key: Key, news: Callable[[], None]) -> Iterator[Line]:
        """A connection of a device, for as long as it lasts; of several, commands go over the latest."""
        line = Line(news)
        lines = self._lines.setdefault(key, [])
        lines.append(line)
        try:
            yield line
        finally:
            lines.remove(line)
            if not lines and self._lines.get(key) is lines:
                del self._lines[key]

    def waiting(self, key: Key, line: Line | None = None) -> list[Order]:
        """What is to be sent over a connection: what has not gone over it; without one, what is due."""
        now = now_ms()
        orders = self.standing.of_device(key, now)
        return [order for order in orders if (order.is_due(now) if line is None else order.id not in line.told)]

    async def sent(self, orders: Sequence[Order], at_ms: int) -> None:
        """They left over a connection, at that time."""
        await self.tell([(order, Outcome.DISPATCHED, "", at_ms) for order in orders])

    async def answer(self, key: Key, answer: Answer) -> bool:
        """Take in what a device says about a command; False if it has none of this id."""
        order = self.standing.orders.get(answer.command_id)
        if order is None or order.key != key:
            return False
        await self.tell([(order, answer.outcome, brief(answer.detail, ANSWER_LETTERS), now_ms())])
        if self.waiting(key):
            self._wake(key)
        return True

    def _wake(self, key: Key) -> None:
        if lines := self._lines.get(key):
            lines[-1].news()

    # -- by the MQTT broker

    def _came(self, devices: Sequence[Key]) -> None:
        """Devices were heard over MQTT: what is due to them goes, whosever partition it is in, but for what its owner is about to send."""
        if not self.standing.live:
            return
        now = now_ms()
        for device in dict.fromkeys(devices):
            due = [order for order in self.standing.of_device(device, now) if order.is_due(now)]
            self._tried.difference_update(order.id for order in due if order.sent_at)
            self._offer([order for order in due if self._is_ours(order) or now - order.command["issued_at"] > OWNERS_MS])

    def _offer(self, orders: Iterable[Order]) -> None:
        """Publish what was not yet, of devices that are there and have no better way."""
        now = now_ms()
        self._publish([order for order in orders if order.key not in self._lines and self._heard.lately(order.key, now)])

    def _publish(self, orders: Sequence[Order]) -> None:
        fresh = [order for order in orders if order.id not in self._tried]
        if fresh and self._dispatching.publisher.connected.is_set():
            self._tried.update(order.id for order in fresh)
            self.add_future(self._carry(fresh))

    async def _carry(self, orders: Sequence[Order]) -> None:
        at = now_ms()
        await self.tell(await asyncio.gather(*(self._send(order, at) for order in orders)))

    async def _send(self, order: Order, at_ms: int) -> tuple[Order, Outcome, str, int]:
        topic = topic_of(order.command)
        if topic is None:
            return order, Outcome.UNADDRESSED, "the device's id is no level of an MQTT topic", at_ms
        left = (order.command["expires_at"] - at_ms) / 1000
        reason = await self._dispatching.publisher.publish(topic, payload_of(order.command), left)
        if reason.is_failure:
            return order, Outcome.REFUSED, f"the MQTT broker says: {reason}", at_ms
        return order, Outcome.DISPATCHED, "", at_ms

    # -- in time

    @Service.task
    async def _tend(self) -> None:
        while not self.should_stop:
            await self.sleep(TEND_SECONDS)
            now = now_ms()
            await self.tell([(order, what, why, now) for order, what, why in self.standing.tend(now) if self._is_ours(order)])
            self._tried &= self.standing.live.keys()
            due = [order for order in self.standing.live.values() if order.is_due(now)]
            for key in {order.key for order in due}:
                self._wake(key)
            self._offer([order for order in due if not order.sent_at and self._is_ours(order)])

    @Service.timer(FORGET_SECONDS)
    async def _forget(self) -> None:
        self.standing.forget(now_ms())

    def _is_ours(self, order: Order) -> bool:
        return partition_of(COMMANDS, order.command["device_id"]) in self._dispatching.inbox.partitions

    def _samples(self) -> Iterator[Sample]:
        for outcome, commands in self.counts.items():
            yield Sample("headrace_city_commands_total", (outcome,), commands)
        waiting = Counter(order.key[0] for order in self.standing.live.values() if order.status is Outcome.QUEUED)
        for tenant in {self._tenant, *waiting}:
            yield Sample("headrace_waiting_commands", (tenant,), waiting[tenant])
