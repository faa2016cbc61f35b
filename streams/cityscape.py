"""What the warehouse is asked about a city: its devices, districts, street lights and parking places."""

from collections.abc import Callable
from typing import Any, Final

from pydantic import Field

from agents.city.guidelines import GUIDELINES, IN_DISTRICTS, REFERENCE_DB
from streams.api import Question
from streams.clickhouse import ClickHouse
from streams.history import History, of_history
from streams.spans import DAY_MS, HOUR_MS, SETTINGS, Paged, Stepped, moment_of, named, rows_of, step_number, step_of, within

# What a light's meter said is taken to be so for a quarter of an hour, which is how often the slowest report.
METER_MS: Final = 15 * 60_000
# A parking place may say only when something changes, and a car may stand there for a day.
PLACE_MS: Final = DAY_MS


class OfDistricts(Stepped):
    """How districts have been."""

    district: str = Field(default="", max_length=200, description="Of this district only.")
    tenant: str = Field(default="", max_length=200, description="Of this tenant's devices only.")

    def parameters(self) -> dict[str, Any]:
        """Of a query."""
        return {**self.bounds(), **self.steps(), **self.rows(), "district": self.district, "tenant": self.tenant}


class Surroundings(OfDistricts):
    """How healthy districts have been."""

    sensor: str = Field(default="", max_length=200, description=f"Of this only; there are {', '.join(sorted(IN_DISTRICTS))}.")


class Sent(Paged):
    """What a device has sent."""

    device: str = Field(min_length=1, max_length=200, description="The device's id.")
    tenant: str = Field(default="", max_length=200, description="Of this tenant's device only.")


_OF_DISTRICT: Final = f"district != '' AND {named(district='district', tenant='tenant_id')}"
_MILLISECONDS: Final = "toUnixTimestamp64Milli(timestamp)"
_PAGE: Final = "LIMIT {limit:UInt32} OFFSET {offset:UInt32}"

# Levels are not averaged, energies are: the mean of noise is its equivalent continuous level.
_SURROUNDINGS: Final = f"""
SELECT {step_of("timestamp")}, district, sensor_type AS sensor, uniqExact(device_id) AS stations, count() AS readings,
       if(sensor_type = 'noise', {REFERENCE_DB} + 10 * log10(avg(exp10((value - {REFERENCE_DB}) / 10))), avg(value)) AS mean,
       min(value) AS min, max(value) AS max,
       transform(sensor_type, {{guided:Array(String)}}, {{limits:Array(Nullable(Float64))}}, NULL) AS guideline
FROM city_readings FINAL
WHERE {within("timestamp")} AND {_OF_DISTRICT} AND {named(sensor="sensor_type")} AND sensor_type IN {{sensors:Array(String)}}
GROUP BY at, district, sensor_type ORDER BY at, district, sensor {_PAGE}
"""

# A reading is so until the next of its device, or for `held` at most; what spans several steps is divided among them.
_HELD: Final = f"""
SELECT {{origin:Int64}} + number * {{step:Int64}} AS at, {moment_of("at")} AS opens, {moment_of("(at + {step:Int64})")} AS closes,
       district, device_id, value, rises AND begun BETWEEN opens AND closes - 1 AND begun >= {{since:Int64}} AS arrives,
       least(till, closes) - greatest(begins, opens) AS ms
FROM (
    SELECT district, device_id, value, begun, greatest(begun, {{since:Int64}}) AS begins,
           least(following, begun + {{held:Int64}}, {{until:Int64}}) AS till, value > 0 AND before = 0 AS rises
    FROM (
        SELECT district, device_id, value, {_MILLISECONDS} AS begun,
               leadInFrame({_MILLISECONDS}, 1, {{until:Int64}}) OVER later AS following, lagInFrame(value, 1, 1) OVER later AS before
        FROM city_readings FINAL
        WHERE sensor_type = {{sensor:String}} AND {_OF_DISTRICT}
          AND timestamp >= fromUnixTimestamp64Milli({{since:Int64}} - {{held:Int64}})
          AND timestamp < fromUnixTimestamp64Milli({{until:Int64}})
        WINDOW later AS (PARTITION BY tenant_id, device_id ORDER BY timestamp ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    )
    WHERE till > begins
)
ARRAY JOIN range({step_number("begins")}, {step_number("(till - 1)")} + 1) AS number
"""
_PARKING: Final = f"""
SELECT at, district, uniqExact(device_id) AS places, sum(value * ms) / sum(ms) AS occupancy, sum(arrives) AS arrivals,
       arrivals / (sum(ms) / {HOUR_MS}) AS turnover
FROM ({_HELD}) GROUP BY at, district ORDER BY at, district {_PAGE}
"""
_LIGHTS: Final = f"""
SELECT at, district, max(known) AS lights, sum(kwh) AS energy_kwh, max(failed) AS faulty FROM (
    SELECT at, district, uniqExact(device_id) AS known, sum(value * ms) / {HOUR_MS} / 1000 AS kwh, 0 AS failed
    FROM ({_HELD}) GROUP BY at, district
    UNION ALL
    SELECT {step_of("timestamp")}, district, uniqExact(device_id) AS known, 0 AS kwh, uniqExactIf(device_id, value > 0) AS failed
    FROM city_readings FINAL WHERE sensor_type IN ('on', 'fault', 'unlit') AND {_OF_DISTRICT} AND {within("timestamp")}
    GROUP BY at, district
) GROUP BY at, district ORDER BY at, district {_PAGE}
"""
_FAULTY: Final = f"""
SELECT device_id AS device, district, argMaxIf(value, timestamp, sensor_type = 'fault') > 0 AS fault,
       argMaxIf(value, timestamp, sensor_type = 'unlit') > 0 AS unlit, toUnixTimestamp64Milli(max(timestamp)) AS at
FROM city_readings FINAL WHERE sensor_type IN ('fault', 'unlit') AND {_OF_DISTRICT} AND {within("timestamp")}
GROUP BY tenant_id, device_id, district HAVING fault OR unlit ORDER BY district, device {_PAGE}
"""
_SENT: Final = f"""
SELECT message_id, tenant_id AS tenant, source_protocol AS protocol, original_topic AS topic, data_type, data,
       toUnixTimestamp64Milli(ingestion_time) AS at, metadata.qos AS qos, metadata.priority AS priority, metadata.gateway_node AS gateway
FROM messages FINAL
WHERE device_id = {{device:String}} AND {named(tenant="tenant_id")} AND {within("ingestion_time")}
ORDER BY ingestion_time DESC, message_id {_PAGE}
"""


