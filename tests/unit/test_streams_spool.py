import asyncio
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.spool import Outgoing, Spool, SpoolBusy

HEADERS = [("device_id", b"l-1"), ("x", b"\x00\xff")]


def record(number, tenant="a", *, urgent=False):
    return Outgoing("t", f"k{number}".encode(), number.to_bytes(4), HEADERS, tenant, urgent)


@pytest.fixture
async def spool(tmp_path):
    spool = Spool(tmp_path / "spool.sqlite", 1 << 20)
    await spool.open()
    yield spool
    await spool.close()


async def all_of(spool):
    return (await spool.first(1_000))[1]


async def test_records_come_out_as_they_went_in_urgent_ones_first(spool):
    records = [record(0), record(1, urgent=True), record(2), record(3, "b", urgent=True)]
    await spool.put(records)
    assert await all_of(spool) == [records[1], records[3], records[0], records[2]]


async def test_the_next_process_finds_what_the_last_one_left(tmp_path):
    spool = Spool(tmp_path / "s", 1 << 20)
    await spool.open()
    await spool.put([record(0)])
    await spool.put([record(1)], sent=True)
    assert (spool.backlog, await all_of(spool)) == (1, [record(0)])
    await spool.close()
    successor = Spool(tmp_path / "s", 1 << 20)
    await successor.open()
    assert (successor.backlog, successor.rows, await all_of(successor)) == (2, {"a": 2}, [record(0), record(1)])
    ids = await successor.put([record(2)])
    assert ids.start == 2
    await successor.close()


async def test_a_tenant_s_few_records_do_not_wait_for_all_of_another_s(spool):
    many, few = [record(number) for number in range(100)], [record(100, "b"), record(101, "b", urgent=True)]
    await spool.put([*many, *few])
    ids, records = await spool.first(10)
    assert records == [few[1], *many[:5], few[0]]
    await spool.remove(ids, records)
    assert (spool.waiting["a"], spool.waiting["b"]) == (95, 0)
    assert (await spool.first(10))[1] == many[5:15]


async def test_what_kafka_has_is_let_go(spool):
    await spool.put([record(number) for number in range(5)])
    ids, records = await spool.first(3)
    await spool.remove(ids, records)
    assert (spool.backlog, spool.rows["a"], await all_of(spool)) == (2, 2, [record(3), record(4)])
    ids, records = await spool.first(3)
    await spool.remove(ids, records)
    assert (spool.backlog, spool.bytes["a"]) == (0, 0)


async def test_each_tenant_has_its_share_and_behind_the_first_without_room_none_has(tmp_path):
    spool = Spool(tmp_path / "s", 1_000)
    await spool.open()
    large = record(1)._replace(value=b"x" * 2_000)
    assert spool.room([record(0), large, record(2), record(3, "b")]) == [True, False, False, True]
    await spool.put([record(number) for number in range(8)])
    assert spool.room([record(8), record(8, "b")]) == [False, True]
    await spool.close()


async def test_a_second_process_is_told_that_the_file_is_taken(spool):
    other = Spool(spool._file, 1)
    with pytest.raises(SpoolBusy, match="another gateway"):
        await other.open()


async def test_a_disk_that_takes_nothing_costs_nothing_that_was_taken(spool, monkeypatch):
    await spool.put([record(0), record(1)])
    limit = spool._db.execute("PRAGMA page_count").fetchone()[0]
    spool._db.execute(f"PRAGMA max_page_count = {limit}")
    assert await spool.put([record(2)._replace(value=b"x" * 100_000)]) is None
    assert (spool.backlog, await all_of(spool)) == (2, [record(0), record(1)])
    ids, records = await spool.first(1)

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(spool, "_remove", full)
    await spool.remove(ids, records)
    assert (spool.backlog, await all_of(spool)) == (1, [record(1)])
    monkeypatch.undo()
    ids, records = await spool.first(1)
    await spool.remove(ids, records)
    assert spool._db.execute("SELECT count(*) FROM spooled").fetchone() == (0,)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.sampled_from(["put", "sent", "take"]), st.integers(1, 4)), max_size=15))
def test_what_is_in_is_what_was_put_and_not_let_go(tmp_path_factory, steps):
    async def run():
        spool = Spool(tmp_path_factory.mktemp("spool") / "s", 1 << 20)
        await spool.open()
        inside, sent, number = [], 0, 0
        for step, count in steps:
            if step == "take":
                ids, records = await spool.first(count)
                assert records == inside[:count]
                await spool.remove(ids, records)
                inside = inside[count:]
            else:
                records = [record(number + n) for n in range(count)]
                number += count
                await spool.put(records, sent=step == "sent")
                inside += records if step == "put" else []
                sent += count * (step == "sent")
        assert (spool.backlog, spool.rows["a"], await all_of(spool)) == (len(inside), len(inside) + sent, inside)
        await spool.close()

    asyncio.run(run())
