"""What the warehouse is asked: how a sensor has been, and what happened on a production line or to a product."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

import polars as pl
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from streams.api import Question
from streams.clickhouse import ClickHouse

MOST_POINTS: Final = 10_000
MOST_ROWS: Final = 10_000
MOST_SECONDS: Final = 10
# What ClickHouse's times can hold, with room for the day before a start that is not given.
EARLIEST: Final = datetime(1970, 1, 2, tzinfo=UTC)
LATEST: Final = datetime(2090, 1, 1, tzinfo=UTC)
SETTINGS: Final = {
    # Every row of a reading's key is of one day, so days need not be merged with each other.
    "do_not_merge_across_partitions_select_final": 1,
    "max_execution_time": MOST_SECONDS,
    # In a condition a time is the column, not what is answered of it.
    "prefer_column_name_to_alias": 1,
}


def _now() -> datetime:
    return datetime.now(UTC)


class Span(BaseModel):
    """From when to when."""

    model_config = ConfigDict(extra="forbid")

    end: AwareDatetime = Field(
        default_factory=_now, ge=EARLIEST, le=LATEST, description="First moment after, ISO 8601 with an offset; default: now."
    )
    start: AwareDatetime = Field(
        default_factory=lambda filled: filled["end"] - timedelta(days=1),
        ge=EARLIEST,
        le=LATEST,
        description="First moment, the same; default: a day before the end.",
    )

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.start >= self.end:
            raise ValueError("start is not before end")
        return self

    def bounds(self) -> dict[str, Any]:
        """Parameters of a query, in milliseconds."""
        return {"since": int(self.start.timestamp() * 1000), "until": int(self.end.timestamp() * 1000)}


class History(Span):
    """How one sensor has been."""

    device: str = Field(min_length=1, max_length=200, description="The device's id.")
    sensor: str = Field(min_length=1, max_length=200, description="The sensor type.")
    step_seconds: int = Field(default=60, ge=1, le=86_400, description=f"Of one point; at most {MOST_POINTS:,} points are answered.")

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        points = (self.end - self.start).total_seconds() / self.step_seconds
        if points > MOST_POINTS:
            raise ValueError(
                f"{points:,.0f} points of {self.step_seconds} s, at most {MOST_POINTS:,}: take a longer step or a shorter time"
            )
        return self


class Trace(Span):
    """What happened on a production line, or to a product."""

    line: str | None = Field(default=None, max_length=200, description="The production line (metadata.production_line).")
    product: str | None = Field(default=None, max_length=200, description="The product (metadata.product).")
    limit: int = Field(default=1000, ge=1, le=MOST_ROWS, description="Rows of each list at most; `next` is where the rest begins.")
    offset: int = Field(default=0, ge=0, le=10_000_000, description="Rows of each list to leave out: `next` of the answer before.")

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.line is None) == (self.product is None):
            raise ValueError("name a line or a product, one of them")
        return self


def within(column: str) -> str:
    """A condition on a time, with the parameters of `Span.bounds`."""
    return f"{column} >= fromUnixTimestamp64Milli({{since:Int64}}) AND {column} < fromUnixTimestamp64Milli({{until:Int64}})"


_WITHIN: Final = within("timestamp")

_HISTORY: Final = f"""
SELECT toUnixTimestamp(toStartOfInterval(timestamp, toIntervalSecond({{step:UInt32}}))) * 1000 AS at,
       count() AS readings, avg(value) AS mean, min(value) AS min, max(value) AS max, argMax(value, timestamp) AS last
FROM readings FINAL
WHERE device_id = {{device:String}} AND sensor_type = {{sensor:String}} AND {_WITHIN}
GROUP BY at ORDER BY at
"""

_OF_LINE: Final = "production_line = {what:String}"
_OF_PRODUCT: Final = "metadata['product'] = {what:String}"

_SUMMARY: Final = """
SELECT device_id, sensor_type, shift, count() AS readings, avg(value) AS mean, min(value) AS min, max(value) AS max,
       toUnixTimestamp64Milli(min(timestamp)) AS first_at, toUnixTimestamp64Milli(max(timestamp)) AS last_at
