from types import SimpleNamespace

import pytest
from faust.types import TP

from streams.store import Store

CHANGELOG = "factory-readings-1m-changelog"


def replicate(store: Store, partition: int, *records: tuple[int, bytes, bytes | None]) -> None:
    """Take in records as aiokafka has them, of which only these fields matter."""
    store.replicate(partition, [SimpleNamespace(offset=offset, key=key, value=value) for offset, key, value in records], records[-1][0])


@pytest.fixture
def store() -> Store:
    return Store(url="checkpoint://", app=None, table=SimpleNamespace(name="readings-1m"))


def test_the_last_value_of_a_key_counts(store):
    replicate(store, 0, (3, b"a", b"1"), (4, b"b", b"1"), (5, b"a", b"2"))
    assert store.replica(0) == {b"a": b"2", b"b": b"1"}


def test_a_tombstone_removes_its_key_and_one_without_a_key_to_remove_nothing(store):
    replicate(store, 0, (0, b"a", b"1"), (1, b"b", b"1"), (2, b"a", None), (3, b"c", None))
    assert store.replica(0) == {b"b": b"1"}


def test_an_empty_value_is_a_value(store):
    replicate(store, 0, (0, b"a", b""))
    assert store.replica(0) == {b"a": b""}


def test_partitions_hold_their_own_values(store):
    replicate(store, 0, (0, b"a", b"1"))
    replicate(store, 1, (9, b"a", b"2"))
    assert (store.replica(0), store.replica(1), store.replica(2)) == ({b"a": b"1"}, {b"a": b"2"}, {})


def test_reading_goes_on_after_what_was_taken_in_whether_it_is_a_tombstone_or_compacted_away(store):
    replicate(store, 0, (3, b"a", b"1"), (7, b"a", None))
    assert store.persisted_offset(TP(CHANGELOG, 0)) == 7
    store.replicate(0, [], 9)
    assert store.persisted_offset(TP(CHANGELOG, 0)) == 9


def test_a_partition_never_read_is_read_from_its_start(store):
    store.replica(0)[b"a"] = b"written by its owner"
    assert store.persisted_offset(TP(CHANGELOG, 0)) is None
    assert store.persisted_offset(TP(CHANGELOG, 1)) is None


async def test_partitions_that_moved_away_are_dropped_and_read_from_their_start_when_they_return(store):
    for partition in range(3):
        replicate(store, partition, (5, b"a", b"1"))
    await store.on_recovery_completed({TP(CHANGELOG, 0)}, {TP(CHANGELOG, 2)})
    assert [store.replica(partition) for partition in range(3)] == [{b"a": b"1"}, {}, {b"a": b"1"}]
    assert [store.persisted_offset(TP(CHANGELOG, partition)) for partition in range(3)] == [5, None, 5]


def test_what_the_owner_writes_is_seen_by_whoever_opens_the_partition_next(store):
    replica = store.replica(0)
    replica[b"a"] = b"1"
    assert store.replica(0) == {b"a": b"1"}


def test_reading_again_what_the_owner_wrote_gives_the_same_values(store):
    log = [(0, b"a", b"1"), (1, b"b", b"1"), (2, b"a", b"2"), (3, b"b", None)]
    replicate(store, 0, log[0])
    replica = store.replica(0)
    replica |= {b"a": b"2"}
    replicate(store, 0, *log[1:])
    assert store.replica(0) == {b"a": b"2"}
