import asyncio
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.gateway.message import Verdict
from schemas.catalog import READINGS
from streams import keeping as module
from streams.keeping import Keeping
from streams.rounds import Round
from streams.spool import Outgoing, Spool
from tests.fakes.disk import Disk
from tests.fakes.producer import Cluster

PATIENCE = 60


@pytest.fixture
def cluster(monkeypatch):
    cluster = Cluster()
    monkeypatch.setattr("streams.producer.Librdkafka", cluster.producer)
    monkeypatch.setattr(module, "create_missing", cluster.create)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(module, "MAKING_SECONDS", 0.01)
    return cluster


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
async def keeping(cluster, disk):
    made = Keeping(SimpleNamespace(services=[]), Path("nowhere"), lambda mark: None)
    made.spool = Spool(Path("a/s"), 1 << 20, connect=disk.connect, thread=disk)
    await made.start()
    yield made
    cluster.away = cluster.late = False
    await made.stop()


def record(number, tenant, topic):
    return Outgoing(topic, b"k", number.to_bytes(4), [], tenant, urgent=False)


def round_of(records):
    count = len(records)
    return Round([Verdict.DELIVERED] * count, [each.tenant for each in records], [*records], [*range(count)], [None] * count)


async def through(keeping, *records):
    """Verdicts of records that came together."""
    made = round_of(records)
    await keeping.forward(made)
    await keeping.confirm(made)
    adds_up(keeping)
    return made.verdicts


def adds_up(keeping):
    for tenant in {*keeping.counts, *keeping.spool.rows}:
        counts = keeping.counts[tenant]
        assert counts["accepted"] == counts["delivered"] + counts["rejected"] + keeping.spool.rows[tenant], tenant


