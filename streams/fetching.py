"""What a worker takes of aiokafka's fetcher, and when: Faust's consumer thread, for batches."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final, cast

from aiokafka.consumer import fetcher
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.batches import BATCH_TOPICS, Batch, BatchRecords, OneBatch

# aiokafka has no seam for how a fetch is unpacked; for topics not declared as batch topics these classes do what their parents do.
fetcher.PartitionRecords = BatchRecords
fetcher.FetchResult = OneBatch

# How long the broker may hold a fetch that finds nothing. aiokafka asks a broker one thing at a time: while it waits for partitions
# without traffic, those whose records are used up wait with them.
FETCH_WAIT_MS: Final = 50
# How soon a poll follows one that found little. A pass over a batch costs a millisecond or two however few its records are: at 10,000
# readings a second polls without a pause took half as much again of the processor, and broker and gateway waited for it.
PACE_SECONDS: Final = 0.012
LITTLE_RECORDS: Final = 1_000
# What partitions may hold, as it was fetched, to be taken in one poll: some thousand readings.
TOGETHER_BYTES: Final = 32_768


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
        """Batches of the partitions whose turn it is; where none has any, what comes next.

        All that are small, as they then are read in one pass, but one that is large: Faust polls again when all of a poll is delivered,
        and with several large ones this thread unpacked while the agents waited.
        """
        await asyncio.sleep(max(0.0, self._rests_until - time.monotonic()))
        fetcher = consumer._fetcher  # noqa: SLF001  # as the parent does
        waiting = fetcher._records  # noqa: SLF001
        found: Any = {}
        for tp in _turn({tp: waiting[tp] for tp in waiting if tp.topic in BATCH_TOPICS and tp in active_partitions}):
            try:
                found |= await super()._fetch_records(consumer, {tp}, 0, max_records)
            except KafkaError:
                if not found:  # of what is taken nothing may be lost; the error comes again
                    raise
            if tp in waiting:
                waiting.move_to_end(tp)
        # What was used up is fetched anew only now: this is all that came since the last poll.
        found = found or await super()._fetch_records(consumer, active_partitions, timeout, max_records)
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
