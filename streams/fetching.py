"""What a worker takes of aiokafka's fetcher, and when: Faust's consumer thread, for batches."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Mapping, Set
from types import SimpleNamespace
from typing import Any, Final, cast

from aiokafka.consumer import consumer as aiokafka_consumer
from aiokafka.consumer import fetcher
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.batches import BATCH_TOPICS, Batch, BatchRecords, OneBatch

# How long the broker may hold a fetch that finds nothing. aiokafka asks a broker one thing at a time: while it waits for partitions
# without traffic, those whose records are used up wait with them. A request for all partitions that are polled holds up none of them and
# may wait longer, and longer still if no fetched records lie here of partitions that may be polled later.
FETCH_WAIT_MS: Final = 50
FETCH_ALL_WAIT_MS: Final = 500
FETCH_IDLE_WAIT_MS: Final = 2_000
# How often to look whether there is something to ask for though nothing happened; aiokafka looks five times a second.
LOOK_SECONDS: Final = 1.0
# How soon a poll follows one that found little. A pass over a batch costs a millisecond or two however few its records are: at 10,000
# readings a second polls without a pause took half as much again of the processor, and broker and gateway waited for it.
PACE_SECONDS: Final = 0.012
LITTLE_RECORDS: Final = 1_000
# What is little enough to be gathered: so many records a second of topics gathered alike, for each second they may be gathered for.
# Of 50 ms that is 700: at a thousand readings a second alerts would be 20 ms later, to save a tenth of a core.
GATHERED_RATE: Final = 14_000
# A topic gathered for less than this holds what this worker's passes make of others. One pass's records come by several partitions, parts
# of a millisecond apart: the broker gathers them, or each partition would be a pass of its own.
MADE_HERE_SECONDS: Final = 0.05
MADE_HERE_RATE: Final = 2_000
GATHER_BYTES: Final = 1 << 20
# What partitions may hold, as it was fetched, to be taken in one poll: some thousand readings.
TOGETHER_BYTES: Final = 32_768


class Fetcher(fetcher.Fetcher):  # type: ignore[misc]  # aiokafka is untyped
    """Asks for the records of a topic that is gathered no sooner than that long after it gave some; meanwhile for those of the others.

    What is gathered for less than `MADE_HERE_SECONDS` the broker gathers, after others gave records.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # the parent's signature
        super().__init__(*args, **kwargs)
        self._fetcher_timeout = LOOK_SECONDS
        self.polled: Set[TP] | None = None
        """Partitions whose records are taken as soon as they are there; None: all."""
        self._found_at: dict[float, float] = {}
        """When topics of each time of gathering last gave records."""
        self._others_found_at = 0.0
        """When topics that the broker does not gather last gave records."""
        self._rates: dict[float, float] = {}
        """Records a second of topics of each time of gathering, over the last second or so."""
        self._counted_at = time.monotonic()

    def found(self, records: Mapping[TP, int]) -> None:
        """Note how many records were taken of which partitions."""
        now = time.monotonic()
        came = Counter[float]()
        for tp, count in records.items():
            came[BATCH_TOPICS.gathered_seconds(tp.topic)] += count
        passed = 1 + now - self._counted_at
        self._rates = {seconds: (self._rates.get(seconds, 0.0) + came[seconds]) / passed for seconds in self._rates | came}
        self._counted_at = now
        self._found_at |= dict.fromkeys(came, now)
        if any(count for seconds, count in came.items() if not _is_made_here(seconds)):
            self._others_found_at = now

    def _due_at(self, topic: str) -> float:
        """When the topic may be asked for, on the monotonic clock."""
        seconds = BATCH_TOPICS.gathered_seconds(topic)
        if _is_made_here(seconds) or self._rates.get(seconds, 0.0) >= GATHERED_RATE * seconds:
            return 0.0
        return self._found_at.get(seconds, 0.0) + seconds

    def _gathered_until(self, topic: str) -> float:
        """Until when the broker gathers the topic's records, on the monotonic clock."""
        seconds = BATCH_TOPICS.gathered_seconds(topic)
        is_gathered = _is_made_here(seconds) and self._rates.get(seconds, 0.0) < MADE_HERE_RATE
        return self._others_found_at + seconds if is_gathered else 0.0

    def _get_actions_per_node(self, assignment: Any) -> Any:  # noqa: ANN401
        """The parent's, for the partitions that may be asked for now, and with how long the broker may wait for each request."""
        now = time.monotonic()
        topics = {tp.topic for tp in assignment.tps}
        held = {topic: at for topic in topics if (at := self._due_at(topic)) > now}
        if not held:
            requests, resets, timeout, outdated, resumed = super()._get_actions_per_node(assignment)
            rest = math.inf
        else:
            others = SimpleNamespace(tps=[tp for tp in assignment.tps if tp.topic not in held], state_value=assignment.state_value)
            requests, resets, timeout, outdated, resumed = super()._get_actions_per_node(others)
            rest = min(held.values()) - now
            timeout = min(timeout, rest)
        if resumed or (self._records if self.polled is None else self.polled & self._records.keys()):
            longest_ms = FETCH_WAIT_MS
        else:  # changelogs of this worker's own partitions lie fetched until the next assignment
            longest_ms = FETCH_ALL_WAIT_MS if self._records else FETCH_IDLE_WAIT_MS
        wait = min(rest, longest_ms / 1000)
        gathers = max(map(self._gathered_until, topics), default=0.0) - now
        for _, request in requests:
            # they have no other way
            request._max_wait_ms = math.ceil(1000 * (min(wait, gathers) if gathers > 0 else wait))  # noqa: SLF001
            request._min_bytes = GATHER_BYTES if gathers > 0 else self._fetch_min_bytes  # noqa: SLF001
        return requests, resets, timeout, outdated, resumed


