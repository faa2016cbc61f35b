import asyncio
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streams.spool import Outgoing, Spool, SpoolBusy, _size
from tests.fakes.disk import Disk

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


async def test_a_disk_that_takes_nothing_costs_nothing_that_was_taken(spool):
    await spool.put([record(0), record(1)])
    limit = spool._db.execute("PRAGMA page_count").fetchone()[0]
    spool._db.execute(f"PRAGMA max_page_count = {limit}")
    assert await spool.put([record(2)._replace(value=b"x" * 100_000)]) is None
    assert (spool.backlog, await all_of(spool)) == (2, [record(0), record(1)])


async def test_what_a_full_disk_does_not_let_go_is_not_given_out_again_and_let_go_later():
    disk, spool = await on_a_fake_disk()
    await spool.put([record(0), record(1)])
    disk.full = True
    await spool.remove(*await spool.first(1))
    assert (spool.backlog, await all_of(spool), on(disk)) == (1, [record(1)], [0, 1])
    disk.full = False
    await spool.remove(*await spool.first(1))
    assert (spool.backlog, spool.bytes["a"], on(disk)) == (0, 0, [])


async def test_two_who_remove_at_once_from_a_disk_that_fills_up_between_them_cost_no_count():
    disk, spool = await on_a_fake_disk()
    sent = await spool.put([record(0), record(1)], sent=True)
    await spool.put([record(2)])
    out = await spool.first(10)
    disk.held = True
    first = asyncio.ensure_future(spool.remove(sent, [record(0), record(1)]))
    await asyncio.sleep(0)
    disk.work()  # done, and its answer is on its way
    second = asyncio.ensure_future(spool.remove(*out))
    await asyncio.sleep(0)
    disk.full = True
    disk.work()
    await asyncio.gather(first, second)
    disk.held = disk.full = False
    await spool.put([record(3)])
    assert await all_of(spool) == [record(3)]
    await spool.remove(*await spool.first(10))
    assert (spool.backlog, spool.rows["a"], spool.bytes["a"]) == (0, 0, 0)


async def test_a_full_disk_that_cannot_even_end_a_transaction_takes_records_again_when_it_has_room():
    disk, spool = await on_a_fake_disk()
    for good in range(3):  # begin, insert, commit; and then the rollback
        disk.fail(after=good)
        assert await spool.put([record(good)]) is None
        disk.mend()
        assert (spool.backlog, await all_of(spool)) == (0, [])
    assert await spool.put([record(3)]) is not None
    assert (spool.backlog, await all_of(spool)) == (1, [record(3)])


async def test_a_spool_that_cannot_be_read_gives_nothing_out():
    disk, spool = await on_a_fake_disk()
    await spool.put([record(0)])
    disk.fail()
    assert await spool.first(10) == ([], [])
    disk.mend()
    assert await all_of(spool) == [record(0)]


async def test_two_who_write_at_once_have_one_share_between_them():
    disk, spool = await on_a_fake_disk(share=200)
    disk.held = True
    writing = asyncio.ensure_future(spool.put([record(0)]))
    await asyncio.sleep(0)
    assert spool.room([record(1)]) == [False]
    disk.work()
    assert await writing is not None


async def test_records_of_topics_that_are_left_out_are_passed_over_and_counted_apart():
    _, spool = await on_a_fake_disk()
    records = [record(number)._replace(topic="t" if number % 2 else "x") for number in range(6)]
    await spool.put(records)
    assert (await spool.first(2, {"x"}))[1] == [records[1], records[3]]
    assert (spool.ready("a", {"x"}), spool.ready("a", {"x", "t"}), spool.ready("a", frozenset())) == (3, 0, 6)
    assert await spool.first(2, {"x", "t"}) == ([], [])
    await spool.remove(*await spool.first(10, {"t"}))
    assert (spool.ready("a", {"t"}), await all_of(spool)) == (0, [records[1], records[3], records[5]])


async def on_a_fake_disk(share=1 << 20):
    disk = Disk()
    spool = Spool(Path("a/s"), share, connect=disk.connect, thread=disk)
    await spool.open()
    return disk, spool


def on(disk):
    """Ids of the rows that are there."""
    return [number for (number,) in disk.file.execute("SELECT id FROM spooled ORDER BY id")]


TENANTS = st.sampled_from("ab")


