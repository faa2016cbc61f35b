import struct

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c_py
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.batches import BATCH_TOPICS, MAX_RECORDS, Batch, BatchRecords, BatchTopics, OneBatch

TOPIC = "in-batches"
OTHER = "record-by-record"
PRODUCER = 7
ABORT, COMMIT = b"\x00\x00\x00\x00", b"\x00\x00\x00\x01"
SNAPPY = 2

# Layout of a Kafka record batch, magic 2: where each field starts.
CRC, ATTRIBUTES, LAST_OFFSET_DELTA = 17, 21, 23
CONTROL = 0x20


@pytest.fixture(autouse=True, scope="module")
def _declared():
    BATCH_TOPICS.declare(TOPIC)


def kafka_batch(first, offsets, *, last=None, transactional=False, marker=None, compression=0):
    """The bytes of a record batch that starts at offset `first` and ends at `last`, with what compaction left between them."""
    producer = PRODUCER if transactional else -1
    builder = DefaultRecordBatchBuilder(2, compression, transactional, producer, 0, 0, 1 << 20)
    for offset in offsets:
        builder.append(offset - first, 1_000 + offset, marker or b"key-%d" % offset, b"value-%d" % offset, [])
    content = bytearray(builder.build())
    struct.pack_into(">q", content, 0, first)
    if last is not None:
        struct.pack_into(">i", content, LAST_OFFSET_DELTA, last - first)
    if marker is not None:
        (attributes,) = struct.unpack_from(">h", content, ATTRIBUTES)
        struct.pack_into(">h", content, ATTRIBUTES, attributes | CONTROL)
    struct.pack_into(">I", content, CRC, calc_crc32c_py(bytes(content[ATTRIBUTES:])))
    return bytes(content)


def unpack(log, *, start=0, topic=TOPIC, aborted=(), isolation=READ_UNCOMMITTED):
    return BatchRecords(TopicPartition(topic, 0), MemoryRecords(log), list(aborted), start, None, None, True, isolation)


def numbered(count):
    """A batch of offsets 0 to `count`."""
    offsets = range(count)
    return Batch(TOPIC, 0, [b"k%d" % n for n in offsets], [b"v%d" % n for n in offsets], list(offsets), list(offsets))


def test_what_a_fetch_holds_is_one_batch_of_columns():
    (batch,) = unpack(kafka_batch(0, [0, 1]) + kafka_batch(2, [2], compression=SNAPPY))
    assert (batch.topic, batch.partition, len(batch), batch.offsets[0], batch.last) == (TOPIC, 0, 3, 0, 2)
    assert batch.keys == [b"key-0", b"key-1", b"key-2"]
    assert batch.values == [b"value-0", b"value-1", b"value-2"]
    assert batch.timestamps == [1_000, 1_001, 1_002]


def test_a_topic_that_was_not_declared_comes_record_by_record():
    assert [record.value for record in unpack(kafka_batch(0, [0, 1]), topic=OTHER)] == [b"value-0", b"value-1"]


def test_records_below_the_position_are_left_out_of_a_batch_that_kafka_sends_whole():
    (batch,) = unpack(kafka_batch(0, [0, 1, 2, 3]), start=2)
    assert batch.offsets == [2, 3]


def test_the_gaps_compaction_left_are_skipped_and_the_position_goes_past_the_last():
    records = unpack(kafka_batch(5, [6, 9], last=12) + kafka_batch(13, [14]))
    (batch,) = records
    assert batch.offsets == [6, 9, 14]
    assert records.next_fetch_offset == 15


def test_a_kafka_batch_that_compaction_emptied_is_skipped_and_the_position_goes_past_it():
    records = unpack(kafka_batch(0, [0]) + kafka_batch(1, [], last=4) + kafka_batch(5, [5]))
    (batch,) = records
    assert batch.offsets == [0, 5]
    nothing = unpack(kafka_batch(0, [], last=9))
    assert list(nothing) == []
    assert nothing.next_fetch_offset == 10


def test_markers_of_transactions_are_skipped_and_the_position_goes_past_them():
    records = unpack(kafka_batch(0, [0], transactional=True) + kafka_batch(1, [1], transactional=True, marker=COMMIT))
    (batch,) = records
    assert batch.offsets == [0]
    assert records.next_fetch_offset == 2


def test_an_aborted_transaction_is_read_unless_only_committed_records_are_wanted():
    log = (
        kafka_batch(0, [0], transactional=True)
        + kafka_batch(1, [1])
        + kafka_batch(2, [2], transactional=True, marker=ABORT)
        + kafka_batch(3, [3], transactional=True)
    )
    (everything,) = unpack(log, aborted=[(PRODUCER, 0)])
    (committed,) = unpack(log, aborted=[(PRODUCER, 0)], isolation=READ_COMMITTED)
    assert (everything.offsets, committed.offsets) == ([0, 1, 3], [1, 3])