# aiokafka has no seam for what is fetched and how it is unpacked; for topics not declared as batch topics these do what their parents do.
aiokafka_consumer.Fetcher = Fetcher
fetcher.PartitionRecords = BatchRecords
fetcher.FetchResult = OneBatch


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread, whose failed commit is an answer and not the end of the worker."""

    _rests_until = 0.0

    def _create_worker_consumer(self, transport: Any) -> Any:  # noqa: ANN401  # aiokafka is untyped
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001  # Faust has no setting for its 1,500
        return consumer

    async def _fetch_records(
        self,
        consumer: Any,  # noqa: ANN401  # aiokafka is untyped
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109  # the parent's signature
        max_records: int | None = None,
    ) -> Any:  # noqa: ANN401
        """Batches of the partitions whose turn it is, and all there is of what comes by the record; where none has any, what comes next.

        Of batches all that are small, as they then are read in one pass, but one that is large: Faust polls again when all of a poll is
        delivered, and with several large ones this thread unpacked while the agents waited. By the record come changelogs: a standby
        keeps up with its leader while this worker's own partitions have more than it can take.
        """
        await asyncio.sleep(max(0.0, self._rests_until - time.monotonic()))
        fetcher = consumer._fetcher  # noqa: SLF001  # as the parent does
        waiting = fetcher._records  # noqa: SLF001
        fetcher.polled = frozenset(active_partitions)  # Faust changes its own from another thread
        found: Any = {} if waiting else await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        new = {tp: waiting[tp] for tp in waiting if tp in active_partitions and tp not in found}
        by_record = {tp for tp in new if tp.topic not in BATCH_TOPICS}
        turn = _turn({tp: fetch for tp, fetch in new.items() if tp not in by_record})
        for tps in [*({tp} for tp in turn), *([by_record] if by_record else [])]:
            try:
                found |= await super()._fetch_records(consumer, tps, 0, max_records)
            except KafkaError:
                if not found:  # of what is taken nothing may be lost; the error comes again
                    raise
            for tp in tps & waiting.keys():
                waiting.move_to_end(tp)
        # What was used up is fetched anew only now: this is all that came since the last poll.
        if waiting and not found:
            found = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        fetcher.found({tp: sum(len(record) for record in taken if isinstance(record, Batch)) for tp, taken in found.items()})
        self._rests_until = time.monotonic() + (PACE_SECONDS if _is_little(found) else 0)
        return found

    def reached(self, tp: TP) -> int | None:
        """Offset of the next record to be taken from the fetcher; None before the partition's first position."""
        subscription = self._ensure_consumer()._subscription.subscription  # noqa: SLF001  # aiokafka's own `position` waits
        if subscription is None or subscription.assignment is None or tp not in subscription.assignment.tps:
            return None
        state = subscription.assignment.state_value(tp)
        return cast(int, state.position) if state.has_valid_position else None

    async def rewind(self, taken: Mapping[TP, tuple[int, int]]) -> None:
        """Have records come again: where to start, and the end of what was taken. A partition that was sought since stays there."""
        await self.call_thread(self._rewind, taken)

    async def _rewind(self, taken: Mapping[TP, tuple[int, int]]) -> None:
        for tp, (start, end) in taken.items():
            reached = self.reached(tp)
            if reached is not None and reached >= end:
                self._ensure_consumer().seek(tp, start)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit; False where it has to be tried again or the partitions are no longer ours."""
        consumer = self._ensure_consumer()
        assigned = self.assignment()
        try:
            await consumer.commit({driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(o, "") for tp, o in offsets.items() if tp in assigned})
        except (CommitFailedError, IllegalStateError) as exc:
            self.log.warning("commit_refused reason=%r", exc)
            return False
        except KafkaError as exc:
            if not exc.retriable:
                await self.crash(exc)
            self.log.warning("commit_failed reason=%r", exc)
            return False
        return True


def _is_made_here(gathered_seconds: float) -> bool:
    """Whether a topic holds what passes over other topics make."""
    return 0 < gathered_seconds < MADE_HERE_SECONDS


def _is_little(found: Mapping[TP, Any]) -> bool:
    """Whether a poll found batches, of few records in all."""
    records = [record for taken in found.values() for record in taken]
    return bool(records) and all(isinstance(record, Batch) for record in records) and sum(map(len, records)) < LITTLE_RECORDS


def _turn(waiting: Mapping[TP, Any]) -> list[TP]:
    """Of partitions with something to take, a fetch or an error, those whose turn it is: the first, and small ones that do not rest."""
    turn: list[TP] = []
    room = TOGETHER_BYTES
    for tp in sorted(waiting, key=lambda tp: BATCH_TOPICS.rests(*tp)):
        size = waiting[tp].size if isinstance(waiting[tp], OneBatch) else room
        if not turn or (size < room and not BATCH_TOPICS.rests(*tp)):
            turn.append(tp)
            room -= size
    return turn
