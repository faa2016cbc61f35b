from collections import Counter
from types import SimpleNamespace

from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams.batches import Taken
from streams.replication import replicate
from streams.store import Store

CHANGELOG = TP("factory-readings-1m-changelog", 0)
KEYS = st.sampled_from([b"a", b"b", b"c"])


def record(offset: int, key: bytes = b"a", value: bytes | None = b"1") -> SimpleNamespace:
    """A record as aiokafka has it, of which only these fields matter."""
    return SimpleNamespace(offset=offset, key=key, value=value)


def tables(have: int | None, *, active: bool = True) -> SimpleNamespace:
    """A table manager whose changelog is read up to an offset, -1 being nothing of it."""
    store = Store(url="checkpoint://", app=None, table=SimpleNamespace(name="readings-1m"))
    offsets = Counter({CHANGELOG: have})
    recovery = SimpleNamespace(
        active_tps={CHANGELOG} if active else set(),
        active_offsets=offsets if active else Counter(),
        standby_offsets=Counter() if active else offsets,
        tp_to_table={CHANGELOG: SimpleNamespace(data=store)},
    )
    return SimpleNamespace(recovery=recovery, store=store, offsets=offsets)


def test_what_joins_on_is_taken_in_and_counted_for_active_and_standby_partitions():
    for active in (True, False):
        manager = tables(4, active=active)
        records = {CHANGELOG: Taken(5, 10, [record(5, b"a"), record(8, b"b")])}
        assert replicate(manager, records) == {}
        assert (manager.store.replica(0), manager.offsets[CHANGELOG]) == ({b"a": b"1", b"b": b"1"}, 9)
        assert [taken.offset for taken in records[CHANGELOG]] == [5, 8]  # Faust is told


def test_records_behind_a_hole_are_not_taken_in_and_what_is_missing_has_to_come_first():
    manager = tables(4)
    records = {CHANGELOG: Taken(7, 10, [record(7), record(9)])}
    assert replicate(manager, records) == {CHANGELOG: (5, 10)}
    assert (records, manager.store.replica(0), manager.offsets[CHANGELOG]) == ({}, {}, 4)


def test_what_came_before_is_not_taken_in_again():
    manager = tables(4)
    replicate(manager, {CHANGELOG: Taken(3, 6, [record(3, b"a", b"old"), record(5, b"b")])})
    assert (manager.store.replica(0), manager.offsets[CHANGELOG]) == ({b"b": b"1"}, 5)
    replicate(manager, {CHANGELOG: Taken(0, 1, [record(0, b"b", b"old")])})
    assert (manager.store.replica(0), manager.offsets[CHANGELOG]) == ({b"b": b"1"}, 5)


def test_while_it_is_not_known_where_reading_begins_nothing_is_taken_in():
    manager = tables(None)
    assert replicate(manager, {CHANGELOG: Taken(3, 5, [record(3), record(4)])}) == {CHANGELOG: (3, 5)}
    assert manager.store.replica(0) == {}


def test_records_of_sources_and_of_tables_in_other_stores_are_left_to_faust():
    manager, source, other = tables(-1), TP("factory.readings", 0), TP("orders-changelog", 0)
    manager.recovery.tp_to_table[other] = SimpleNamespace(data={})
    records = {source: Taken(7, 8, [record(7)]), other: Taken(7, 8, [record(7)])}
    assert replicate(manager, records) == {}
    assert records.keys() == {source, other}


@given(
    log=st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=2)), min_size=1, max_size=20),
    takes=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 8)), max_size=20),
)
def test_whatever_is_lost_or_repeated_a_store_holds_the_log_up_to_its_offset(log, takes):
    manager = tables(-1)
    for start, count in takes:
        taken = [record(offset, *log[offset]) for offset in range(start, min(start + count, len(log)))]
        if taken:
            replicate(manager, {CHANGELOG: Taken(start, start + len(taken), taken)})
    expected = dict(log[: manager.offsets[CHANGELOG] + 1])
    assert manager.store.replica(0) == {key: value for key, value in expected.items() if value is not None}
