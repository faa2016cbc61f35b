"""Which messages did not arrive, and where each was last seen. Looked for only when counts differ."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import orjson
import polars as pl

from agents.gateway.message import Source
from deploy.demo.verdict import GOOD
from schemas.catalog import MESSAGES, READINGS, Contract
from schemas.registry import Registry
from schemas.wire import decode
from streams.reader import TopicReader
from streams.settings import settings

NAMED: Final = 5
CHUNK_SECONDS: Final = 10_000
"""Most points the warehouse answers at once, of a second each."""
ROWS: Final = 10_000
NOT_SENT: Final = "its device: nobody acknowledged it"
Answers = Callable[[str, dict[str, Any]], dict[str, Any]]
"""Asks the warehouse worker: a path, parameters."""


def of_factory(sent: pl.DataFrame, since_ms: int, ask: Answers) -> pl.DataFrame:
    """Good readings that are not stored, columns as text; `sent` as its simulator wrote it, Kafka from `since_ms` on."""
    keys = ["device_id", "sensor_type", "timestamp"]
    good = sent.filter(GOOD).unique(keys, maintain_order=True)
    in_kafka = _in_kafka(READINGS, since_ms, keys).unique(keys, keep="first")
    seen = good.join(in_kafka, on=keys, how="left", maintain_order="left")
    seconds = [_seconds_stored(ask, device, sensor, times) for (device, sensor), times in _times(seen)]
    stored = pl.concat([pl.DataFrame(schema={"device_id": pl.String, "sensor_type": pl.String, "second": pl.Int64}), *seconds])
    unstored = seen.with_columns(second=pl.col("timestamp") // 1000).join(stored, on=["device_id", "sensor_type", "second"], how="anti")
    return unstored.select(
        pl.col("device_id").alias("device"),
        pl.col("sequence").cast(pl.String).fill_null("none"),
        pl.lit(Source.MQTT.value).alias("protocol"),
        pl.format("{} of {}, {}", "sensor_type", pl.from_epoch("timestamp", "ms").dt.strftime("%H:%M:%S%.3f"), "fault").alias("what"),
        _last_seen(pl.lit("the MQTT broker, which acknowledged it")),
    )


def of_city(sent: pl.DataFrame, since_ms: int, ask: Answers) -> pl.DataFrame:
    """The same of the city's messages."""
    keys = ["device_id", "sequence"]
    came = [_in_kafka(contract, since_ms, ["device_id", "data"]) for contract in MESSAGES]
    in_kafka = pl.concat(came).with_columns(pl.col("data").map_elements(_sequence, return_dtype=pl.Int64).alias("sequence"))
    counted = in_kafka.group_by(keys).agg(pl.len().alias("copies"), pl.first("place"))
    seen = sent.join(counted, on=keys, how="left", maintain_order="left")
    numbers = [_numbers_stored(ask, device, since_ms) for device in seen["device_id"].unique(maintain_order=True)]
    stored = pl.concat([pl.DataFrame(schema={"device_id": pl.String, "sequence": pl.Int64}), *numbers])
    missing = seen.join(stored, on=keys, how="anti")
    acknowledged = (
        pl.when(pl.col("protocol") == Source.MQTT.value)
        .then(pl.lit("the MQTT broker, which acknowledged it"))
        .otherwise(pl.lit("the gateway, which acknowledged it"))
    )
    twice = seen.filter(pl.col("copies") > 1)
    said = [(missing, _last_seen(acknowledged)), (twice, pl.format("{} times in Kafka, first {}", "copies", "place").alias("last_seen"))]
    columns = (pl.col("device_id").alias("device"), pl.col("sequence").cast(pl.String), "protocol", pl.col("topic").alias("what"))
    return pl.concat([rows.select(*columns, last_seen) for rows, last_seen in said])


def in_words(found: pl.DataFrame, file: str) -> Iterator[str]:
    """The first few of them, and where the others are."""
    for row in found.head(NAMED).iter_rows(named=True):
        yield "{device}, message {sequence} over {protocol} ({what}) was last seen at {last_seen}".format(**row)
    if found.height > NAMED:
        yield f"and {found.height - NAMED:,} more: {file}"


def asking(url: Callable[[str], str]) -> Answers:
    """Asks a worker; `url` makes the address of a path."""

    def ask(path: str, parameters: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = httpx.get(url(path), params=parameters, timeout=60).raise_for_status().json()
        return answer

    return ask


def _last_seen(acknowledged: pl.Expr) -> pl.Expr:
    in_kafka = pl.format("Kafka, {}: it is not in ClickHouse", "place")
    return pl.coalesce(in_kafka, pl.when("acknowledged").then(acknowledged).otherwise(pl.lit(NOT_SENT))).alias("last_seen")


def _in_kafka(contract: Contract, since_ms: int, columns: list[str]) -> pl.DataFrame:
    """Columns of a topic's records, and their `place`: topic/partition@offset."""
    registry = Registry(settings().registry, settings().data / "schemas")
    writers = {registry.register(contract): contract.codec}
    dtypes = dict(contract.codec.columns or {})
    frames = [pl.DataFrame(schema={**{name: dtypes[name] for name in columns}, "place": pl.String})]
    with closing(TopicReader(contract, since_ms)) as topic:
        for partition in topic.spans:
            for batch in topic.batches(partition):
                rows = decode(batch.values, contract.codec, writers).frame
                offsets = pl.Series("offset", batch.offsets, dtype=pl.Int64)[rows["row"]]
                place = pl.format(f"{contract.topic}/{partition}@{{}}", offsets).alias("place")
                frames.append(rows.select(*columns).with_columns(place))
    return pl.concat(frames)


def _sequence(data: str) -> int | None:
    try:
        number = orjson.loads(data)["sequence"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return number if isinstance(number, int) else None


def _times(readings: pl.DataFrame) -> Iterator[tuple[tuple[str, str], pl.Series]]:
    for (device, sensor, _), rows in readings.group_by("device_id", "sensor_type", pl.col("timestamp") // (1000 * CHUNK_SECONDS)):
        yield (str(device), str(sensor)), rows["timestamp"]


def _seconds_stored(ask: Answers, device: str, sensor: str, times: pl.Series) -> pl.DataFrame:
    """The seconds of these times in which the warehouse has as many readings of the sensor as there are times."""
    seconds = times // 1000
    first, last = int(seconds.min()), int(seconds.max())  # type: ignore[arg-type]  # of integers
    span = {"start": _iso(first), "end": _iso(last + 1)}
    points = ask("/api/history", {"device": device, "sensor": sensor, "step_seconds": 1, **span})["points"]
    counts = {int(point["at"]) // 1000: int(point["readings"]) for point in points}
    whole = [second for second, due in seconds.value_counts().iter_rows() if counts.get(second, 0) >= due]
    return pl.DataFrame({"device_id": device, "sensor_type": sensor, "second": pl.Series(whole, dtype=pl.Int64)})


def _numbers_stored(ask: Answers, device: str, since_ms: int) -> pl.DataFrame:
    numbers: list[int | None] = []
    offset: int | None = 0
    while offset is not None:
        answer = ask("/api/city/messages", {"device": device, "start": _iso(since_ms // 1000), "limit": ROWS, "offset": offset})
        numbers += [_sequence(row["data"]) for row in answer["rows"]]
        offset = answer["next"]
    return pl.DataFrame({"device_id": device, "sequence": pl.Series(numbers, dtype=pl.Int64)})


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
