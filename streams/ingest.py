"""From MQTT on: factory readings and machines' answers into Kafka, all other devices' messages through the gate."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Mapping, Sequence, Set
from contextlib import suppress
from functools import partial
from typing import Final

from mode import Service

from agents.gateway.answers import answering, is_answer, map_answers
from agents.gateway.commands import DEVICES, is_own, slow_down_payload, slow_down_topic
from agents.gateway.letters import of_messages
from agents.gateway.message import Sender, Source, Verdict
from agents.gateway.payloads import awaited
from agents.gateway.presence import Signal
from agents.gateway.readings import DOMAIN, map_readings
from agents.gateway.waiting import behind
from agents.guard import guarded
from schemas.catalog import COMMAND_EVENTS, DEAD_LETTERS, READINGS
from schemas.rejects import Reject
from streams.assembly import App
from streams.bulk_mqtt import Arrival
from streams.clock import now_ms
from streams.collector import of_ingest
from streams.gate import RETRY_SECONDS, Gate
from streams.publisher import Publisher
from streams.settings import settings
from streams.subscription import Session

# How long stopping waits for Kafka to take the batch in hand, so that it does not come a second time after the next start.
STOP_SECONDS: Final = 5
# Devices told to send later before others' messages have their turn: paho takes some 50 µs for each.
TOLD_TOGETHER: Final = 50
# A batch costs three milliseconds however few its readings are: those of few gather. Their worker gathers them for longer than that.
PACE_SECONDS: Final = 0.015
FEW_READINGS: Final = 10
_OURS: Final = (DOMAIN, f"{DEVICES}/")


class Ingest(Service):
    """Carries one session's messages: a message is acknowledged when it is safe.

    Copies that the broker retained are no new measurements and no signs of life, and an empty payload, which clears one, is no message of a
    device but on a topic of heartbeats: they are acknowledged, counted, and nothing else.

    Those of factories go to `factory.readings`, devices' answers to `command-events`, what is neither to `dead-letters`, one batch at a
    time: while Kafka takes one the next gathers, and when Kafka is away the broker keeps what the session's receive maximum does not let
    through. Those of a schema that the registry has yet to tell wait apart, and so does what their device sends behind them. All other
    messages are `passed` to the gate. `received` = `retained` + `cleared` + `produced` + `rejected` + all `answers` + `own` + `passed` +
    those of the batch in hand + those that wait.
    """

    def __init__(self, app: App, session: Session, gate: Gate, publisher: Publisher) -> None:
        """Run with `app`, whose producer carries; `publisher`, once it is started, tells devices to send later."""
        super().__init__()
        self.app = app
        self.session = session
        self.gate, self.publisher = gate, publisher
        self._in_hand = asyncio.Lock()
        self.received = 0
        self.produced = 0
        self.rejected = 0
        self.answers: Counter[str] = Counter()
        """By status."""
        self.own = 0
        """Messages the gateway published: a shared subscription brings them back, too."""
        self.retained = self.cleared = 0
        """Copies of what was published before, and what ends them: the broker's housekeeping."""
        self.passed = 0
        """Messages that went to the gate, which has a ledger of its own."""
        self._full: dict[str, list[Arrival]] = {}
        """Messages the gate was too full for, by tenant."""
        self._behind: dict[str, list[Arrival]] = {}
        """Readings that wait for the registry to tell a schema, by device, and those behind them."""
        app.writes += [READINGS, COMMAND_EVENTS]
        app.services.append(self)
        app.metrics.sources.append(partial(of_ingest, self))

    @property
    def waiting(self) -> int:
        """Messages that wait for the registry to tell a schema."""
        return sum(map(len, self._behind.values()))

    async def on_start(self) -> None:
        """Connect."""
        self.session.start()

    async def on_stop(self) -> None:
        """Finish the batch in hand and disconnect; what is not acknowledged comes again."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._in_hand.acquire(), STOP_SECONDS)
        await self.session.stop()

    @Service.task
    async def _carry(self) -> None:
        while not self.should_stop:
            arrivals = self._fresh(await self.session.arrivals())
            ours = [arrival for arrival in arrivals if arrival.topic.startswith(_OURS) and _is_ours(arrival.topic)]
            apart = set(ours)
            others = [arrival for arrival in arrivals if arrival not in apart] if ours else arrivals
            if others:
                self.passed += len(others)
                self._pass_on(others)
            if ours:
                await self._take(ours)
                if len(ours) < FEW_READINGS:
                    await asyncio.sleep(PACE_SECONDS)

    def _fresh(self, arrivals: Sequence[Arrival]) -> Sequence[Arrival]:
        """What devices say now."""
        self.received += len(arrivals)
        if all(arrival.payload and not arrival.is_retained for arrival in arrivals):
            return arrivals
        copies = [arrival for arrival in arrivals if arrival.is_retained]
        clears = [arrival for arrival in arrivals if not (arrival.payload or arrival.is_retained or self._is_heartbeat(arrival.topic))]
        self.retained += len(copies)
        self.cleared += len(clears)
        self.session.acknowledge([*copies, *clears])
        apart = {*map(id, copies), *map(id, clears)}
        return [arrival for arrival in arrivals if id(arrival) not in apart]

    def _is_heartbeat(self, topic: str) -> bool:
        """Whether a device lives by it, whatever its payload."""
        return not _is_ours(topic) and self.gate.place.routes.data_type(topic) == Signal.HEARTBEAT

    def _pass_on(self, arrivals: Sequence[Arrival]) -> None:
        """Through the gate, each tenant's by themselves; behind those of it that were told to come again, which they would overtake."""
        for tenant, own in self._by_tenant(arrivals).items():
            if tenant in self._full:
                self._full[tenant] += own
            else:
                self._through_gate(tenant, own)

    def _by_tenant(self, arrivals: Sequence[Arrival]) -> Mapping[str, Sequence[Arrival]]:
        place = self.gate.place
        if not place.tenants:
            return {place.tenant: arrivals}
        found: defaultdict[str, list[Arrival]] = defaultdict(list)
        for arrival in arrivals:
            found[place.tenant_at(arrival.topic)].append(arrival)
        return found

    def _through_gate(self, tenant: str, arrivals: Sequence[Arrival]) -> None:
        for rows, verdicts in self.gate.take(Source.MQTT, Sender(), arrivals, lane=tenant):
            part = arrivals if len(rows) == len(arrivals) else [arrivals[row] for row in rows]
            self.add_future(self._settle(tenant, part, verdicts))

    async def _settle(self, tenant: str, arrivals: Sequence[Arrival], verdicts: Awaitable[Sequence[Verdict]]) -> None:
        if refused := self._refused(arrivals, await verdicts):
            self._full[tenant] = [*self._full.get(tenant, ()), *refused]

    def _refused(self, arrivals: Sequence[Arrival], verdicts: Sequence[Verdict]) -> list[Arrival]:
        """Those the gate was too full for, but for QoS 0, which nobody waits for; the others are safe, and acknowledged."""
        full = [arrival for arrival, verdict in zip(arrivals, verdicts, strict=True) if verdict is Verdict.FULL]
        apart = set(full)
        self.session.acknowledge([arrival for arrival in arrivals if arrival not in apart] if full else arrivals)
        if full and self.publisher.connected.is_set():
            self.add_future(self._slow_down({self.gate.place.device_at(arrival.topic) for arrival in full}))
        return [arrival for arrival in full if arrival.qos]

    async def _slow_down(self, devices: Set[str]) -> None:
        """Tell devices to send later: the broker has long acknowledged their messages."""
        topics, payload = [*filter(None, map(slow_down_topic, devices))], slow_down_payload(RETRY_SECONDS)
        for start in range(0, len(topics), TOLD_TOGETHER):
            told = topics[start : start + TOLD_TOGETHER]
            await asyncio.gather(*(self.publisher.publish(topic, payload, RETRY_SECONDS) for topic in told))

    @Service.timer(RETRY_SECONDS)
    async def _pass_on_again(self) -> None:
        """A broker sends no message again on a connection that lasts."""
        await asyncio.gather(*map(self._again, [*self._full]))

    async def _again(self, tenant: str) -> None:
        while full := self._full.get(tenant):
            tried = len(full)
            pending = self.session.pending(full)
            refused = self._refused(pending, await self.gate.accept(Source.MQTT, Sender(), pending, lane=tenant))
            self._full[tenant] = refused + self._full[tenant][tried:]
            if refused:
                self.log.warning("gate_full tenant=%s messages=%d", tenant, len(refused))
                return
        self._full.pop(tenant, None)

    async def _take(self, arrivals: Sequence[Arrival]) -> None:
        answers = [arrival for arrival in arrivals if is_answer(arrival.topic)]
        readings = [arrival for arrival in arrivals if not (is_answer(arrival.topic) or is_own(arrival.topic))]
        own = len(arrivals) - len(answers) - len(readings)
        async with self._in_hand:
            if answers:
                await self._record(answers)
            free = self._hold_back(readings)
            await self._produce(free)
            self.own += own
            apart = set() if len(free) == len(readings) else {*map(id, readings)} - {*map(id, free)}
            self.session.acknowledge([arrival for arrival in arrivals if id(arrival) not in apart])

    async def _record(self, answers: Sequence[Arrival]) -> None:
        """Queue what devices answered to commands."""
        of_city = {device for arrival in answers if (device := answering(arrival.topic))}
        tenants = {device: self.gate.place.tenant_of(device) for device in of_city}
        (audit, wrong), lost = guarded(
            len(answers), lambda rows: map_answers([answers[row] for row in rows], settings().tenant, now_ms(), tenants)
        )
        await self._dead_letter(answers, lost.rejects)
        await self.app.send_frame(COMMAND_EVENTS, audit)
        await self._dead_letter([answers[row] for row in lost.kept], wrong)
        self.answers.update(audit["status"])
        self.rejected += len(lost.rejects) + len(wrong)

    def _hold_back(self, readings: Sequence[Arrival]) -> Sequence[Arrival]:
        """Have readings wait whose schema is not known, and what their devices send behind them; the others."""
        awaits = [self._awaited(reading) is not None for reading in readings]
        if not (self._behind or any(awaits)):
            return readings
        held = behind([_device(reading.topic) for reading in readings], awaits, self._behind)
        for device, rows in held.items():
            if device not in self._behind:
                self._behind[device] = []
                self.add_future(self._take_later(device))
            self._behind[device] += [readings[row] for row in rows]
        apart = {row for rows in held.values() for row in rows}
        return [reading for row, reading in enumerate(readings) if row not in apart]

    def _awaited(self, reading: Arrival) -> int | None:
        writers = self.app.writers
        return awaited(reading, writers.known, writers.missing) if reading.content_type else None

    async def _produce(self, readings: Sequence[Arrival]) -> None:
        """Have Kafka take readings, or the dead letters they are."""
        known, missing = self.app.writers.known, self.app.writers.missing
        mapped, found = guarded(len(readings), lambda rows: map_readings([readings[row] for row in rows], known, missing))
        await self.app.send_frame(READINGS, mapped.frame)
        await self._dead_letter(readings, found.rejects)
        await self._dead_letter([readings[row] for row in found.kept], mapped.rejects)
        await self.app.bulk.flush()
        self.produced += mapped.frame.height
        self.rejected += len(found.rejects) + len(mapped.rejects)

    async def _take_later(self, device: str) -> None:
        """Take a device's messages when their schemas are known, however long the registry is away; others go on meanwhile."""
        self.log.info("schemas_awaited device=%r", device)
        while late := [*self._behind[device]]:
            if unknown := {number for reading in late if (number := self._awaited(reading)) is not None}:
                await self.app.writers.fetch(unknown)
                continue
            async with self._in_hand:
                if any(self._awaited(reading) is not None for reading in late):  # forgotten meanwhile
                    continue
                pending = self.session.pending(late)
                await self._produce(pending)
                self.session.acknowledge(pending)
                self.received -= len(late) - len(pending)
                del self._behind[device][: len(late)]
        del self._behind[device]

    async def _dead_letter(self, arrivals: Sequence[Arrival], rejects: Sequence[Reject]) -> None:
        if rejects:
            letters = of_messages(arrivals, rejects, now_ms())
            await self.app.send_frame(DEAD_LETTERS, letters, [None] * letters.height)


def _device(topic: str) -> str:
    """Whose reading it is, by its topic; where that is no machine's, the topic itself."""
    levels = topic.split("/")
    return levels[2] if len(levels) > 2 else topic


def _is_ours(topic: str) -> bool:
    """Whether a message is not for the gate: a factory's, about a command, or the gateway's own."""
    return topic.startswith(DOMAIN) or is_answer(topic) or is_own(topic)
