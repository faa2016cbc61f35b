"""A worker with a batch agent and an ordinary agent beside it; what they are to do stands in the records they read."""

import asyncio

from schemas.catalog import Contract
from streams.assembly import App
from streams.batches import BATCH_TOPICS

PARTITIONS = 4
BATCHES = Contract(topic="transport.batches", key=None, partitions=PARTITIONS, retention_hours=1, sink="")
ECHO, ORDERS, SUMS = "transport.echo", "transport.orders", "transport.sums"
SUMS_CHANGELOG = "transport-sums-changelog"

HOLD = b"hold this batch for ever"
FAIL = b"fail on this batch"
LATER = b"acknowledge this batch after the broker was killed"
FLICKER = b"pause and resume all partitions again and again"

app = App("transport", web_port=6066)
orders = app.topic(ORDERS, key_type=bytes, value_type=bytes)
results = app.topic(SUMS, key_type=bytes, value_type=bytes)
# Behind the slashes anything: without it the URL is false, and Faust takes the app's store.
sums = app.Table("sums", default=int, partitions=PARTITIONS, key_type=bytes, value_type=int, store="memory://sums")

for partition in range(PARTITIONS):
    BATCH_TOPICS.pace(BATCHES.topic, partition, 100)  # many batches of few records


@app.agent(app.batch_topic(BATCHES))
async def echo(stream):
    async for event in stream.noack().events():
        batch = event.value
        await app.bulk.send_batch(ECHO, batch.keys, batch.values, partition=batch.partition)
        if FLICKER in batch.values:
            app.add_future(flicker())
        if FAIL in batch.values:
            raise ValueError(FAIL.decode())
        if LATER in batch.values:
            await asyncio.sleep(5)
            app.log.info("acknowledged after the broker was killed")
        if HOLD not in batch.values:
            event.ack()


@app.agent(orders)
async def add(stream):
    async for event in stream.events():
        sums[event.key] += int(event.value)
        await results.send(key=event.key, value=b"%d" % sums[event.key])


async def flicker():
    for _ in range(40):
        partitions = {tp for tp in app.consumer.assignment() if tp.topic in (BATCHES.topic, ORDERS)}
        app.consumer.pause_partitions(partitions)
        await asyncio.sleep(0.03)
        app.consumer.resume_partitions(partitions)
        await asyncio.sleep(0.03)
