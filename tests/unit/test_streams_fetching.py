from collections import OrderedDict
from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from faust.types import TP

from streams import fetching
from streams.batches import BATCH_TOPICS, Batch, OneBatch, Taken
from streams.fetching import (
    FETCH_ALL_WAIT_MS,
    FETCH_IDLE_WAIT_MS,
    FETCH_WAIT_MS,
    GATHER_BYTES,
    GATHERED_RATE,
    LITTLE_RECORDS,
    TOGETHER_BYTES,
    ConsumerThread,
    Fetcher,
    _is_little,
    _turn,
)

TOPIC = "turns"


class Fetched(OneBatch):
    """What was fetched of a partition, of which only the size matters."""

    def __init__(self, size: int) -> None:
        self._size = size

    @property
    def size(self) -> int:
        return self._size


def turn(*sizes: int | Exception) -> list[int]:
    """The partitions whose turn it is, of those from 0 on in which so many bytes, or an error, wait."""
    waiting = {TP(TOPIC, number): size if isinstance(size, Exception) else Fetched(size) for number, size in enumerate(sizes)}
    return [tp.partition for tp in _turn(waiting)]


def test_small_fetches_are_taken_together_as_far_as_there_is_room():
    small = TOGETHER_BYTES // 3
    assert turn(small, small, small - 1, small) == [0, 1, 2]
    assert turn() == []


def test_a_large_fetch_is_taken_alone_in_its_turn():
    assert turn(TOGETHER_BYTES, 1) == [0]
    assert turn(1, TOGETHER_BYTES, 1) == [0, 2]


def test_an_error_is_raised_alone_and_costs_nothing_that_is_taken():
    assert turn(KeyError(), 1) == [0]
    assert turn(1, KeyError(), 1) == [0, 2]


def test_a_partition_that_rests_waits_for_the_others():
    BATCH_TOPICS.rest(TOPIC, 0, 60)
    assert turn(1, 1, 1) == [1, 2]
    assert turn(1) == [0]
    BATCH_TOPICS.rest(TOPIC, 0, 0)


def test_only_a_poll_that_found_few_records_in_batches_is_followed_by_a_pause():
    few, many = Batch(TOPIC, 0, offsets=[1, 2]), Batch(TOPIC, 1, offsets=list(range(LITTLE_RECORDS - 2)))
    tp, other = TP(TOPIC, 0), TP(TOPIC, 1)
    assert _is_little({tp: Taken(1, 3, [few])})
    assert not _is_little({tp: Taken(1, 3, [few]), other: Taken(0, LITTLE_RECORDS - 2, [many])})
    assert not _is_little({tp: Taken(1, 3, ["a record of a changelog"])})
    assert not _is_little({})


URGENT, MADE, SLOW, SLOWER, CHANGELOG = "urgent", "made", "slow", "slower", "some-changelog"
BATCH_TOPICS.declare(URGENT)
BATCH_TOPICS.declare(MADE, gathered_seconds=0.04)
BATCH_TOPICS.declare(SLOW, gathered_seconds=0.05)
BATCH_TOPICS.declare(SLOWER, gathered_seconds=0.5)


class Clock:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Partition:
    """As much of aiokafka's state of a partition as a request looks at."""

    position: int = 0
    has_valid_position: bool = True
    paused: bool = False
    resume_fut: object = None


class Assigned:
    """Partitions of one broker, one of each topic."""

    def __init__(self, *topics: str) -> None:
        self.tps = [TP(topic, 0) for topic in topics]
        self.of = {tp: Partition() for tp in self.tps}

    def state_value(self, tp: TP) -> Partition:
        return self.of[tp]


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(fetching, "time", clock)
    return clock


@pytest.fixture
def fetcher(clock):
    """One that has asked nobody yet."""
    fetcher = Fetcher.__new__(Fetcher)
    cluster = SimpleNamespace(leader_for_partition=lambda _: 1)
    vars(fetcher).update(_client=SimpleNamespace(cluster=cluster), _records={}, _in_flight=set(), _preferred_read_replica={})
    vars(fetcher).update(_fetch_min_bytes=1, _fetch_max_bytes=1, _max_partition_fetch_bytes=1, _isolation_level=0, _client_rack="")
    vars(fetcher).update(_fetch_max_wait_ms=1, _fetcher_timeout=0.2, _found_at={}, _rates={}, _counted_at=clock.now)
    vars(fetcher).update(polled=None, _others_found_at=0.0)
    return fetcher


def asked(fetcher, assigned):
    """Topics that are asked for, how long the broker may wait, and when to look again, in ms."""
    requests, _, timeout, _, _ = fetcher._get_actions_per_node(assigned)
    topics = {topic for _, request in requests for topic, _ in request.topics}
    return topics, [request._max_wait_ms for _, request in requests], round(1000 * timeout)


def gathering(fetcher, assigned):
    """How long the broker may wait for how many bytes, of each request."""
    requests, *_ = fetcher._get_actions_per_node(assigned)
    return [(request._max_wait_ms, request._min_bytes) for _, request in requests]