class Races(RuleBasedStateMachine):
    """Writers, a drain and deliveries at a disk that is slow, full or broken, in any order of their steps."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.disk, self.number = Disk(), 0
        self.kept, self.sent, self.ended = {}, {}, set()
        self.begin()

    def teardown(self):
        for task in self.tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def begin(self):
        self.tasks, self.out, self.drains, self.began = [], None, False, self.number
        self.disk.held = False
        self.disk.mend()
        self.spool = Spool(Path("a/s"), 1 << 20, connect=self.disk.connect, thread=self.disk)
        self.loop.run_until_complete(self.spool.open())
        self.disk.held = True

    def start(self, coroutine):
        task = self.loop.create_task(coroutine)
        self.tasks.append(task)
        self.turn()
        return task

    def turn(self):
        for _ in range(5):
            self.loop.run_until_complete(asyncio.sleep(0))
        for task in [task for task in self.tasks if task.done()]:
            self.tasks.remove(task)
            task.result()

    @rule(whose=st.lists(st.tuples(TENANTS, st.booleans()), min_size=1, max_size=4), sent=st.booleans())
    def put(self, whose, sent):
        records = [record(self.number + place, tenant, urgent=urgent) for place, (tenant, urgent) in enumerate(whose)]
        self.number += len(records)

        async def put():
            ids = await self.spool.put(records, sent=sent)
            if ids is not None:
                (self.sent if sent else self.kept).update(zip(ids, records, strict=True))

        self.start(put())

    @precondition(lambda self: not self.drains)
    @rule(count=st.integers(1, 5))
    def drain(self, count):
        self.drains = True

        async def first():
            ids, records = await self.spool.first(count)
            assert not self.ended & {*ids}, "given out though Kafka has it"
            assert [*map(self.kept.get, ids)] == records
            for tenant in "ab":
                of_tenant = [number for number, each in zip(ids, records, strict=True) if each.tenant == tenant]
                assert in_order(self.kept, tenant)[: len(of_tenant)] == of_tenant
            self.out, self.drains = ids, bool(ids)

        self.start(first())

    @precondition(lambda self: self.out)
    @rule()
    def delivered(self):
        records = [self.kept.pop(number) for number in self.out]
        self.ended.update(self.out)
        self.start(self.spool.remove(self.out, records))
        self.out, self.drains = None, False

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def settled(self, data):
        ids = data.draw(st.lists(st.sampled_from(sorted(self.sent)), min_size=1, unique=True))
        self.ended.update(ids)
        self.start(self.spool.remove(ids, [self.sent.pop(number) for number in ids]))

    @precondition(lambda self: self.disk.jobs)
    @rule(count=st.integers(1, 3), is_heard=st.booleans())
    def work(self, count, is_heard):
        self.disk.work(count)
        if is_heard:  # or while something else begins
            self.turn()

    @rule(is_full=st.booleans())
    def room(self, is_full):
        self.disk.mend()
        self.disk.full = is_full

    @rule(after=st.integers(0, 8), calls=st.integers(1, 3))
    def some_calls_fail(self, after, calls):
        self.disk.fail(after, calls)

    @precondition(lambda self: self.number > self.began + 10)
    @rule()
    def crash(self):
        """What the disk had of what was said to be safe is there; beside it what Kafka has and the disk did not let go."""
        for task in self.tasks:
            task.cancel()
        self.disk.crash()
        if self.tasks:
            self.loop.run_until_complete(asyncio.wait(self.tasks))
        there = on(self.disk)
        assert {*self.kept, *self.sent} <= {*there}
        self.begin()
        everything = self.kept | self.sent
        with self.unheld():
            ids, records = self.loop.run_until_complete(self.spool.first(10_000))
        assert sorted(ids) == there
        self.kept, self.sent, self.ended = dict(zip(ids, records, strict=True)), {}, set()
        assert everything.items() <= self.kept.items()

    @invariant()
    def adds_up(self):
        assert all(count >= 0 for counts in (self.spool.rows, self.spool.bytes, self.spool.waiting) for count in counts.values())
        if self.tasks:
            return
        everything = [*self.kept.values(), *self.sent.values()]
        for tenant in "ab":
            assert self.spool.waiting[tenant] == sum(each.tenant == tenant for each in self.kept.values())
            assert self.spool.topics[tenant, "t"] == self.spool.waiting[tenant]
            assert self.spool.rows[tenant] == sum(each.tenant == tenant for each in everything)
            assert self.spool.bytes[tenant] == sum(_size(each) for each in everything if each.tenant == tenant)
        assert {*self.kept, *self.sent} <= {*on(self.disk)}
        if not self.disk.file.in_transaction:  # or what is seen is not committed
            assert {*on(self.disk)} <= {*self.kept, *self.sent, *self.ended}

    @contextmanager
    def unheld(self):
        held, self.disk.held = self.disk.held, False
        yield
        self.disk.held = held


def in_order(kept, tenant):
    return [number for number, each in sorted(kept.items(), key=lambda item: (not item[1].urgent, item[0])) if each.tenant == tenant]


TestRaces = Races.TestCase
TestRaces.settings = settings(max_examples=100, stateful_step_count=60)


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
