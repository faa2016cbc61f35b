"""Devices' messages to measurements: envelopes in, a row for each measurement out, and a reject for each message without.

What becomes of a message depends on it alone: on its envelope, its offset, and the sensor types that were known when Kafka took it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from agents.city.guidelines import IN_DISTRICTS, energy
from agents.city.kinds import KINDS
from agents.city.sensors import YES_OR_NO
from agents.gateway.times import whole
from agents.limits import NUMBERS, Limits
from agents.sieve import AHEAD_MS, EARLIEST_MS
from schemas import json_text
from schemas.bounds import DETAIL_LETTERS, DISTRICT_BYTES
from schemas.quoting import brief, kind, quoted
from schemas.rejects import Reason, Reject

RAW: Final = "raw"
"""Data type of a message that the gateway could not decode."""
NUMBERLESS: Final = frozenset({"timestamp", "sequence", "is_historical"})
"""Numbers that are no measurements."""
POSITION_BITS: Final = 16
"""Of a position, for the measurement's number in its message."""
_SAYS: Final = ("data", "data_type", "defect", "original_topic", "ingestion_time", "arrival")
_BARE: Final = frozenset({int, float, bool, str})
"""A payload that is a value by itself is the value named by the last level of its topic."""
WORDS: Final = {"on": True, "off": False, "true": True, "false": False}
"""Words by which devices publish a yes or no by itself."""
_NUMBERS: Final = frozenset({int, float, bool})
_QUOTE: Final = "'"
_PARTS: Final = {"row": pl.UInt32, "sensor_type": pl.String, "value": pl.Float64}
_SAID: Final = {"row": pl.UInt32, "timestamp": pl.Int64, "district": pl.String, "historical": pl.Boolean}


@dataclass(frozen=True)
class Refined:
    """What the messages of a batch are."""

    readings: pl.DataFrame
    """Columns of city.readings and `row`, in the order of the log."""
    districts: pl.DataFrame
    """Columns of city.districts and `row`: of those that say where they are, what districts are judged by."""
    rejects: list[Reject]


class Unfit(Exception):
    """A message is not as it has to be: a Reason, and what was found."""


def refine(envelopes: pl.DataFrame, limits: Limits) -> Refined:
    """Decoded envelopes, with `row`, `origin`, `offset` and `arrival` (Kafka timestamp, ms), to measurements.

    Total: no message raises. `limits` are those of the city's sensor types.
    """
    said, parts, rejects = _read(envelopes)
    messages = envelopes.join(said, on="row", maintain_order="left")
    found = _derived(messages, pl.DataFrame(parts, _PARTS, orient="row")).join(messages, on="row", maintain_order="left")
    known = limits.when_taken(found).filter(pl.col("critical").is_not_null())
    number = pl.int_range(pl.len()).over("row")
    known = known.with_columns((pl.col("offset") * (1 << POSITION_BITS) + number).alias("position"))
    empty = messages.join(known, on="row", how="anti").select("row", "data", "original_topic")
    rejects += [Reject(row, *_nothing(text, topic)) for row, text, topic in empty.iter_rows()]
    return Refined(known.select("row", *_READING), _of_districts(known), sorted(rejects, key=lambda reject: reject.row))


_READING: Final = (
    *("device_id", "sensor_type", "value", "timestamp", "district"),
    *("data_type", "tenant_id", "message_id", "origin", "position", "historical"),
)


def _read(envelopes: pl.DataFrame) -> tuple[pl.DataFrame, list[tuple[int, str, float]], list[Reject]]:
    """When and where each message is of, its numbers by name, and the rejects."""
    said: list[tuple[int, int, str, bool]] = []
    parts: list[tuple[int, str, float]] = []
    rejects: list[Reject] = []
    # A loop over records: their JSON has no common shape, operators' device types have any.
    for row, *message in envelopes.select("row", *_SAYS).iter_rows():
        try:
            at, district, historical, numbers = _message(*message)
        except Unfit as unfit:
            reason, detail = unfit.args
            rejects.append(Reject(row, reason, brief(detail, DETAIL_LETTERS)))
            continue
        said.append((row, at, district, historical))
        parts += [(row, name, value) for name, value in numbers]
    return pl.DataFrame(said, _SAID, orient="row"), parts, rejects


