"""Faust's table storage `checkpoint://`: what a changelog holds, by partition, in memory."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from faust.stores.base import Store as FaustStore
from faust.types import TP, EventT


@dataclass
class Replica:
    """One changelog partition: the latest value of each key, and the offset up to which it was read."""

    values: dict[bytes, bytes] = field(default_factory=dict)
    offset: int | None = None


class Store(FaustStore[bytes, bytes]):
    """Registered under the entry-point group `faust.stores` as `checkpoint`.

    Faust's own memory store keeps the values of partitions that moved away, and a standby that becomes active reads everything again.
    """

    def __post_init__(self) -> None:
        """Faust's hook for subclasses."""
        self._replicas: dict[int, Replica] = {}

    def replica(self, partition: int) -> dict[bytes, bytes]:
        """Values of one partition by key, to read and, by whoever owns the partition, to change."""
        return self._replicas.setdefault(partition, Replica()).values

    def replicate(self, partition: int, records: Iterable[Any], offset: int) -> None:
        """Take in the changelog's next records, aiokafka's, in order, up to `offset`: the last value counts, none deletes."""
        replica = self._replicas.setdefault(partition, Replica())
        for record in records:
            if record.value is None:
                replica.values.pop(record.key, None)
            else:
                replica.values[record.key] = record.value
        replica.offset = offset

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]], to_key: Callable[[Any], bytes], to_value: Callable[[Any], bytes]) -> None:
        """Nothing to do: the transport replicates before Faust hears of a record."""

    def persisted_offset(self, tp: TP) -> int | None:
        """Where reading the changelog goes on: a standby that becomes active, or a partition that stays, reads only what is new."""
        replica = self._replicas.get(tp.partition)
        return replica.offset if replica else None

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Drop the partitions that are no longer ours."""
        ours = {tp.partition for tp in active_tps | standby_tps}
        self._replicas = {partition: replica for partition, replica in self._replicas.items() if partition in ours}

    def reset_state(self) -> None:
        """Nothing to do: nothing is on disk."""

    async def backup_partition(self, tp: TP | int, flush: bool = True, purge: bool = False, keep: int = 1) -> None:
        """Nothing to do: the changelog is the backup."""

    def restore_backup(self, tp: TP | int, latest: bool = True, backup_id: int = 0) -> None:
        """Nothing to do: the changelog is the backup."""
