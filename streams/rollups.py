"""Roll-ups for those who run the floor: each sensor type by production line and shift, in hours or days.

They are computed from the readings when asked, `FINAL`. A materialized view sees inserts, and not what replaces what: it would count
again what is read again after a crash.
"""

from collections.abc import Callable
from typing import Any, Final, Literal

from pydantic import Field

from agents.limits import Limits
from streams.api import Question
from streams.clickhouse import ClickHouse
from streams.spans import SETTINGS, Stepped, named, rows_of, step_of, within


class Rollup(Stepped):
    """How production lines and shifts have been."""

    by: Literal["line", "shift", "line,shift"] = Field(
        default="line,shift", description="What has rows of its own; lines of two plants are two."
    )
    plant: str = Field(default="", max_length=200, description="Of this plant only.")
    line: str = Field(default="", max_length=200, description="Of this production line only (metadata.production_line).")
    shift: str = Field(default="", max_length=200, description="Of this shift only (metadata.shift).")
    sensor: str = Field(default="", max_length=200, description="Of this sensor type only.")


_GROUPS: Final = {"line": "plant, line, ", "shift": "shift, ", "line,shift": "plant, line, shift, "}
_CRITICAL: Final = "transform(sensor_type, {types:Array(String)}, {criticals:Array(Float64)}, toFloat64(inf))"
_READINGS: Final = f"""
SELECT {step_of("timestamp")}, plant, production_line AS line, shift, sensor_type AS sensor, count() AS number, sum(value) AS total,
       toNullable(min(value)) AS lowest, toNullable(max(value)) AS highest, countIf(value > {_CRITICAL}) AS critical, 0 AS raised
FROM readings FINAL
WHERE {within("timestamp")} AND {named(plant="plant", line="production_line", shift="shift", sensor="sensor_type")}
GROUP BY at, plant, line, shift, sensor
"""
# An alert is of the line and shift its sensor's readings were of at that time. Those need not be FINAL: equal ones say the same.
_RAISED: Final = f"""
SELECT alert_id, device_id, subject, raised_at FROM alerts
WHERE {within("raised_at")}
"""
_POSTS: Final = f"""
SELECT device_id, sensor_type, plant, production_line AS line, shift, min(timestamp) AS since FROM readings
WHERE {within("timestamp")} AND (device_id, sensor_type) IN (SELECT device_id, subject FROM ({_RAISED}))
GROUP BY device_id, sensor_type, plant, line, shift, toStartOfHour(timestamp)
"""
_ALERTS: Final = f"""
SELECT {step_of("raised_at")}, plant, line, shift, subject AS sensor, 0 AS number, 0 AS total, NULL AS lowest, NULL AS highest,
       0 AS critical, uniqExact(alert_id) AS raised
FROM ({_RAISED}) AS raised
ASOF JOIN ({_POSTS}) AS posts ON (device_id, subject) = (posts.device_id, posts.sensor_type) AND raised_at >= posts.since
WHERE {named(plant="plant", line="line", shift="shift", sensor="subject")}
GROUP BY at, plant, line, shift, sensor
"""
_ROLLUP: Final = f"""
SELECT at, %s sensor, sum(number) AS readings, if(readings > 0, sum(total) / readings, NULL) AS mean,
       min(lowest) AS min, max(highest) AS max, if(readings > 0, sum(critical) / readings, NULL) AS critical_share, sum(raised) AS alerts
FROM ({_READINGS} UNION ALL {_ALERTS})
GROUP BY at, %s sensor ORDER BY at, %s sensor LIMIT {{limit:UInt32}} OFFSET {{offset:UInt32}}
"""


def questions(clickhouse: ClickHouse, limits: Callable[[], Limits]) -> list[Question]:
    """What a worker with this ClickHouse can be asked; `limits` gives those of now, by which readings count as critical."""
    summary = "Sensor types by production line and shift: statistics and alerts."
    return [Question("/api/rollups", Rollup, summary, _of_lines(clickhouse, limits))]


def _of_lines(clickhouse: ClickHouse, limits: Callable[[], Limits]) -> Callable[[Rollup], dict[str, Any]]:
    def answer(asked: Rollup) -> dict[str, Any]:
        which = {name: getattr(asked, name) for name in ("plant", "line", "shift", "sensor")}
        types = [sensor for sensor in limits().rows if not sensor["retired"]]
        critical = {"types": [sensor["name"] for sensor in types], "criticals": [sensor["critical"] for sensor in types]}
        parameters = {**asked.bounds(), **asked.steps(), **asked.rows(), **which, **critical}
        groups = _GROUPS[asked.by]
        rows = asked.began(rows_of(clickhouse.query(_ROLLUP % (groups, groups, groups), parameters, SETTINGS)))
        return {
            "start": asked.start,
            "end": asked.end,
            "rows": rows[: asked.limit],
            "next": asked.next(rows),
        }

    return answer
