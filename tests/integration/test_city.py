"""A city's messages, as gateways write them, through a worker that is killed, into windows, alerts, dead letters, rows and answers."""

import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from agents.limits import NOTICE_MS
from schemas.catalog import (
    AIR,
    ALERTS,
    CITY_READINGS,
    CITY_WINDOWS,
    DEAD_LETTERS,
    DISTRICT_WINDOWS,
    LIGHTS,
    MANHOLES,
    MESSAGES,
    NOISE,
    OTHERS,
    PARKING,
    TRAFFIC,
)
from tests.integration.line import Topics, Worker, headrace, http, produce, wait

HOUR = 3_600_000
DISTRICTS = ("riverside", "old town")
TYPES = {AIR: "environment", NOISE: "environment", LIGHTS: "lighting", PARKING: "parking", MANHOLES: "manhole", TRAFFIC: "traffic"}
LEVELS = {AIR: "sensors/{}/air", NOISE: "sensors/{}/noise", LIGHTS: "lights/{}/status", PARKING: "parking/{}/occupancy"}
READINGS_PER_MESSAGE = {AIR: 2, LIGHTS: 3, PARKING: 1}


@dataclass
class City:
    """What was sent and when."""

    settings: object
    topics: Topics
    start: int
    """Of the five minutes that are windowed, ms."""

    def send(self, contract, messages, **said):
        """Messages (device, timestamp or none, members) into the topic of their kind."""
        rows = []
        for device, at, members in messages:
            data = members if isinstance(members, str) else orjson.dumps(members | ({"timestamp": at} if at else {})).decode()
            row = {
                "message_id": f"{device}#{data}",
                "device_id": device,
                "tenant_id": "city",
                "source_protocol": "mqtt",
                "original_topic": LEVELS.get(contract, "x/{}").format(device),
                "ingestion_time": at or self.start,
                "processing_time": at or self.start,
                "data": data,
                "data_type": TYPES.get(contract, "bin"),
                "defect": "",
                "metadata": {"qos": 1, "priority": "NORMAL", "gateway_node": "gw"},
            }
            rows.append(row | said)
        produce(self.settings, contract, pl.DataFrame(rows, contract.codec.columns))

    def wait_until_read(self, worker):
        """Until all messages are measurements, and those in windows and alerts."""
        for topic in (*(contract.topic for contract in MESSAGES), CITY_READINGS.topic, "city.districts"):
            self.topics.wait_until_read(worker, topic)


