"""The factory job on stock Faust, one event a record: the peer the benchmark compares with, written as Faust's own documentation would.

Run as `faust -A bench.stock_faust worker`. Topics and changelog carry the app id as prefix. The windows follow the Kafka timestamp, which
is the event time. (`-L uvloop` made no difference.)
"""

import io
from typing import Any

import fastavro
import faust
from faust.serializers import codecs

from agents.factory.sensors import SENSORS
from schemas.catalog import READINGS
from streams.settings import settings

APP_ID = "bench-stock-faust"
ALERTS = f"{APP_ID}-alerts"
DEAD_LETTERS = f"{APP_ID}-dead-letters"


class ReadingCodec(codecs.Codec):
    """Confluent-framed Avro: five bytes of frame, then the body under the one schema the topic carries."""

    def _loads(self, s: bytes) -> object:
        return fastavro.schemaless_reader(io.BytesIO(s[5:]), READINGS.codec.parsed, None)


codecs.register("framed-avro", ReadingCodec())


class Reading(faust.Record, serializer="framed-avro"):
    """One measurement."""

    device_id: str
    sensor_type: str
    value: float
    timestamp: Any
    location: str
    metadata: dict[str, str]
    plant: str


class Alert(faust.Record, serializer="json"):
    """A reading above its sensor's critical limit."""

    device_id: str
    sensor_type: str
    value: float
    threshold: float


LIMITS = {sensor.sensor_type: sensor for sensor in SENSORS}

app = faust.App(
    APP_ID,
    broker=f"kafka://{settings().kafka}",
    store="memory://",
    topic_partitions=READINGS.partitions,
    consumer_auto_offset_reset="earliest",
)
readings = app.topic(READINGS.topic, key_type=bytes, value_type=Reading)
alerts = app.topic(ALERTS, key_type=bytes, value_type=Alert)
dead_letters = app.topic(DEAD_LETTERS, key_type=bytes, value_type=Reading, value_serializer="json")
windows = app.Table("windows", default=lambda: (0, 0.0, float("inf"), float("-inf"))).tumbling(60.0, expires=600.0)


@app.agent(readings)
async def watch(stream: faust.StreamT[Reading]) -> None:
    """Validate, alert, aggregate."""
    async for key, reading in stream.items():
        limit = LIMITS[reading.sensor_type]
        if not limit.minimum <= reading.value <= limit.maximum:
            await dead_letters.send(key=key, value=reading.asdict())
            continue
        if reading.value > limit.critical:
            await alerts.send(key=key, value=Alert(reading.device_id, reading.sensor_type, reading.value, limit.critical))
        pane = f"{reading.device_id}:{reading.sensor_type}"
        count, total, low, high = windows[pane].current()
        windows[pane] = (count + 1, total + reading.value, min(low, reading.value), max(high, reading.value))
