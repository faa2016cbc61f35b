"""Commands from Kafka to machines: each is published, audited and waited on, and read again if this process dies before it is settled.

command ─┬─ no address ──▶ UNADDRESSED ───────────────────────────────────────┐
         ├─ too late ────▶ EXPIRED ───────────────────────────────────────────┤
         └─ publish ─┬───▶ REFUSED ───────────────────────────────────────────┤
                     └───▶ DISPATCHED ─ answer ─┬─ none in time ─▶ UNANSWERED ┴▶ in Kafka ─▶ settled
                                                └─ heard ──────────────────────▲
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from mode import Service

from agents.gateway.answers import answered
from agents.gateway.commands import Outcome, event, payload_of, topic_of
from agents.letters import dead_letters
from schemas.catalog import COMMAND_EVENTS, COMMANDS, DEAD_LETTERS
from streams.assembly import App
from streams.batches import Batch
from streams.clock import now_ms
from streams.collector import of_dispatching
from streams.inbox import Inbox
from streams.publisher import Publisher

# What a machine may take to answer; the command stays uncommitted for as long.
ANSWER_SECONDS: Final = 10.0
# Commands in hand. Each is settled within its lifetime and the time for an answer, well before the group misses the next look.
MOST_UNSETTLED: Final = 10_000

Queue = Callable[[Sequence[Mapping[str, Any]]], Awaitable[None]]


class Dispatching(Service):
    """Carries `commands` to MQTT and what became of them to `command-events`; the machines' own answers come by the ingest.

    At least once: a command is committed when all that is to be said of it here is in Kafka. Machines obey each id once.
    """

    def __init__(self, app: App, inbox: Inbox, publisher: Publisher) -> None:
        """Run with `app`, whose producer carries the audit; `publisher` hears the answers."""
        super().__init__()
        self.app = app
        self.inbox, self.publisher = inbox, publisher
        self.counts: Counter[str] = Counter()
        """Commands since the start, by outcome; `rejected` are records that are none."""
        self.apart: dict[str, Queue] = {}
        """Domains whose commands go another way: what keeps them, when they are safe, by domain."""
        self._answers: dict[str, asyncio.Event] = {}
        self._fewer = asyncio.Event()
        app.reads.append(COMMANDS)
        app.writes.append(COMMAND_EVENTS)
        app.services.append(self)
        app.metrics.sources.append(partial(of_dispatching, self))

    async def on_start(self) -> None:
        """Connect."""
        self.publisher.start(self._hear)
        self.inbox.start()

    async def on_stop(self) -> None:
        """Leave; what is not settled is dispatched again by whoever comes next."""
        await self.inbox.stop()
        await self.publisher.stop()

    @Service.task
    async def _consume(self) -> None:
        while not self.should_stop:
            for batch in await self.inbox.read():
                await self._take(batch)
            while self.inbox.unsettled > MOST_UNSETTLED:
                self._fewer.clear()
                await self._fewer.wait()

    async def _take(self, batch: Batch) -> None:
        decoded = await self.app.writers.decode(batch.values, COMMANDS.codec)
        apart: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for command in decoded.frame.iter_rows(named=True):
            if command["domain"] in self.apart:
                apart[command["domain"]].append(command)
                continue
            self.add_future(self._carry(command, batch.partition, batch.offsets[command["row"]]))
        for domain, commands in apart.items():
            self.add_future(self._hand_on(self.apart[domain], commands, batch))
        if decoded.rejects:
            letters = dead_letters(batch, decoded.rejects)
            await self.app.send_frame(DEAD_LETTERS, letters, letters["key"].to_list())
            await self.app.bulk.flush()
            self.counts["rejected"] += len(decoded.rejects)
            for reject in decoded.rejects:
                self.inbox.settle(batch.partition, batch.offsets[reject.row])

    async def _hand_on(self, queue: Queue, commands: Sequence[Mapping[str, Any]], batch: Batch) -> None:
        await queue(commands)
        for command in commands:
            self.inbox.settle(batch.partition, batch.offsets[command["row"]])
        self._fewer.set()

    async def _carry(self, command: Mapping[str, Any], partition: int, offset: int) -> None:
        answer = self._answers.setdefault(command["command_id"], asyncio.Event())
        outcome, detail = await self._dispatch(command)
        await self._audit(command, outcome, detail)
        if outcome == Outcome.DISPATCHED:
            with suppress(TimeoutError):
                await asyncio.wait_for(answer.wait(), ANSWER_SECONDS)
            if not answer.is_set():
                await self._audit(command, Outcome.UNANSWERED, f"no answer within {ANSWER_SECONDS:g} s")
        self._answers.pop(command["command_id"], None)
        self.inbox.settle(partition, offset)
        self._fewer.set()

    async def _dispatch(self, command: Mapping[str, Any]) -> tuple[Outcome, str]:
        topic, expires = topic_of(command), command["expires_at"] / 1000
        if topic is None:
            self.log.warning("command_unaddressed device=%r plant=%r rule=%s", command["device_id"], command["plant"], command["rule"])
            return Outcome.UNADDRESSED, "the reading named no plant, or one that is no level of an MQTT topic"
        if not self.publisher.connected.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self.publisher.connected.wait(), expires - time.time())
        if (left := expires - time.time()) <= 0:
            return Outcome.EXPIRED, f"{-left:.1f} s too late"
        reason = await self.publisher.publish(topic, payload_of(command), left)
        if reason.is_failure:
            return Outcome.REFUSED, f"the MQTT broker says: {reason}"
        self.app.metrics.command(command["domain"], time.time() - command["issued_at"] / 1000)
        return Outcome.DISPATCHED, ""

    async def _audit(self, command: Mapping[str, Any], outcome: Outcome, detail: str) -> None:
        await self.app.send_frame(COMMAND_EVENTS, event(command, outcome, detail, now_ms()))
        await self.app.bulk.flush()
        self.counts[outcome.lower()] += 1

    def _hear(self, payload: bytes) -> None:
        if answer := self._answers.get(answered(payload) or ""):
            answer.set()