def minute(city, second, contract):
    """What the devices of a kind say in a second of the five minutes."""
    at = city.start + second * 1000
    for number in range(12):
        district = {"district": DISTRICTS[number % 2]}
        match contract:
            case _ if contract is AIR:
                yield f"air-{number}", at, district | {"pm25": 10 + second / 10 + number, "no2": 30.5}
            case _ if contract is LIGHTS:
                yield f"light-{number}", at, district | {"on": True, "power_w": 0 if number == 5 else 60 + number}
            case _:
                yield f"spot-{number}", at, district | {"occupied": second // 50 % 2 == 0}


@pytest.fixture(scope="module")
def city(kafka, tmp_path_factory):
    """Five minutes of a city, of which a worker that is killed four times makes what it makes; some of it gateways sent twice."""
    folder = tmp_path_factory.mktemp("city")
    kinds = (AIR, LIGHTS, PARKING)
    with closing(Topics(kafka, "city")) as topics:
        city = City(kafka, topics, int(time.time() * 1000) // 60_000 * 60_000 - 600_000)
        for part in range(4):
            with Worker(kafka, folder, module="streams.city", instance="one") as worker:
                for contract in kinds:
                    messages = [message for second in range(75 * part, 75 * part + 75) for message in minute(city, second, contract)]
                    city.send(contract, messages)
                    # as gateways do that are killed before they have told their devices: at once, and when the worker was killed, too
                    city.send(contract, messages[-60:])
                    city.send(contract, list(minute(city, max(75 * part - 1, 0), contract)))
                if part == 1:
                    garbage(city)
                worker.wait_for("lane_opened")
                # at the first measurements, or at the first checkpoint of them
                reached = topics.ends if part % 2 else topics.committed
                before = sum(reached(CITY_READINGS.topic).values())
                wait(lambda reached=reached, before=before: sum(reached(CITY_READINGS.topic).values()) > before, worker.tail, worker=worker)
                worker.kill()
        closing_time = city.start + 500_000
        city.send(AIR, [(f"closing-{number}", closing_time, {"no2": 1}) for number in range(60)])
        with Worker(kafka, folder, module="streams.city", instance="one") as worker:
            worker.wait_for("lane_opened")
            city.wait_until_read(worker)
            assert worker.stop() == 0, worker.tail()
        city.folder = folder
        yield city


def garbage(city):
    now = city.start
    city.send(AIR, [("air-1", None, "{"), ("air-1", now, {"pm25": "high"}), ("air-1", now // 1000, {"pm25": 3}), ("air-1", now, {"x": 3})])
    city.send(AIR, [("air-1", None, "00ff")], data_type="raw")
    city.send(AIR, [("air-1", now + 5, {"pm10": -1})])


def newest(frame):
    """The result of each window that rests on most readings."""
    keys = ["device_id", "sensor_type", "window_seconds", "window_start"]
    return frame.filter(closed_by="watermark").sort("revision").unique(keys, keep="last")


def test_each_measurement_is_in_its_window_once_whatever_was_killed_and_whatever_came_twice(city):
    kinds = (AIR, LIGHTS, PARKING)
    sent = [
        (device, name, float(members[name]), at)
        for contract in kinds
        for second in range(300)
        for device, at, members in minute(city, second, contract)
        for name in ("pm25", "no2", "on", "power_w", "occupied")
        if name in members
    ]
    frame = pl.DataFrame(sent, ["device_id", "sensor_type", "value", "at"], orient="row")
    start = (pl.col("at") // 60_000 * 60_000).alias("window_start")
    expected = frame.group_by("device_id", "sensor_type", start).agg(count=pl.len(), mean=pl.col("value").mean())
    windows = newest(city.topics.frame(CITY_WINDOWS)).filter(
        pl.col("window_seconds") == 60, pl.col("sensor_type") != "unlit", pl.col("device_id").is_in(expected["device_id"].implode())
    )
    order = ["device_id", "sensor_type", "window_start"]
    assert_frame_equal(windows.select(expected.columns).sort(order), expected.sort(order), check_dtypes=False)


def test_what_cannot_be_used_is_a_dead_letter_with_its_reason(city):
    letters = city.topics.frame(DEAD_LETTERS).unique(["topic", "partition", "offset"])
    of_messages = letters.filter(topic=AIR.topic)
    assert sorted(of_messages["reason"]) == ["bad-timestamp", "undecodable", "undecodable", "unknown-format", "unknown-sensor"]
    details = letters.filter(topic=CITY_READINGS.topic)["detail"].unique().to_list()
    assert details == ["pm10 is -1.0, not within 0.0 to 5000.0"]


def test_a_light_without_power_is_told_of_after_two_minutes(city):
    alerts = city.topics.frame(ALERTS).filter(rule="light-dark").unique(["alert_id", "status"])
    ((device, severity, raised_at),) = alerts.select("device_id", "severity", "raised_at").iter_rows()
    assert (device, severity, raised_at) == ("light-5", "WARNING", city.start + 120_000)


def test_a_manhole_is_critical_at_once_and_a_district_above_the_guidelines_is_told_of(kafka, city):
    now = int(time.time() * 1000)
    this_hour = now // HOUR * HOUR
    hours = [this_hour - ago * HOUR for ago in range(27, 0, -1)]
    # Two stations measure at the same moments; the air gets better in the last of the hours.
    stations = [
        (
            station,
            hour + tenth * 600_000,
            {"district": "harbour", "pm25": 20.0 if hour < hours[-1] else 2.0, "no2": 30 + 200 * (hour == hours[3])},
        )
        for hour in hours
        for tenth in range(6)
        for station in ("quay-1", "quay-2")
    ]
    with Worker(kafka, city.folder, module="streams.city", instance="one") as worker:
        worker.wait_for("lane_opened")
        city.send(MANHOLES, [("manhole-1", now, {"tilt_deg": 12.5, "water_cm": 3, "gas_ppm": 100, "open": True, "district": "harbour"})])
        city.send(AIR, stations)
        city.send(AIR, [("quay-1", now, {"district": "harbour", "pm25": 2.0})])
        city.wait_until_read(worker)
        assert worker.stop() == 0, worker.tail()
    alerts = city.topics.frame(ALERTS)
    unsafe = alerts.filter(device_id="manhole-1").unique(["alert_id", "status"])
    assert set(unsafe.select("rule", "subject", "severity", "status", "value").iter_rows()) == {
        ("manhole-unsafe", "tilt_deg", "CRITICAL", "RAISED", 12.5),
        ("manhole-unsafe", "open", "CRITICAL", "RAISED", 1),
    }
    told = alerts.filter(device_id="harbour", domain="districts").unique(["alert_id", "status"]).sort("changed_at", "rule")
    assert list(told.select("rule", "subject", "status", "changed_at").iter_rows()) == [
        ("no2-hour", "no2", "RAISED", hours[4]),
        ("no2-hour", "no2", "CLEARED", hours[5]),
        ("no2-day", "no2", "RAISED", hours[18]),
        ("pm25-day", "pm25", "RAISED", hours[18]),
    ]
    windows = newest(city.topics.frame(DISTRICT_WINDOWS)).filter(device_id="harbour", sensor_type="no2")
    hour = windows.filter(pl.col("window_seconds") == 3600, pl.col("window_start") == hours[3])
    assert hour.select("count", "mean").row(0) == (12, 230)


def test_a_new_device_type_needs_a_sensor_type_and_no_code(kafka, city, tmp_path):
    file = tmp_path / "bins.yaml"
    row = {"name": "fill_level", "unit": "%", "minimum": 0, "maximum": 100, "critical": 90, "fast": 20}
    file.write_text(orjson.dumps({"domain": "city", "sensors": [row]}).decode())
    with Worker(kafka, city.folder, module="streams.city", instance="one") as worker:
        worker.wait_for("lane_opened")
        status, said = headrace(kafka, "sensors", "apply", file)
        assert status == 0, said
        time.sleep(NOTICE_MS / 1000)
        city.send(OTHERS, [("bin-1", int(time.time() * 1000), {"fill_level": 95, "lid": "shut"})])
        city.wait_until_read(worker)
        assert worker.stop() == 0, worker.tail()
    alerts = city.topics.frame(ALERTS).filter(device_id="bin-1")
    assert set(alerts.select("rule", "subject", "value").iter_rows()) == {("above-critical", "fill_level", 95)}


def answer(worker, path, **parameters):
    return http.get(f"http://127.0.0.1:{worker.port}{path}", params=parameters, timeout=30).raise_for_status().json()


def test_what_was_sent_is_stored_and_the_warehouse_answers(kafka, city, tmp_path):
    with Worker(kafka, tmp_path, module="streams.warehouse") as warehouse:
        warehouse.wait_for("Worker ready")
        stored = Topics(kafka, "warehouse")
        with closing(stored):
            for contract in (*MESSAGES, CITY_READINGS, CITY_WINDOWS, DISTRICT_WINDOWS):
                stored.wait_until_read(warehouse, contract.topic)
        span = {"start": iso(city.start), "end": iso(city.start + 300_000)}
        history = answer(warehouse, "/api/city/history", device="air-2", sensor="pm25", step_seconds=60, **span)
        assert [point["readings"] for point in history["points"]] == [60] * 5
        (row,) = answer(warehouse, "/api/city/districts", district="riverside", sensor="pm25", step="all", **span)["rows"]
        assert (row["stations"], row["readings"]) == (6, 1800)
        lights = answer(warehouse, "/api/city/lights", step="all", **span)
        assert [light["device"] for light in lights["faulty"]] == ["light-5"]
        of_riverside = next(row for row in lights["rows"] if row["district"] == "riverside")
        watts = sum(60 + number for number in range(0, 12, 2))
        assert of_riverside["energy_kwh"] == pytest.approx(watts / 1000 * 300 / 3600)
        parking = answer(warehouse, "/api/city/parking", step="all", district="riverside", **span)["rows"]
        assert [(row["places"], row["occupancy"], row["arrivals"]) for row in parking] == [(6, 0.5, 12)]
        messages = answer(warehouse, "/api/city/messages", device="spot-3", limit=5, **span)
        assert [row["at"] for row in messages["rows"]] == [city.start + second * 1000 for second in range(299, 294, -1)]


def iso(ms):
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()
