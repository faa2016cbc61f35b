import asyncio

import pytest
from confluent_kafka import KafkaError

from streams.producer import DeliveryFailed, Producer
from tests.fakes.producer import Cluster

NOWHERE = "127.0.0.1:9"


async def test_kafka_is_silent_only_while_records_wait_for_it(capfd, caplog):
    producer = Producer(NOWHERE)
    assert producer.silent_seconds == 0
    await producer.send_batch("topic", [None], [b"value"])
    async with asyncio.timeout(20):
        # that an attempt to connect fails, each second, is no answer
        while not producer.silent_seconds > 3:  # noqa: ASYNC110, the clock sets no event
            await asyncio.sleep(0.01)
    # the watchdog tells of the absence, once; librdkafka would at each attempt
    assert (*capfd.readouterr(), [record for record in caplog.records if record.name == "streams.producer"]) == ("", "", [])
    await producer.close()
    assert producer.outstanding == producer.silent_seconds == 0


@pytest.mark.parametrize(
    ("code", "told"), [(KafkaError._UNKNOWN_TOPIC, ["a"]), (KafkaError.UNKNOWN_TOPIC_OR_PART, ["a"]), (KafkaError._FATAL, [])]
)
async def test_who_sends_is_told_of_a_topic_that_is_gone(monkeypatch, code, told):
    cluster, gone = Cluster(), []
    cluster.refused = {"a": code}
    monkeypatch.setattr("streams.producer.Librdkafka", cluster.producer)
    producer = Producer(NOWHERE, gone=gone.append)
    await producer.send_batch("a", [None], [b"value"])
    with pytest.raises(DeliveryFailed):
        await producer.flush()
    assert gone == told
    await producer.close()
