import asyncio

from streams.producer import Producer

NOWHERE = "127.0.0.1:9"


async def test_kafka_is_silent_only_while_records_wait_for_it():
    producer = Producer(NOWHERE)
    assert producer.silent_seconds == 0
    await producer.send_batch("topic", [None], [b"value"])
    async with asyncio.timeout(20):
        # that an attempt to connect fails, each second, is no answer
        while not producer.silent_seconds > 3:  # noqa: ASYNC110, the clock sets no event
            await asyncio.sleep(0.01)
    await producer.close()
    assert producer.outstanding == producer.silent_seconds == 0