def _message(
    text: str, data_type: str, defect: str, topic: str, ingestion_time: int, arrival: int
) -> tuple[int, str, bool, Sequence[tuple[str, float]]]:
    """Event time, district, whether it is of the past, and numbers of one message. Raises Unfit."""
    if data_type == RAW:
        raise Unfit(Reason.UNKNOWN_FORMAT, f"the gateway could not decode the payload: {defect}")
    try:
        document = json_text.loads(text)
    except ValueError as error:
        raise Unfit(Reason.UNDECODABLE, f"data is not JSON: {error}") from error
    if type(document) in _BARE:
        name = topic.rpartition("/")[2]
        document = {name: WORDS.get(document.lower(), document) if type(document) is str and name in YES_OR_NO else document}
    if type(document) is not dict:
        raise Unfit(Reason.UNDECODABLE, f"data is {kind(document)}, not an object: {quoted(document)}")
    if "value" in document:
        # A message of one measurement is named after it: sensors/<device>/temperature.
        document.setdefault(topic.rpartition("/")[2], document.pop("value"))
    if data_type in KINDS:
        for name in sorted(KINDS[data_type].members & document.keys()):
            if type(document[name]) not in _NUMBERS and document[name] is not None:
                raise Unfit(Reason.UNDECODABLE, f"{name} is {kind(document[name])}, not a number: {quoted(document[name])}")
    said = document.get("timestamp", ingestion_time)
    at = whole(said)
    if at is None or not EARLIEST_MS <= at <= arrival + AHEAD_MS:
        raise Unfit(Reason.BAD_TIMESTAMP, f"timestamp is {quoted(said).strip(_QUOTE)}, arrived at {arrival}")
    district = document.get("district", "")
    if type(district) is not str:
        raise Unfit(Reason.UNDECODABLE, f"district is {kind(district)}, not a text: {quoted(district)}")
    if len(district.encode()) > DISTRICT_BYTES:
        raise Unfit(Reason.TOO_LARGE, f"district is {quoted(district)}, at most {DISTRICT_BYTES} bytes are taken")
    numbers = [(name, float(value)) for name, value in document.items() if type(value) in _NUMBERS and name not in NUMBERLESS]
    return at, district, document.get("is_historical") is True, numbers


def _nothing(text: str, topic: str) -> tuple[Reason, str]:
    """Why a message has no measurement."""
    if text.lstrip().startswith("{"):
        return Reason.UNKNOWN_SENSOR, brief(f"no sensor type is a member of {text}", DETAIL_LETTERS)
    name = topic.rpartition("/")[2]
    return Reason.UNDECODABLE, f"data is {kind(json_text.loads(text))}, not an object, and {quoted(name)} is no sensor type"


def _derived(messages: pl.DataFrame, parts: pl.DataFrame) -> pl.DataFrame:
    """The numbers of messages, and what is computed of them behind each message's own."""
    found = [parts]
    for data_type in messages["data_type"].unique():
        if data_type in KINDS and (derived := KINDS[data_type].derived):
            of_kind = parts.join(messages.filter(data_type=data_type).select("row"), on="row", how="semi", maintain_order="left")
            made = of_kind.group_by("row").agg(**{name: value.cast(pl.Float64) for name, value in derived.items()})
            found.append(made.unpivot(index="row", variable_name="sensor_type", value_name="value").drop_nulls())
    return pl.concat(found).sort("row", maintain_order=True) if len(found) > 1 else parts


def _of_districts(known: pl.DataFrame) -> pl.DataFrame:
    """What a district is judged by, of sound measurements only: what is wrong with the others is told of city.readings."""
    minimum, maximum, *_ = map(pl.col, NUMBERS)
    sound = pl.col("value").is_between(minimum, maximum) & pl.col("sensor_type").is_in(list(IN_DISTRICTS)) & (pl.col("district") != "")
    rows = known.filter(sound)
    value = pl.when(pl.col("sensor_type") == "noise").then(energy(pl.col("value"))).otherwise("value")
    return rows.select(
        "row",
        pl.col("district").alias("device_id"),
        "sensor_type",
        value.alias("value"),
        "timestamp",
        station="device_id",
        origin="origin",
        position="position",
    )
