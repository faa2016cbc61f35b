"""What a message costs the gateway in each format: `python -m bench.formats`. The best of some runs, without MQTT and Kafka."""

import timeit
from typing import Final

import polars as pl
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agents.gateway.readings import map_readings
from bench.mqtt_load import packed
from deploy.simulate.mqtt_sink import CONTENT_TYPES
from schemas import json_wire, protobuf_wire, wire
from schemas.catalog import READINGS
from streams.bulk_mqtt import Arrival

BATCHES: Final = (20, 200, 2000)
"""Messages; the last is what a gateway has under way at most."""
SCHEMA_ID: Final = 1
REPETITIONS: Final = 15


def arrivals(name: str, count: int) -> list[Arrival]:
    """Messages of as many readings in a format, each with a production line and a shift."""
    labels = {"production_line": "line-1", "shift": "early"}
    row = {
        "device_id": "plant-1.press-0001",
        "sensor_type": "temperature",
        "location": "plant-1/hall-1",
        "metadata": labels,
        "plant": "plant-1",
    }
    rows = [{**row, "value": 20 + number / 7, "timestamp": 1_760_000_000_000 + number} for number in range(count)]
    frame = pl.DataFrame(rows, READINGS.codec.columns)
    payloads = {
        "json": lambda: json_wire.encode(frame.select("value", "timestamp", "location", "metadata")),
        "protobuf": lambda: protobuf_wire.encode(READINGS.codec, frame),
        "avro": lambda: wire.encode(READINGS.codec, SCHEMA_ID, frame),
    }[name]()
    topic = "factory/plant-1/plant-1.press-0001/temperature"
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ContentType = CONTENT_TYPES[name]
    return [Arrival(1, number, 1, topic, payload, packed(properties)) for number, payload in enumerate(payloads)]


def main() -> None:
    """Print microseconds a message, by format and size of the batch."""
    for name in CONTENT_TYPES:
        for count in BATCHES:
            messages = arrivals(name, count)
            assert map_readings(messages, {SCHEMA_ID: READINGS.codec}).frame.height == count
            spent = timeit.repeat(
                lambda messages=messages: map_readings(messages, {SCHEMA_ID: READINGS.codec}), number=3, repeat=REPETITIONS
            )
            print(f"{name:>8}  {count:>5} messages of {len(messages[0].payload)} bytes  {min(spent) / 3 / count * 1e6:6.1f} µs a message")


if __name__ == "__main__":
    main()
