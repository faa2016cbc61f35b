"""Devices' messages to measurements: envelopes in, a row for each measurement out, a reject for each message without or not read whole.

What becomes of a message depends on it alone: on its envelope, its offset, and the sensor types that were known when Kafka took it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import polars as pl

from agents.city.guidelines import IN_DISTRICTS, energy
from agents.city.kinds import KINDS
from agents.city.sensors import YES_OR_NO
from agents.gateway.sparkplug.names import NAMESPACE
from agents.gateway.times import AHEAD_MS, EARLIEST_MS, misdated, whole
from agents.limits import Bounds, Limits
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
_NAMES: Final = ("row", "offset", "device_id", "tenant_id", "message_id", "origin")
_BARE: Final = frozenset({int, float, bool, str})
"""A payload that is a value by itself is the value named by the last level of its topic."""
WORDS: Final = {"on": True, "off": False, "true": True, "false": False}
"""Words by which devices publish a yes or no by itself."""
_NUMBERS: Final = frozenset({int, float})
_YES_OR_NO: Final = Bounds(0, 1)
"""Of a sensor type that a yes or no measures: of any other, true is no 1."""


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
    readings: list[tuple[object, ...]] = []
    districts: list[tuple[object, ...]] = []
    rejects: list[Reject] = []
    # A loop over records: their JSON has no common shape, operators' device types have any. What else is found of a record is found in it,
    # too: for the few that come at a time passes of Polars took ten times as long, and for thousands no less.
    for row, offset, device, tenant, message_id, origin, *said in zip(*(envelopes[name].to_list() for name in _NAMES + _SAYS), strict=True):
        text, data_type, _, topic, _, arrival = said
        try:
            at, district, historical, numbers, misfits = _message(limits, *said)
        except Unfit as unfit:
            reason, detail = unfit.args
            rejects.append(Reject(row, reason, brief(detail, DETAIL_LETTERS)))
            continue
        position = first = offset << POSITION_BITS
        for name, value in _with_derived(data_type, numbers):
            if (bounds := limits.bounds(name, arrival)) is not None:
                if district and name in IN_DISTRICTS and bounds.minimum <= value <= bounds.maximum:
                    districts.append((row, district, name, value, at, device, origin, position))
                readings.append((row, device, name, value, at, district, data_type, tenant, message_id, origin, position, historical))
                position += 1
        if misfits:
            rejects.append(Reject(row, Reason.UNDECODABLE, brief("; ".join(misfits), DETAIL_LETTERS)))
        elif position == first:
            rejects.append(Reject(row, *_nothing(text, topic, limits, arrival)))
    return Refined(_frame(readings, _READING), _as_energy(_frame(districts, _OF_DISTRICT)), rejects)


def _frame(rows: Sequence[tuple[object, ...]], schema: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    columns = zip(*rows, strict=True) if rows else repeat(())
    return pl.DataFrame([pl.Series(name, column, dtype) for (name, dtype), column in zip(schema.items(), columns, strict=False)])


def _message(
    limits: Limits, text: str, data_type: str, defect: str, topic: str, ingestion_time: int, arrival: int
) -> tuple[int, str, bool, Sequence[tuple[str, float]], Sequence[str]]:
    """Event time, district, whether it is of the past, numbers of one message, and what should be one and is none. Raises Unfit."""
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
            if wrong := _misfit(name, document[name], limits.bounds(name, arrival) or _YES_OR_NO):
                raise Unfit(Reason.UNDECODABLE, wrong)
    said = document.get("timestamp", ingestion_time)
    at = whole(said)
    if at is None or not EARLIEST_MS <= at <= arrival + AHEAD_MS:
        remedy = "" if topic.startswith(f"{NAMESPACE}/") else ", unless the topic's mapping row says time_unit: {}"
        raise Unfit(Reason.BAD_TIMESTAMP, misdated(said, arrival, remedy))
    district = document.get("district", "")
    if type(district) is not str:
        raise Unfit(Reason.UNDECODABLE, f"district is {kind(district)}, not a text: {quoted(district)}")
    if len(district.encode()) > DISTRICT_BYTES:
        raise Unfit(Reason.TOO_LARGE, f"district is {quoted(district)}, at most {DISTRICT_BYTES} bytes are taken")
    numbers, misfits = [], []
    for name, value in document.items():
        if type(value) in _NUMBERS:
            if name not in NUMBERLESS:
                numbers.append((name, float(value)))
        elif (bounds := limits.bounds(name, arrival)) is not None and (wrong := _misfit(name, value, bounds)):
            misfits.append(wrong)
        elif type(value) is bool:
            numbers.append((name, float(value)))
    return at, district, document.get("is_historical") is True, numbers, misfits


def _misfit(name: str, value: object, bounds: Bounds) -> str:
    """Why a member of a sensor type's name is no measurement; empty if it is one, or null."""
    if type(value) in _NUMBERS or value is None or (type(value) is bool and bounds == _YES_OR_NO):
        return ""
    return f"{name} is {kind(value)}, not a number: {quoted(value)}"


def _nothing(text: str, topic: str, limits: Limits, arrival: int) -> tuple[Reason, str]:
    """Why a message has no measurement."""
    document = json_text.loads(text)
    if type(document) is dict:
        empty = [name for name, value in document.items() if value is None and limits.bounds(name, arrival) is not None]
        if empty:
            return Reason.NULL_FIELD, brief(f"{', '.join(empty)}: null", DETAIL_LETTERS)
        return Reason.UNKNOWN_SENSOR, brief(f"no sensor type is a member of {text}", DETAIL_LETTERS)
    name = topic.rpartition("/")[2]
    return Reason.UNDECODABLE, f"data is {kind(document)}, not an object, and {quoted(name)} is no sensor type"


def _with_derived(data_type: str, numbers: Sequence[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """The numbers of a message, and behind them what is computed of them."""
    yield from numbers
    if data_type in KINDS and (derived := KINDS[data_type].derived):
        told = dict(numbers)
        for name, value in derived.items():
            if (made := value(told)) is not None:
                yield name, made


def _as_energy(sound: pl.DataFrame) -> pl.DataFrame:
    """What a district is judged by, of sound measurements only: what is wrong with the others is told of city.readings."""
    noise = sound["sensor_type"] == "noise"
    return sound.with_columns(value=pl.when(noise).then(energy(pl.col("value"))).otherwise("value")) if noise.any() else sound


_READING: Final = {
    "row": pl.UInt32,
    "device_id": pl.String,
    "sensor_type": pl.String,
    "value": pl.Float64,
    "timestamp": pl.Int64,
    "district": pl.String,
    "data_type": pl.String,
    "tenant_id": pl.String,
    "message_id": pl.String,
    "origin": pl.String,
    "position": pl.Int64,
    "historical": pl.Boolean,
}
_OF_DISTRICT: Final = {
    "row": pl.UInt32,
    "device_id": pl.String,
    "sensor_type": pl.String,
    "value": pl.Float64,
    "timestamp": pl.Int64,
    "station": pl.String,
    "origin": pl.String,
    "position": pl.Int64,
}
