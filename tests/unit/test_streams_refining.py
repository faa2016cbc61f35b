"""Messages of the city's topics made measurements of, without Kafka."""

import orjson
import polars as pl
from faust.types import TP

from agents.city.sensors import LIMITS
from agents.replays import repeated
from schemas.catalog import AIR, CITY_READINGS
from schemas.wire import encode
from streams import refining
from streams.batches import Batch
from streams.refining import Refining
from tables.city import PLACES
from tests.fakes.stream import Event, Kafka, Member, Message

NOW = 1_790_000_000_000
SCHEMA_ID = 7
TP0 = TP(AIR.topic, 0)


def arrived(refiner, first, *devices):
    """A batch of a message of each device, at the offset `first` and behind it."""
    said = {"tenant_id": "city", "source_protocol": "mqtt", "original_topic": "sensors/s/air", "data_type": "environment", "defect": ""}
    said |= {"ingestion_time": NOW, "processing_time": NOW, "metadata": {"qos": 1, "priority": "NORMAL", "gateway_node": "gw"}}
    data = orjson.dumps({"pm25": 10}).decode()
    rows = [said | {"device_id": device, "message_id": device, "data": data} for device in devices]
    values = encode(AIR.codec, SCHEMA_ID, pl.DataFrame(rows, AIR.codec.columns))
    offsets = [*range(first, first + len(devices))]
    batch = Batch(*TP0, [device.encode() for device in devices], values, [NOW] * len(devices), offsets)
    return [(refiner._of[AIR.topic], Event(Message(TP0, batch, 0), batch))]


async def test_messages_of_a_topic_that_was_made_anew_are_no_repeats_by_their_offsets(monkeypatch):
    ids = {AIR.topic: "as it was"}
    monkeypatch.setattr(refining, "topic_ids", lambda _servers, _topics: dict(ids))
    monkeypatch.setattr(refining, "look_back", lambda *_: iter(()))
    app = Member(Kafka({TP0: Batch(*TP0)}), known={SCHEMA_ID: AIR.codec})
    refiner = Refining(app, [AIR], lambda: LIMITS)
    await refiner.take(arrived(refiner, 0, "a", "b"))
    await refiner.take(arrived(refiner, 2, "c"))
    await refiner.take(arrived(refiner, 1, "b", "c"))  # read again after a rebalance
    ids[AIR.topic] = "as it is now"
    await refiner.take(arrived(refiner, 0, "d", "e"))
    await app.producer.take()
    made = pl.concat(app.producer.sent[CITY_READINGS.topic])
    assert made.filter(~repeated(PLACES, {}, made)[0])["device_id"].to_list() == ["a", "b", "c", "d", "e"]