def test_an_idle_worker_asks_for_everything_and_lets_the_broker_wait_long(fetcher):
    assert asked(fetcher, Assigned(URGENT, SLOW, SLOWER, CHANGELOG)) == ({URGENT, SLOW, SLOWER, CHANGELOG}, [FETCH_IDLE_WAIT_MS], 200)


def test_the_broker_waits_no_longer_than_a_moment_where_a_partition_is_left_out(fetcher):
    assigned = Assigned(URGENT, SLOW)
    assigned.of[TP(SLOW, 0)].paused = True
    assert asked(fetcher, assigned)[:2] == ({URGENT}, [FETCH_WAIT_MS])


def test_a_topic_that_gave_records_is_asked_for_again_when_the_time_it_is_gathered_for_is_over_and_others_at_once(fetcher, clock):
    assigned = Assigned(URGENT, SLOW, SLOWER, CHANGELOG)
    fetcher.found({TP(SLOW, 0): 1, TP(SLOWER, 0): 1})
    assert asked(fetcher, assigned) == ({URGENT, CHANGELOG}, [50], 50)
    clock.now += 0.02
    assert asked(fetcher, assigned) == ({URGENT, CHANGELOG}, [31], 30)
    clock.now += 0.04
    assert asked(fetcher, assigned)[:2] == ({URGENT, SLOW, CHANGELOG}, [440])
    clock.now += 0.45
    assert asked(fetcher, assigned)[:2] == ({URGENT, SLOW, SLOWER, CHANGELOG}, [FETCH_IDLE_WAIT_MS])


def test_the_broker_gathers_what_a_pass_makes_after_other_topics_gave_records_and_not_after_its_own(fetcher, clock):
    assigned = Assigned(URGENT, MADE)
    fetcher.found({TP(MADE, 0): 1})
    assert gathering(fetcher, assigned) == [(FETCH_IDLE_WAIT_MS, 1)]
    fetcher.found({TP(URGENT, 0): 1})
    assert gathering(fetcher, assigned) == [(41, GATHER_BYTES)]
    clock.now += 0.041
    assert gathering(fetcher, assigned) == [(FETCH_IDLE_WAIT_MS, 1)]


def test_in_a_busy_worker_nothing_is_gathered_by_the_broker(fetcher, clock):
    for _ in range(500):
        clock.now += 0.01
        fetcher.found({TP(MADE, 0): 30, TP(URGENT, 0): 1})
    assert gathering(fetcher, Assigned(URGENT, MADE)) == [(FETCH_IDLE_WAIT_MS, 1)]


def test_the_broker_waits_long_though_changelogs_that_nobody_takes_lie_fetched_and_briefly_for_what_is_about_to_be_taken(fetcher):
    assigned = Assigned(URGENT, SLOW, CHANGELOG)
    fetcher._records = {TP(CHANGELOG, 0): SimpleNamespace(calculate_backoff=lambda: 0)}
    fetcher.polled = {TP(URGENT, 0), TP(SLOW, 0)}
    assert asked(fetcher, assigned)[1] == [FETCH_ALL_WAIT_MS]
    for polled in ({TP(CHANGELOG, 0)}, None):
        fetcher.polled = polled
        assert asked(fetcher, assigned)[1] == [FETCH_WAIT_MS]


def test_a_worker_with_nothing_urgent_asks_for_nothing_while_it_gathers(fetcher):
    fetcher.found({TP(SLOW, 0): 1})
    assert asked(fetcher, Assigned(SLOW)) == (set(), [], 50)


@pytest.mark.parametrize(("rate", "gathers"), [(0.9, True), (1.1, False)])
def test_what_comes_in_numbers_is_not_gathered(fetcher, clock, rate, gathers):
    per_second = rate * GATHERED_RATE * 0.05
    for _ in range(500):
        clock.now += 0.02
        fetcher.found({TP(SLOW, 0): per_second * 0.02, TP(URGENT, 0): 10_000})
    assert (asked(fetcher, Assigned(SLOW))[0] == set()) is gathers


async def test_changelogs_are_taken_in_every_poll_however_much_comes_in_batches(monkeypatch):
    standby, ours = TP(CHANGELOG, 0), TP(URGENT, 0)
    waiting = OrderedDict({ours: Fetched(TOGETHER_BYTES), standby: None})
    took = []

    async def fetched_records(tps, timeout, max_records):  # noqa: ASYNC109  # aiokafka's signature
        took.append(tps)
        return {tp: [Batch(*tp, offsets=[1])] if tp is ours else ["a record"] for tp in tps}

    subscriptions = SimpleNamespace(fetch_context=nullcontext)
    of_consumer = SimpleNamespace(
        _records=waiting,
        _closed=False,
        _subscriptions=subscriptions,
        fetched_records=fetched_records,
        found=lambda _: None,
    )
    thread = ConsumerThread.__new__(ConsumerThread)
    thread.consumer = SimpleNamespace(flow_active=True)
    found = await thread._fetch_records(SimpleNamespace(_fetcher=of_consumer, _closed=False), {standby, ours}, 1.0, 100)
    assert took == [{ours}, {standby}]
    assert found.keys() == {ours, standby}
