import asyncio
import time
from collections import defaultdict

import pytest
from aiokafka.partitioner import murmur2
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from streams.producer import DeliveryFailed, Producer
from tests.integration.line import PATIENCE

PARTITIONS = 4


@pytest.fixture
def topic(stack, request):
    admin = AdminClient({"bootstrap.servers": stack.settings.kafka})
    admin.create_topics([NewTopic(request.node.name, PARTITIONS, 1)])[request.node.name].result()
    return request.node.name


@pytest.fixture
async def producer(stack):
    producer = Producer(stack.settings.kafka)
    yield producer
    await producer.close()


def read(stack, topic):
    """All records of a topic: (partition, timestamp, key, value)."""
    consumer = Consumer({"bootstrap.servers": stack.settings.kafka, "group.id": "test"})
    partitions = [TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)]
    expected = sum(consumer.get_watermark_offsets(partition, timeout=10)[1] for partition in partitions)
    consumer.assign(partitions)
    records = []
    while len(records) < expected:
        for message in consumer.consume(10_000, timeout=0.2):
            assert message.error() is None
            records.append((message.partition(), message.timestamp()[1], message.key(), message.value()))
    consumer.close()
    return records


async def test_batches_arrive_in_order_with_their_timestamps_in_the_partition_java_would_choose(stack, topic, producer):
    keys = [b"plant-%d.press-%04d" % (n % 5, n) for n in range(1000)]
    start = int(time.time() * 1000) - 3_600_000
    await producer.send_batch(topic, keys, [b"%d" % n for n in range(1000)], timestamps=[start + n for n in range(1000)])
    await producer.flush()
    records = read(stack, topic)
    assert sorted((int(value), time, key) for _, time, key, value in records) == [(n, start + n, keys[n]) for n in range(1000)]
    # aiokafka's port of Java's hash, by which Faust places keys
    assert all(partition == (murmur2(key) & 0x7FFFFFFF) % PARTITIONS for partition, _, key, _ in records)


async def test_a_chosen_partition_is_kept_and_null_keys_and_values_pass(stack, topic, producer):
    await producer.send_batch(topic, [None, b"", b"k"], [None, b"", b"v"], partition=2)
    await producer.flush()
    assert [(p, k, v) for p, _, k, v in read(stack, topic)] == [(2, None, None), (2, b"", b""), (2, b"k", b"v")]


async def test_a_single_send_gives_the_delivered_message(topic, producer):
    delivered = await producer.send(topic, b"k", b"v", partition=1, timestamp=1_700_000_000_000, headers=[("kind", b"test")])
    message = await delivered
    assert (message.partition(), message.offset(), message.timestamp()[1]) == (1, 0, 1_700_000_000_000)


async def test_a_full_queue_makes_senders_wait_and_drops_nothing(stack, topic):
    producer = Producer(stack.settings.kafka, queue_records=500)
    await asyncio.gather(*(producer.send_batch(topic, [b"%d" % task] * 5000, [b"%d" % n for n in range(5000)]) for task in range(4)))
    await producer.flush()
    await producer.close()
    by_task = defaultdict(list)
    for _, _, key, value in read(stack, topic):
        by_task[key].append(int(value))
    assert by_task == {b"%d" % task: list(range(5000)) for task in range(4)}


async def test_flush_waits_for_what_was_queued_before_it_and_not_for_what_comes_after(topic, producer):
    flooding = True

    async def flood():
        while flooding:
            await producer.send_batch(topic, [None] * 1000, [b"later"] * 1000)
            await asyncio.sleep(0)

    await producer.send_batch(topic, [None], [b"before"])
    others = asyncio.create_task(flood())
    async with asyncio.timeout(PATIENCE):
        await producer.flush()
    flooding = False
    await others
    await producer.flush()


async def test_a_record_that_is_too_large_fails_every_flush_and_the_others_are_delivered(stack, topic, producer):
    await producer.send_batch(topic, [None] * 3, [b"a", b"x" * 2_000_000, b"b"], partition=0)
    for _ in range(2):
        with pytest.raises(DeliveryFailed, match="1 records not delivered"):
            await producer.flush()
    refused = await producer.send(topic, None, b"x" * 2_000_000)
    with pytest.raises(DeliveryFailed):
        await refused
    assert [value for *_, value in read(stack, topic)] == [b"a", b"b"]


async def test_a_topic_that_does_not_exist_fails_the_flush(stack):
    producer = Producer(stack.settings.kafka, delivery_seconds=2)
    await producer.send_batch("no-such-topic", [b"k"] * 3, [b"v"] * 3)
    with pytest.raises(DeliveryFailed) as failed:
        await producer.flush()
    assert (failed.value.topic, failed.value.count) == ("no-such-topic", 3)
    await producer.close()


async def test_closing_drops_what_no_broker_takes_and_returns():
    producer = Producer("127.0.0.1:9")
    delivered = await producer.send("anywhere", None, b"v")
    await producer.close()
    with pytest.raises(DeliveryFailed):
        await delivered


async def test_a_broker_killed_in_mid_stream_loses_doubles_and_reorders_nothing(stack, topic):
    producer = Producer(stack.settings.kafka, queue_records=2000)

    async def load(task):
        for batch in range(150):
            await producer.send_batch(topic, [b"%d" % task] * 100, [b"%d" % n for n in range(batch * 100, batch * 100 + 100)])
            await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(load(task)) for task in range(6)]
    await asyncio.sleep(1)
    await asyncio.to_thread(stack.kafka.kill)
    await asyncio.sleep(2)
    stack.kafka.start()
    await asyncio.to_thread(stack.kafka.wait)
    await asyncio.gather(*tasks)
    await producer.flush()
    await producer.close()
    by_task = defaultdict(list)
    for _, _, key, value in read(stack, topic):
        by_task[key].append(int(value))
    assert by_task == {b"%d" % task: list(range(15_000)) for task in range(6)}
