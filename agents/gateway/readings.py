"""Factory devices publish JSON to `factory/<plant>/<device>/<sensor>`: messages to SensorReading columns, or a reject each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import polars as pl
import pyarrow as pa

from schemas.rejects import Reason, Reject

SUBSCRIPTION: Final = "factory/#"

MAX_DETAIL: Final = 200
"""Characters of a reject's detail: it may quote a field of any size."""

# Kafka takes records of up to a megabyte; the rest is room for an MQTT topic of 64 KB, twice, and for framing.
MAX_PAYLOAD_BYTES: Final = 800_000
# orjson reads integers of up to 64 bits without sign, Avro's long has one
_LONGEST: Final = 2**63 - 1


@dataclass(frozen=True)
class Mapped:
    """A batch of messages sorted out: every one is a row of `frame` (SensorReading's fields, in their order) or a reject."""

    frame: pl.DataFrame
    rejects: list[Reject]


class _Unusable(Exception):
    """A message that is no reading: its reason and what was found."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def map_readings(topics: Sequence[str], payloads: Sequence[bytes]) -> Mapped:
    """Read messages; total: no input raises. What the values mean (limits, known sensors, sane clocks) is judged downstream."""
    rows: list[tuple[str, str, float, int, str, str]] = []
    keys: list[str] = []
    values: list[str] = []
    offsets = [0]
    rejects = []
    for position, (topic, payload) in enumerate(zip(topics, payloads, strict=True)):
        try:
            row, metadata = _reading(topic, payload)
        except _Unusable as unusable:
            rejects.append(Reject(position, unusable.reason, unusable.detail[:MAX_DETAIL]))
            continue
        rows.append(row)
        keys += metadata.keys()
        values += metadata.values()
        offsets.append(len(keys))
    entries = pa.MapArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(keys, pa.string()), pa.array(values, pa.string()))
    frame = pl.DataFrame(
        rows,
        schema={
            "device_id": pl.String,
            "sensor_type": pl.String,
            "value": pl.Float64,
            "timestamp": pl.Int64,
            "location": pl.String,
            "plant": pl.String,
        },
        orient="row",
    )
    frame.insert_column(-1, pl.Series("metadata", pl.from_arrow(entries)))
    return Mapped(frame, rejects)


def _reading(topic: str, payload: bytes) -> tuple[tuple[str, str, float, int, str, str], dict[str, str]]:
    levels = topic.split("/")
    if len(levels) != 4 or not all(levels):
        raise _Unusable(Reason.UNMAPPED_TOPIC, f"MQTT topic {topic!r} is not factory/<plant>/<device>/<sensor>")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise _Unusable(Reason.TOO_LARGE, f"{len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} are read")
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise _Unusable(Reason.UNDECODABLE, f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise _Unusable(Reason.INCOMPATIBLE_SCHEMA, f"a JSON object is needed, not {type(document).__name__}")
    value = _field(document, "value", (float, int))
    timestamp = _field(document, "timestamp", (int,))
    if timestamp > _LONGEST:
        raise _Unusable(Reason.INCOMPATIBLE_SCHEMA, f"timestamp {timestamp} does not fit 64 bits")
    location = document.get("location", levels[1])
    if type(location) is not str:
        raise _Unusable(Reason.INCOMPATIBLE_SCHEMA, f"location is {location!r}, a string is needed")
    metadata = document.get("metadata", {})
    if type(metadata) is not dict or not all(type(entry) is str for entry in metadata.values()):
        raise _Unusable(Reason.INCOMPATIBLE_SCHEMA, f"metadata is {metadata!r}, an object of strings is needed")
    return (levels[2], levels[3], float(value), timestamp, location, levels[1]), metadata


def _field(document: dict[str, Any], name: str, types: tuple[type, ...]) -> Any:  # noqa: ANN401
    """A number that must be there; exact types, as a JSON true is an int to isinstance."""
    value = document.get(name)
    if value is None:
        raise _Unusable(Reason.NULL_FIELD, f"{name} is {'null' if name in document else 'missing'}")
    if type(value) not in types:
        raise _Unusable(Reason.INCOMPATIBLE_SCHEMA, f"{name} is {value!r}, a number is needed")
    return value
