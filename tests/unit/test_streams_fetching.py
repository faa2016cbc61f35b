from faust.types import TP

from streams.batches import BATCH_TOPICS, Batch, OneBatch, Taken
from streams.fetching import LITTLE_RECORDS, TOGETHER_BYTES, _is_little, _turn

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