def test_what_precedes_a_corrupt_kafka_batch_is_delivered_and_the_position_stays_before_it():
    damaged = bytearray(kafka_batch(2, [2, 3]))
    damaged[-1] ^= 0xFF
    records = unpack(kafka_batch(0, [0, 1]) + bytes(damaged))
    assert next(records).offsets == [0, 1]
    assert records.next_fetch_offset == 2
    with pytest.raises(CorruptRecordException):
        next(records)


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    limit=st.integers(1, 40),
    position=st.integers(0, 29),
)
def test_batches_hold_every_record_from_the_position_on_once_in_order_and_no_more_than_the_limit(sizes, limit, position):
    BATCH_TOPICS.pace(TOPIC, 0, limit)
    log, end = b"", 0
    for size in sizes:
        log += kafka_batch(end, range(end, end + size))
        end += size
    start = position % sizes[0]  # Kafka sends from the batch that holds the position on
    records, offsets = unpack(log, start=start), []
    for batch in records:
        assert 0 < len(batch) <= limit
        offsets += batch.offsets
        assert records.next_fetch_offset > batch.last  # a rebalance now would lose nothing and repeat nothing
    assert offsets == list(range(start, end))
    BATCH_TOPICS.pace(TOPIC, 0, MAX_RECORDS)


@given(count=st.integers(1, 50), at=st.integers(0, 60))
def test_a_split_batch_is_the_batch(count, at):
    whole = numbered(count)
    head, rest = whole.split(at)
    assert len(head) == min(at, count)
    for column in ("keys", "values", "timestamps", "offsets"):
        assert [*getattr(head, column), *getattr(rest, column)] == getattr(whole, column)
    assert {(part.topic, part.partition) for part in (head, rest)} == {(TOPIC, 0)}


@given(count=st.integers(0, 50), rows=st.sets(st.integers(0, 60)))
def test_a_batch_without_some_records_has_the_others_in_order(count, rows):
    whole = numbered(count)
    rest = whole.without(rows)
    for column in ("keys", "values", "timestamps", "offsets"):
        assert getattr(rest, column) == [cell for row, cell in enumerate(getattr(whole, column)) if row not in rows]
    assert (rest.topic, rest.partition) == (TOPIC, 0)


def test_a_partition_is_paced_on_its_own_between_one_record_and_the_bound():
    topics = BatchTopics()
    for partition, records in enumerate([0, 50, 10**9]):
        topics.pace(TOPIC, partition, records)
    assert [topics.limit(TOPIC, partition) for partition in range(4)] == [1, 50, MAX_RECORDS, MAX_RECORDS]


def test_a_partition_lets_others_go_first_until_its_rest_is_over():
    topics = BatchTopics()
    topics.rest(TOPIC, 0, 3_600)
    topics.rest(TOPIC, 1, -1)
    assert [topics.rests(TOPIC, partition) for partition in range(3)] == [True, False, False]


def test_only_declared_topics_come_in_batches():
    topics = BatchTopics()
    topics.declare(TOPIC)
    assert TOPIC in topics
    assert OTHER not in topics


class Assignment:
    """Of one partition, which is read from offset 0 on."""

    active, paused, position = True, False, 0

    def state_value(self, _):
        return self

    def consumed_to(self, position):
        self.position = position


def taken(log, assignment, *, most=None, topic=OTHER):
    """Start, end and offsets of each take of a fetch from the assignment's position."""
    fetched = OneBatch(
        TopicPartition(topic, 0), assignment=assignment, partition_records=unpack(log, start=assignment.position, topic=topic), backoff=0
    )
    takes = []
    while fetched.has_more():
        take = fetched.getall(most)
        takes.append((take.start, take.end, [record.offset for record in take]))
    return [take for take in takes if take[2]]


def test_each_take_joins_on_to_the_one_before():
    log, assignment = kafka_batch(0, [0, 1, 2]), Assignment()
    assert taken(log, assignment, most=2) == [(0, 2, [0, 1]), (2, 3, [2])]
    assert taken(kafka_batch(3, [3]), assignment) == [(3, 4, [3])]


def test_offsets_of_which_compaction_left_nothing_belong_to_the_take_they_end_or_come_before():
    assignment = Assignment()
    assert taken(kafka_batch(0, [0, 1], last=4), assignment) == [(0, 5, [0, 1])]
    assert taken(kafka_batch(5, [], last=8), assignment) == []
    assert taken(kafka_batch(9, [9]), assignment) == [(5, 10, [9])]


def test_what_compaction_left_nothing_of_is_no_bridge_over_what_was_not_taken():
    assignment = Assignment()
    assert taken(kafka_batch(0, [], last=3), assignment) == []
    assignment.position = 6  # sought
    assert taken(kafka_batch(6, [6]), assignment) == [(6, 7, [6])]