FROM readings FINAL WHERE {of} AND {within}
GROUP BY device_id, sensor_type, shift ORDER BY device_id, sensor_type, shift
"""
_READINGS: Final = """
SELECT device_id, sensor_type, value, toUnixTimestamp64Milli(timestamp) AS at, location, shift
FROM readings FINAL WHERE {of} AND {within}
ORDER BY device_id, sensor_type, timestamp LIMIT {{limit:UInt32}} OFFSET {{offset:UInt32}}
"""
_WINDOWS: Final = """
SELECT device_id, sensor_type, toUnixTimestamp64Milli(window_start) AS at, count AS readings, mean, min, max, stddev, last
FROM windows FINAL
WHERE device_id IN {{devices:Array(String)}} AND window_seconds = 60
  AND window_start >= fromUnixTimestamp64Milli({{since:Int64}}) - 60 AND window_start < fromUnixTimestamp64Milli({{until:Int64}})
ORDER BY device_id, sensor_type, window_start LIMIT {{limit:UInt32}} OFFSET {{offset:UInt32}}
"""
_ALERTS: Final = """
SELECT alert_id, device_id, subject, rule, severity, status, value, threshold, message, toUnixTimestamp64Milli(raised_at) AS raised_at,
       toUnixTimestamp64Milli(changed_at) AS changed_at
FROM alerts FINAL
WHERE device_id IN {{devices:Array(String)}}
  AND changed_at >= fromUnixTimestamp64Milli({{since:Int64}}) AND changed_at < fromUnixTimestamp64Milli({{until:Int64}})
ORDER BY changed_at LIMIT {{limit:UInt32}} OFFSET {{offset:UInt32}}
"""


def questions(clickhouse: ClickHouse) -> list[Question]:
    """What a worker with this ClickHouse can be asked."""
    return [
        Question("/api/history", History, "A sensor's readings, aggregated by steps of time.", _of_history(clickhouse)),
        Question("/api/traceability", Trace, "Readings, windows, alerts and shifts of a line or product.", _of_trace(clickhouse)),
    ]


def _of_history(clickhouse: ClickHouse) -> Callable[[History], dict[str, Any]]:
    def answer(asked: History) -> dict[str, Any]:
        parameters = {"device": asked.device, "sensor": asked.sensor, "step": asked.step_seconds, **asked.bounds()}
        return {
            "device": asked.device,
            "sensor": asked.sensor,
            "since": asked.start,
            "until": asked.end,
            "points": rows_of(clickhouse.query(_HISTORY, parameters, SETTINGS)),
        }

    return answer


def _of_trace(clickhouse: ClickHouse) -> Callable[[Trace], dict[str, Any]]:
    def answer(asked: Trace) -> dict[str, Any]:
        of = _OF_LINE if asked.line is not None else _OF_PRODUCT
        parameters = {"what": asked.line or asked.product, "limit": asked.limit + 1, "offset": asked.offset, **asked.bounds()}
        summary = clickhouse.query(_SUMMARY.format(of=of, within=_WITHIN), parameters, SETTINGS)
        parameters["devices"] = summary["device_id"].cast(pl.String).unique().sort().to_list()
        lists = {
            name: rows_of(clickhouse.query(sql.format(of=of, within=_WITHIN), parameters, SETTINGS))
            for name, sql in {"readings": _READINGS, "windows": _WINDOWS, "alerts": _ALERTS}.items()
        }
        more = any(len(rows) > asked.limit for rows in lists.values())
        return {
            "since": asked.start,
            "until": asked.end,
            "shifts": summary["shift"].cast(pl.String).unique().sort().to_list(),
            "summary": rows_of(summary),
            **{name: rows[: asked.limit] for name, rows in lists.items()},
            "next": asked.offset + asked.limit if more else None,
        }

    return answer


def rows_of(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """A result as JSON takes it."""
    return frame.cast({pl.Categorical: pl.String}).to_dicts()
