"""The factory job on Quix Streams with its windows, in an environment of its own: nothing here imports Headrace.

Run as `python quix_job.py <job.json>`; the file gives kafka, group, topic, schema (Avro), limits per sensor type (minimum, maximum,
critical) and state_dir. Quix keeps state per message key, which is the device, so a window holds the statistics of each of its sensors.
Of three ways to say that this is the fastest: a window per sensor in a branch of its own reached about half its rate, `group_by` on device
and sensor less still (every record passes through a repartition topic first).
"""

import json
import sys
from pathlib import Path
from typing import Any

from quixstreams import Application
from quixstreams.models import Deserializer, SerializationContext
from quixstreams.models.serializers.avro import AvroDeserializer

Reading = dict[str, Any]
Stats = dict[str, list[float]]
"""By sensor type: count, sum, min, max."""


class FramedAvro(Deserializer):
    """Confluent-framed Avro: five bytes of frame, then the body under the one schema the topic carries."""

    def __init__(self, schema: dict[str, Any]) -> None:
        super().__init__()
        self._body = AvroDeserializer(schema=schema)

    def __call__(self, value: bytes, ctx: SerializationContext) -> Reading:
        """The record's fields."""
        return dict(self._body(value[5:], ctx))


def first(reading: Reading) -> Stats:
    """The window after its first reading."""
    value = reading["value"]
    return {reading["sensor_type"]: [1, value, value, value]}


def add(stats: Stats, reading: Reading) -> Stats:
    """The window after another reading."""
    value = reading["value"]
    if was := stats.get(reading["sensor_type"]):
        count, total, low, high = was
        stats[reading["sensor_type"]] = [count + 1, total + value, min(low, value), max(high, value)]
    else:
        stats |= first(reading)
    return stats


def main(path: Path) -> None:
    """Run until stopped."""
    job = json.loads(path.read_text())
    limits: dict[str, dict[str, float]] = job["limits"]
    app = Application(
        broker_address=job["kafka"],
        consumer_group=job["group"],
        auto_offset_reset="earliest",
        state_dir=job["state_dir"],
        loglevel="WARNING",
    )
    readings = app.topic(job["topic"], key_deserializer="str", value_deserializer=FramedAvro(job["schema"]))
    dead_letters = app.topic(f"{job['group']}-dead-letters", value_serializer="json")
    alerts = app.topic(f"{job['group']}-alerts", value_serializer="json")
    windows = app.topic(f"{job['group']}-windows", value_serializer="json")

    def valid(reading: Reading) -> bool:
        limit = limits[reading["sensor_type"]]
        return bool(limit["minimum"] <= reading["value"] <= limit["maximum"])

    def remarkable(reading: Reading) -> bool:
        limit = limits[reading["sensor_type"]]
        return not limit["minimum"] <= reading["value"] <= limit["critical"]

    def plain(reading: Reading) -> Reading:
        return {**reading, "timestamp": reading["timestamp"].isoformat()}

    frame = app.dataframe(readings)
    rare = frame.filter(remarkable).apply(plain)  # every branch of the main stream costs each record a copy, so there are only two
    rare.filter(lambda reading: not valid(reading)).to_topic(dead_letters)
    rare.filter(valid).to_topic(alerts)
    frame.filter(valid).tumbling_window(60_000).reduce(add, first).final().to_topic(windows)
    app.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