async def until(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110, the condition is another task's
            await asyncio.sleep(0.005)


def numbers(cluster, topic):
    return [int.from_bytes(value) for value in cluster.log.get(topic, ())]


async def test_a_topic_that_cannot_be_made_holds_up_its_own_records_and_no_others(keeping, cluster, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", PATIENCE)  # a slow machine's answer counts
    cluster.unmade = {"new"}
    await through(keeping, record(0, "a", "old"), record(0, "b", "old"))
    assert await through(keeping, record(1, "a", "new"), record(1, "a", "old"), record(2, "b", "old")) == [
        Verdict.SPOOLED,
        Verdict.DELIVERED,
        Verdict.DELIVERED,
    ]
    assert await through(keeping, record(2, "a", "old"), record(2, "a", "new")) == [Verdict.DELIVERED, Verdict.SPOOLED]
    assert (numbers(cluster, "new"), keeping.spool.rows["a"]) == ([], 2)
    assert not keeping.drains("a")
    cluster.unmade.clear()
    await until(lambda: not keeping.spool.backlog)
    assert numbers(cluster, "new") == [1, 2]
    adds_up(keeping)


async def test_what_lies_in_the_spool_of_a_topic_that_cannot_be_made_stalls_no_drain(keeping, cluster):
    cluster.away = True
    await through(keeping, *(record(number, "ab"[number % 2], "new" if number % 3 == 0 else "old") for number in range(30)))
    cluster.unmade, cluster.away = {"new"}, False
    await until(lambda: len(numbers(cluster, "old")) == 20)
    await until(lambda: keeping.spool.backlog == 10)
    cluster.unmade.clear()
    await until(lambda: not keeping.spool.backlog)
    for tenant in (0, 1):
        assert [number for number in numbers(cluster, "new") if number % 2 == tenant] == [
            number for number in range(30) if number % 3 == 0 and number % 2 == tenant
        ]
    adds_up(keeping)


async def test_an_outage_costs_nothing_and_no_order_of_a_tenant(keeping, cluster):
    for number in range(60):
        cluster.away = 10 <= number < 40
        await through(keeping, record(number, "a", "old"))
    await until(lambda: not keeping.spool.backlog)
    assert numbers(cluster, "old") == [*range(60)]
    adds_up(keeping)


async def test_a_disk_that_fills_up_while_kafka_is_away_refuses_and_the_drain_neither_spins_nor_repeats(keeping, cluster, disk):
    cluster.away = True
    assert await through(keeping, record(0, "a", "old")) == [Verdict.SPOOLED]
    disk.full = True
    assert await through(keeping, record(1, "b", "old")) == [Verdict.FULL]
    cluster.away = False
    await until(lambda: not keeping.spool.backlog)
    calls = disk.calls
    await asyncio.sleep(0.1)
    assert disk.calls - calls < 20
    disk.mend()
    keeping._full_until.clear()
    assert await through(keeping, record(1, "b", "old")) == [Verdict.DELIVERED]
    assert numbers(cluster, "old") == [0, 1]


async def test_a_spool_that_cannot_be_read_is_asked_again_and_does_not_spin(keeping, cluster, disk):
    cluster.away = True
    await through(keeping, record(0, "a", "old"))
    disk.fail()
    cluster.away = False
    await until(lambda: disk.calls > 2)
    calls = disk.calls
    await asyncio.sleep(0.2)
    assert disk.calls - calls < 40
    disk.mend()
    await until(lambda: not keeping.spool.backlog)
    adds_up(keeping)


@pytest.mark.parametrize("away_first", [False, True])
async def test_messages_for_a_topic_of_the_catalogue_that_is_gone_stay_with_the_gateway_which_ends(keeping, cluster, away_first):
    """Its Kafka was replaced by an empty one."""

    class Ended(Exception):
        pass

    def gone(topic):
        raise Ended(topic)

    keeping.app.same_topics = SimpleNamespace(gone=gone)
    cluster.away = away_first
    if away_first:
        assert await through(keeping, record(0, "a", READINGS.topic)) == [Verdict.SPOOLED]
    cluster.refused, cluster.away = {READINGS.topic: KafkaError._UNKNOWN_TOPIC}, False
    if away_first:
        await until(lambda: keeping.crashed)
        assert isinstance(keeping.crash_reason, Ended)
        assert keeping.spool.rows["a"] == 1
    else:
        with pytest.raises(Ended, match=READINGS.topic):  # before who sent it hears that it is safe
            await through(keeping, record(0, "a", READINGS.topic))


BATCH = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["old", "new"])), min_size=1, max_size=4)
TROUBLE = st.sampled_from(["late", "report", "full", "broken", "mended", "unmade", "made", "turn"])
# what is sent in an outage is overdue, and lies in the spool, only after a while
OUTAGE = st.tuples(st.just("away"), BATCH, st.just("wait"), BATCH | TROUBLE, st.sampled_from(["back", "turn"]))
STEPS = st.lists(st.one_of(st.tuples(BATCH), st.tuples(TROUBLE), OUTAGE), max_size=10).map(lambda found: [*chain.from_iterable(found)])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_whatever_fails_nothing_taken_is_lost_sent_twice_or_out_of_order_and_the_ledger_adds_up(cluster, steps):
    """Outages, late reports, full and broken disks and topics that cannot be made, in any order, rounds under way beside each other."""

    async def run():
        nonlocal cluster
        cluster.__init__()
        disk, number, verdicts = Disk(), 0, {}
        made = Keeping(SimpleNamespace(services=[]), Path("nowhere"), lambda mark: None)
        made.spool = Spool(Path("a/s"), 1 << 20, connect=disk.connect, thread=disk)
        await made.start()
        under_way = asyncio.Queue()

        async def confirm():
            while True:
                each, records = await under_way.get()
                await made.confirm(each)
                verdicts.update(zip(records, each.verdicts, strict=True))
                adds_up(made)
                under_way.task_done()

        confirming = asyncio.ensure_future(confirm())
        for step in steps:
            match step:
                case list():
                    records = [record(number + row, *each) for row, each in enumerate(step)]
                    number += len(records)
                    each = round_of(records)
                    await made.forward(each)
                    under_way.put_nowait((each, [(one.tenant, one.topic, int.from_bytes(one.value)) for one in records]))
                case "away" | "back":
                    cluster.away = step == "away"
                case "late":
                    cluster.late = True
                case "report":
                    cluster.report(2)
                case "full" | "broken" | "mended":
                    disk.mend()
                    disk.full = step == "full"
                    if step == "broken":
                        disk.fail()
                case "unmade" | "made":
                    cluster.unmade = {"new"} if step == "unmade" else set()
                case "turn" | "wait":
                    await asyncio.sleep(0 if step == "turn" else 0.015)
            adds_up(made)
        cluster.away = cluster.late = False
        cluster.unmade = set()
        disk.mend()
        async with asyncio.timeout(PATIENCE):
            await under_way.join()
            await until(lambda: not made.spool.rows.total() and not made._overdue)
        confirming.cancel()
        adds_up(made)
        taken = [each for each, verdict in verdicts.items() if verdict is not Verdict.FULL]
        for topic in ("old", "new"):
            went = numbers(cluster, topic)
            assert len(went) == len({*went})
            assert {each for _, of, each in taken if of == topic} <= {*went}
            for tenant in "ab":
                of_tenant = {each for whose, _, each in verdicts if whose == tenant}
                assert (ours := [each for each in went if each in of_tenant]) == sorted(ours)
        await made.stop()

    asyncio.run(run())
