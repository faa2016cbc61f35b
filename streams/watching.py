"""A domain's watch in one worker: batches in, alerts and commands out at once, and every second a checkpoint of each partition.

take ─▶ observe ─┬▶ commands, alerts, dead letters, late records ───┐
                 └▶ state ── every second ─▶ cut, fold ─┬▶ windows ─┤
                                                        └▶ buckets ─┴▶ delivered ─▶ manifest ─▶ delivered ─▶ acknowledged
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final, cast

from faust.types import TP, EventT
from mode import Service

from agents.guard import attempt
from agents.letters import dead_letters, late_records
from agents.reading import Domain, Read, read
from agents.rules import Rule
from agents.watch import Cut, Observed, Watch
from schemas.catalog import ALERTS, COMMANDS, DEAD_LETTERS, LATE, Contract
from streams.access import named
from streams.assembly import App
from streams.batches import BATCH_TOPICS, Batch
from streams.collector import of_watching
from streams.lane import Lane
from streams.settings import settings
from streams.store import Store
from streams.transport import Consumer
from streams.watch.gatherer import Arrived, gathered
from streams.watch.pacing import pace
from streams.watch.recovery import StateLost, forget, recovered
from streams.watch.turns import due, pause
from streams.worker.threads import Threads
from tables.checkpoint import Checkpoint

# How long stopping waits for the last checkpoint; without it the successor reads up to three seconds' worth again.
STOP_SECONDS: Final = 5.0
# Records a worker holds between two checkpoints: some 200 MB, and more than three seconds of work.
MOST_UNSETTLED: Final = 1_000_000
# How long a partition may be silent before its open windows are told of. Devices that report once a minute are not silent.
IDLE_SECONDS: Final = 90.0

# How long a thread may keep the interpreter from the others: a fold lets a batch wait for no more than that. Python's own is 5 ms.
SWITCH_SECONDS: Final = 0.0005


class Watching(Service):
    """Runs one `Watch` for each partition of a domain's topic that is assigned to this worker."""

    def __init__(self, app: App, domain: Domain, windows: Contract, table: str) -> None:
        """Read the domain's source, write windows to `windows` and state to the changelog of `table`."""
        super().__init__()
        self.app = app
        self.domain = domain
        self.lanes: dict[TP, Lane] = {}
        self.switched_off = Counter[str]()  # rule → how often it was, as it raised an exception
        self._off: dict[str, Rule] = {}
        self._windows = windows
        self._table = app.Table(table, partitions=domain.source.partitions, key_type=bytes, value_type=bytes)
        self._changelog = f"{app.conf.id}-{table}-changelog"
        self._checkpointing = asyncio.Lock()
        self._folds = Threads(f"folds-{domain.name}")
        self._logs = (named(domain.source.topic), self._changelog)
        app.same_topics.remedies |= dict.fromkeys(self._logs, forget(domain))
        app.reads.append(domain.source)
        app.writes += [windows, ALERTS, COMMANDS, LATE]
        app.services.append(self)
        app.metrics.sources.append(partial(of_watching, self))
        app.waits.append(self._waits)
        for begins_or_ends in (app.on_partitions_revoked, app.on_rebalance_complete):
            begins_or_ends.connect(self._drop_lanes, weak=False)
        app.agent(app.batch_topic(domain.source), name=f"watch-{domain.name}")(self._consume)

    async def on_start(self) -> None:
        """From now on folds share the interpreter."""
        sys.setswitchinterval(SWITCH_SECONDS)

    async def _consume(self, stream: Any) -> None:  # noqa: ANN401  # Faust's streams are not typed for raw channels
        async for arrived in gathered(stream, self._lane):
            await self.take(arrived)

    def adopt(self, domain: Domain) -> None:
        """Judge by another version of the domain's rules from the next batch on; a rule that raised stays off until it is another."""
        self.domain = replace(domain, rules=[rule for rule in domain.rules if rule is not self._off.get(rule.name)])
        for lane in self.lanes.values():
            lane.watch.adopt(self.domain)

    async def take(self, arrived: Sequence[Arrived]) -> None:
        """Observe batches, or park them behind those of their partition that wait for a schema."""
        wanted = [(lane, event) for lane, event in arrived if self._is_wanted(lane)]
        if not wanted:
            return
        started = time.perf_counter()
        found = self._read(wanted)
        each = (time.perf_counter() - started) / len(wanted)
        for (lane, event), what in zip(wanted, found, strict=True):
            if not self._is_wanted(lane):
                continue
            if lane.parked:
                self._park(lane, event)
            elif unknown := await self._observe(lane, event, what, each):
                self._park(lane, event)
                self.add_future(self._unpark(lane, unknown))
        while sum(lane.watch.unsettled for lane in self.lanes.values()) > MOST_UNSETTLED:
            await self.checkpoint(max(self.lanes.values(), key=lambda lane: lane.watch.unsettled))

    def _is_wanted(self, lane: Lane) -> bool:
        """Whether no rebalance has come since a batch of the lane arrived, nor the last checkpoint: if so, it is read again."""
        return not self.should_stop and self.app.flow_control.is_active() and self._is_ours(lane)

    def _read(self, arrived: Sequence[Arrived]) -> Sequence[Read | None]:
        """What the batches say, read in one pass; None for each where every one has to be read by itself."""
        apart = [None] * len(arrived)
        # a partition of mostly rejects would hold up the others
        if len(arrived) == 1 or any(BATCH_TOPICS.rests(*lane.tp) for lane, _ in arrived):
            return apart
        batches = [(cast(Batch, event.value), lane.watch) for lane, event in arrived]
        found = attempt(lambda: read(self.domain, batches, self.app.writers.known, self.app.writers.missing))
        return found if isinstance(found, list) else apart

    def _lane(self, tp: TP) -> Lane:
        if tp not in self.lanes:
            watch = Watch(self.domain, settings().tenant)
            watch.ledger.logs = {topic: identity for topic in self._logs if (identity := self.app.topic_ids.get(topic))}
            try:
                recovered(watch, tp, self._changelog, self._replica(tp), cast(Consumer, self.app.consumer).committed(tp))
            except StateLost as lost:
                self.app.give_up(str(lost))
            outlook = watch.outlook
            self.lanes[tp] = Lane(tp, watch, counts=dict(watch.counts), forecasts=dict(outlook.forecasts), crashes=dict(outlook.crashes))
            self.log.info("lane_opened topic=%s partition=%d fence=%d", tp.topic, tp.partition, watch.fence)
        return self.lanes[tp]

    def _replica(self, tp: TP) -> dict[bytes, bytes]:
        return cast(Store, self._table.data).replica(tp.partition)

    async def _drop_lanes(self, *_: object, **__: object) -> None:
        """Forget all state on a rebalance: what the changelog holds is what counts, and another worker may have gone further.

        At its end as well: a lane that was opened before all of the changelog was read lacks state.
        """
        self.lanes.clear()

    def _is_ours(self, lane: Lane) -> bool:
        return self.lanes.get(lane.tp) is lane

    async def _observe(self, lane: Lane, event: EventT[Any], found: Read | None = None, spent: float = 0) -> Set[int]:
        """Bring a batch into the state and send what it calls for; or return the schema ids that must be known first.

        `found` is what was read of it, `spent` the seconds that took.
        """
        batch = cast(Batch, event.value)
        started = time.perf_counter() - spent
        async with lane.telling:
            observed = self._judge(lane.watch, batch, found)
            if not isinstance(observed, Observed):
                return observed
            lane.observed.append(event)
            lane.active_at, lane.idle = time.monotonic(), False
            await self.app.send_frame(COMMANDS, observed.commands)
            await self.app.send_frame(ALERTS, observed.alerts)
            if observed.rejects:
                letters = dead_letters(batch, observed.rejects)
                await self.app.send_frame(DEAD_LETTERS, letters, letters["key"].to_list())
            if observed.late.height:
                await self.app.send_frame(LATE, late_records(batch, observed.late))
        seconds = time.perf_counter() - started
        self.app.metrics.batch(self.domain.name, len(batch), seconds)
        pace(batch, len(observed.rejects), seconds)
        batch.release()
        return frozenset()

    def _judge(self, watch: Watch, batch: Batch, found: Read | None) -> Observed | frozenset[int]:
        known, missing = self.app.writers.known, self.app.writers.missing
        observed = attempt(lambda: watch.judge(found) if found else watch.observe(batch, known, missing))
        if isinstance(observed, Exception):
            self._switch_off(watch.crashing(batch, known, missing))
            observed = attempt(lambda: watch.observe(batch, known, missing))
        return watch.crashed(batch, observed) if isinstance(observed, Exception) else observed

    def _switch_off(self, crashing: Mapping[str, Exception]) -> None:
        """Judge without the rules that raised, until each is applied anew: one rule must not keep the others from their work."""
        for name, error in crashing.items():
            self.log.error("rule_switched_off name=%s: until it is applied or the worker starts anew", name, exc_info=error)
            self.switched_off[name] += 1
        self._off |= {rule.name: rule for rule in self.domain.rules if rule.name in crashing}
        self.adopt(self.domain)

    def _waits(self) -> dict[TP, str]:
        return {lane.tp: "schemas" for lane in self.lanes.values() if lane.parked}

    def _park(self, lane: Lane, event: EventT[Any]) -> None:
        lane.parked.append(event)
        cast(Consumer, self.app.consumer).park(lane.tp)

    async def _unpark(self, lane: Lane, unknown: Set[int]) -> None:
        while True:
            self.log.info("schemas_awaited partition=%d ids=%s", lane.tp.partition, sorted(unknown)[:5])
            await self.app.writers.fetch(unknown)
            while not (unknown := frozenset()) and lane.parked and self._is_ours(lane) and not self.should_stop:
                if unknown := await self._observe(lane, lane.parked[0]):
                    break
                lane.parked.popleft()
            if not unknown:
                break
        if self._is_ours(lane):
            cast(Consumer, self.app.consumer).unpark(lane.tp)

    async def on_stop(self) -> None:
        """Leave nothing to be read again, if Kafka takes it in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self.checkpoint(*self.lanes.values())

    @Service.task
    async def _checkpoints(self) -> None:
        while not self.should_stop:
            await self.sleep(pause(self.lanes.values()))
            if self.app.flow_control.is_active() and not (self.app.rebalancing or self.app.in_recovery):
                self._open_lanes()
                if lanes := due(self.lanes.values(), time.monotonic()):
                    await self.checkpoint(*lanes)

    def _open_lanes(self) -> None:
        """Have a lane for every assigned partition: one without traffic may have windows that wait to be told of."""
        for tp in self.app.consumer.assignment():
            if tp.topic == named(self.domain.source.topic):
                self._lane(tp)

    async def checkpoint(self, *lanes: Lane) -> None:
        """Deliver what the states of partitions account for, then the states, and only then acknowledge what they are the states of."""
        async with self._checkpointing:
            now = time.monotonic()
            observed = [lane for lane in lanes if lane.observed]
            for lane in observed:
                lane.checkpoint_at = now
            if observed:
                await self._checkpoint(observed)
            for lane in lanes:
                if lane not in observed and not lane.idle and now - lane.active_at > IDLE_SECONDS:
                    lane.idle = True
                    await self.app.send_frame(self._windows, lane.watch.idle())

    async def _checkpoint(self, lanes: Sequence[Lane]) -> None:
        started = time.perf_counter()
        taken = [await self._cut(lane) for lane in lanes]
        # In a thread, so that alerts need not wait: Polars gives up the interpreter lock while it works.
        folded = await self._folds.run(lambda: [lane.watch.fold(cut, attempt) for lane, (_, cut) in zip(lanes, taken, strict=True)])
        for settled in folded:
            await self.app.send_frame(self._windows, settled.windows)
            await self.app.send_frame(ALERTS, settled.alerts)
        for lane, settled in zip(lanes, folded, strict=True):
            await self._write(lane, settled.checkpoint.buckets.items())
        await self.app.producer.flush()
        for lane, settled in zip(lanes, folded, strict=True):
            await self._write(lane, [settled.checkpoint.manifest])
        await self.app.producer.flush()
        for lane, (events, _), settled in zip(lanes, taken, folded, strict=True):
            if self._is_ours(lane):
                lane.counts, lane.forecasts, lane.crashes = settled.counts, settled.forecasts, settled.crashes
                await self._acknowledge(lane, settled.checkpoint, events)
        size = sum(len(bucket) for settled in folded for bucket in settled.checkpoint.buckets.values())
        self.app.metrics.checkpoint(self.domain.name, size, time.perf_counter() - started)

    async def _cut(self, lane: Lane) -> tuple[list[EventT[Any]], Cut]:
        """What was observed of a partition since its checkpoint before, when all it calls for is queued."""
        async with lane.telling:
            events, lane.observed = lane.observed, []
            return events, lane.watch.cut()

    async def _acknowledge(self, lane: Lane, checkpoint: Checkpoint, events: list[EventT[Any]]) -> None:
        replica = self._replica(lane.tp)
        replica |= {**checkpoint.buckets, checkpoint.manifest[0]: checkpoint.manifest[1]}
        for event in events:
            event.ack()
        for key in checkpoint.obsolete:
            replica.pop(key, None)
        await self._write(lane, ((key, None) for key in checkpoint.obsolete))

    async def _write(self, lane: Lane, entries: Any) -> None:  # noqa: ANN401
        """Queue changelog records."""
        pairs = list(entries)
        keys, values = [key for key, _ in pairs], [value for _, value in pairs]
        await self.app.bulk.send_batch(self._changelog, keys, values, partition=lane.tp.partition)