def questions(clickhouse: ClickHouse) -> list[Question]:
    """What a worker with this ClickHouse can be asked."""
    found: list[tuple[str, type[Any], str, Callable[[Any], dict[str, Any]]]] = [
        ("history", History, "A sensor's measurements, aggregated by steps of time.", of_history(clickhouse, "city_readings")),
        ("districts", Surroundings, "Air and noise by district and hour or day, beside what is healthy.", _of_surroundings(clickhouse)),
        ("lights", OfDistricts, "Street lights by district: energy and faults, and which are faulty.", _of_lights(clickhouse)),
        ("parking", OfDistricts, "Parking places by district: occupancy, and cars by place and hour.", _of_parking(clickhouse)),
        ("messages", Sent, "A device's messages as the gateway took them, the latest first.", _of_messages(clickhouse)),
    ]
    return [Question(f"/api/city/{name}", *rest) for name, *rest in found]  # type: ignore[arg-type]


def _answer(asked: Paged, **lists: list[dict[str, Any]]) -> dict[str, Any]:
    shown = {name: rows[: asked.limit] for name, rows in lists.items()}
    return {"start": asked.start, "end": asked.end, **shown, "next": asked.next(*lists.values())}


def _of_surroundings(clickhouse: ClickHouse) -> Callable[[Surroundings], dict[str, Any]]:
    def answer(asked: Surroundings) -> dict[str, Any]:
        hours = {"hour": 1, "day": 24}.get(asked.step, 0)
        # of several limits the lowest
        limits = {row.sensor_type: row.limit for row in sorted(GUIDELINES, key=lambda row: -row.limit) if row.hours == hours}
        guidelines = {"guided": list(limits), "limits": list(limits.values())}
        parameters = {**asked.parameters(), **guidelines, "sensor": asked.sensor, "sensors": sorted(IN_DISTRICTS)}
        return _answer(asked, rows=asked.began(rows_of(clickhouse.query(_SURROUNDINGS, parameters, SETTINGS))))

    return answer


def _of_lights(clickhouse: ClickHouse) -> Callable[[OfDistricts], dict[str, Any]]:
    def answer(asked: OfDistricts) -> dict[str, Any]:
        parameters = {**asked.parameters(), "sensor": "power_w", "held": METER_MS}
        rows, faulty = (rows_of(clickhouse.query(sql, parameters, SETTINGS)) for sql in (_LIGHTS, _FAULTY))
        return _answer(asked, rows=asked.began(rows), faulty=faulty)

    return answer


def _of_parking(clickhouse: ClickHouse) -> Callable[[OfDistricts], dict[str, Any]]:
    def answer(asked: OfDistricts) -> dict[str, Any]:
        parameters = {**asked.parameters(), "sensor": "occupied", "held": PLACE_MS}
        return _answer(asked, rows=asked.began(rows_of(clickhouse.query(_PARKING, parameters, SETTINGS))))

    return answer


def _of_messages(clickhouse: ClickHouse) -> Callable[[Sent], dict[str, Any]]:
    def answer(asked: Sent) -> dict[str, Any]:
        parameters = {**asked.bounds(), **asked.rows(), "device": asked.device, "tenant": asked.tenant}
        return _answer(asked, rows=rows_of(clickhouse.query(_SENT, parameters, SETTINGS)))

    return answer
