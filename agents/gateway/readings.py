"""Factory devices publish to `factory/<plant>/<device>/<sensor>`, in JSON, Protobuf or Avro: SensorReading columns, or a reject each."""

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Final, Protocol

import polars as pl

from agents.devices.device_id import fault
from agents.gateway.formats import FORMATS, format_of
from schemas import json_wire, protobuf_wire, wire
from schemas.bounds import DETAIL_LETTERS, PAYLOAD_BYTES, TOPIC_CHARACTERS
from schemas.catalog import READINGS
from schemas.codec import Codec
from schemas.quoting import brief, quoted
from schemas.rejects import Reason, Reject

DOMAIN: Final = "factory/"
"""What their MQTT topics begin with."""


class Message(Protocol):
    """What a device published; a `streams.subscription.Arrival` is one. `content_type`: of MQTT 5, empty where there is none."""

    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def payload(self) -> bytes: ...  # noqa: D102
    @property
    def content_type(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Mapped:
    """A batch of messages sorted out: every one is a row of `frame` (SensorReading's fields, and `row`), a reject, or waits."""

    frame: pl.DataFrame
    rejects: list[Reject]
    waiting: list[int]
    """Rows of the messages whose schema is not known yet."""
    unknown: frozenset[int]
    """Those schemas' ids."""


# The topic says whose a reading is, so the payload need not.
_LEVELS: Final = ("plant", "device_id", "sensor_type")


def map_readings(messages: Sequence[Message], writers: Mapping[int, Codec], missing: Set[int] = frozenset()) -> Mapped:
    """Read messages; total: no input raises. What the values mean (limits, known sensors, sane clocks) is judged downstream.

    `writers` are the schemas of Avro known by id, `missing` the ids the registry does not have.
    """
    rejects: list[Reject] = []
    alike: dict[str, list[int]] = defaultdict(list)
    for row, message in enumerate(messages):
        name = format_of(message.content_type)
        if problem := _problem(message, name):
            rejects.append(Reject(row, *problem))
        else:
            alike[name].append(row)
    frames, unknown = [], frozenset[int]()
    for name, rows in alike.items():
        decoded = _decode(name, [messages[row].payload for row in rows], writers, missing)
        frames.append(decoded.frame.with_columns(pl.Series("row", rows, pl.UInt32).gather(decoded.frame["row"])))
        rejects += [replace(reject, row=rows[reject.row]) for reject in decoded.rejects]
        unknown |= decoded.unknown
    frame, elsewhere = _placed(_together(frames), messages)
    rejects = [replace(reject, detail=brief(reject.detail, DETAIL_LETTERS)) for reject in [*rejects, *elsewhere]]
    settled = {*frame["row"], *(reject.row for reject in rejects)}
    waiting = [row for row in range(len(messages)) if row not in settled]
    return Mapped(frame, sorted(rejects, key=lambda reject: reject.row), waiting, unknown)


def _together(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Readings of several formats, in the order of their messages."""
    if len(frames) == 1:
        return frames[0]
    return pl.concat([pl.DataFrame(schema={"row": pl.UInt32, **(READINGS.codec.columns or {})}), *frames]).sort("row")


def _problem(message: Message, name: str) -> tuple[Reason, str] | None:
    """Why a message is not even looked into."""
    if len(message.topic) > TOPIC_CHARACTERS:
        return Reason.UNMAPPED_TOPIC, f"MQTT topic of {len(message.topic)} characters, at most {TOPIC_CHARACTERS} are read"
    levels = message.topic.split("/")
    if len(levels) != 4 or not all(levels):
        return Reason.UNMAPPED_TOPIC, f"MQTT topic {quoted(message.topic)} is not factory/<plant>/<device>/<sensor>"
    if wrong := fault(levels[2]):
        return Reason.BAD_DEVICE_ID, wrong
    if len(message.payload) > PAYLOAD_BYTES:
        return Reason.TOO_LARGE, f"{len(message.payload)} bytes, at most {PAYLOAD_BYTES} are read"
    if not name:
        return Reason.UNKNOWN_FORMAT, f"content type {quoted(message.content_type)}; read are {', '.join(filter(None, FORMATS))}"
    return None


def _decode(name: str, payloads: list[bytes], writers: Mapping[int, Codec], missing: Set[int]) -> wire.Decoded:
    match name:
        case "Avro":
            return wire.decode(payloads, READINGS.codec, writers, missing)
        case "Protobuf":
            return protobuf_wire.decode(payloads, READINGS.codec, frozenset(_LEVELS))
        case _:
            return json_wire.decode(payloads, READINGS.codec, frozenset(_LEVELS))


def _placed(readings: pl.DataFrame, messages: Sequence[Message]) -> tuple[pl.DataFrame, list[Reject]]:
    """Readings with what their topic says where they leave it out, and a reject for each that says otherwise."""
    topics = pl.Series([messages[row].topic for row in readings["row"]], dtype=pl.String)
    levels = topics.str.split_exact("/", 3).struct.rename_fields(["", *map(_level, _LEVELS)]).struct.unnest()
    placed, rejects = readings.hstack(levels), []
    astray = placed.select_seq(_IS_ASTRAY).to_series()
    if astray.any():
        said = (pl.when(pl.col(name) != "").then(pl.format(f"{name} {{}}", name)).alias(name) for name in _LEVELS)
        for row, *names in placed.filter(astray).select("row", *said).iter_rows():
            rejects.append(Reject(row, Reason.WRONG_TOPIC, f"{', '.join(filter(None, names))} on {quoted(messages[row].topic)}"))
        placed = placed.filter(~astray)
    return placed.select_seq(_AS_PLACED.get(name, pl.col(name)) for name in readings.columns), rejects


def _level(name: str) -> str:
    """Column of what the topic says."""
    return f"{name} by topic"


_IS_ASTRAY: Final = pl.any_horizontal((pl.col(name) != "") & (pl.col(name) != pl.col(_level(name))) for name in _LEVELS).fill_null(
    value=False
)
_AS_PLACED: Final = {
    **{name: pl.col(_level(name)).alias(name) for name in _LEVELS},
    "location": pl.when(pl.col("location") == "").then(_level("plant")).otherwise("location").alias("location"),
}
