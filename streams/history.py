"""What the warehouse is asked: how a sensor has been, and what happened on a production line or to a product."""

from collections.abc import Callable
from typing import Any, Final, Self

import polars as pl
from pydantic import Field, model_validator

from streams.api import Question
from streams.clickhouse import ClickHouse
from streams.spans import SETTINGS, Paged, Span, rows_of, within

MOST_POINTS: Final = 10_000


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


class Trace(Paged):
    """What happened on a production line, or to a product."""

    line: str | None = Field(default=None, max_length=200, description="The production line (metadata.production_line).")
    product: str | None = Field(default=None, max_length=200, description="The product (metadata.product).")

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.line is None) == (self.product is None):
            raise ValueError("name a line or a product, one of them")
        return self


_WITHIN: Final = within("timestamp")

_HISTORY: Final = f"""
SELECT toUnixTimestamp(toStartOfInterval(timestamp, toIntervalSecond({{step:UInt32}}))) * 1000 AS at,
       count() AS readings, avg(value) AS mean, min(value) AS min, max(value) AS max, argMax(value, timestamp) AS last
FROM %s FINAL
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
        Question("/api/history", History, "A sensor's readings, aggregated by steps of time.", of_history(clickhouse, "readings")),
        Question("/api/traceability", Trace, "Readings, windows, alerts and shifts of a line or product.", _of_trace(clickhouse)),
    ]


def of_history(clickhouse: ClickHouse, table: str) -> Callable[[History], dict[str, Any]]:
    """What answers, of a table with `device_id`, `sensor_type`, `value` and `timestamp`."""

    def answer(asked: History) -> dict[str, Any]:
        parameters = {"device": asked.device, "sensor": asked.sensor, "step": asked.step_seconds, **asked.bounds()}
        return {
            "device": asked.device,
            "sensor": asked.sensor,
            "since": asked.start,
            "until": asked.end,
            "points": rows_of(clickhouse.query(_HISTORY % table, parameters, SETTINGS)),
        }

    return answer


def _of_trace(clickhouse: ClickHouse) -> Callable[[Trace], dict[str, Any]]:
    def answer(asked: Trace) -> dict[str, Any]:
        of = _OF_LINE if asked.line is not None else _OF_PRODUCT
        parameters = {"what": asked.line or asked.product, **asked.rows(), **asked.bounds()}
        summary = clickhouse.query(_SUMMARY.format(of=of, within=_WITHIN), parameters, SETTINGS)
        parameters["devices"] = summary["device_id"].cast(pl.String).unique().sort().to_list()
        lists = {
            name: rows_of(clickhouse.query(sql.format(of=of, within=_WITHIN), parameters, SETTINGS))
            for name, sql in {"readings": _READINGS, "windows": _WINDOWS, "alerts": _ALERTS}.items()
        }
        return {
            "since": asked.start,
            "until": asked.end,
            "shifts": summary["shift"].cast(pl.String).unique().sort().to_list(),
            "summary": rows_of(summary),
            **{name: rows[: asked.limit] for name, rows in lists.items()},
            "next": asked.next(*lists.values()),
        }

    return answer
