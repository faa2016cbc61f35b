import math
from datetime import UTC, datetime, timedelta
from itertools import count
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from schemas.catalog import LIGHTS
from streams.cityscape import questions
from streams.clickhouse import ClickHouse

DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)
START = int(DAY.timestamp() * 1000)
MINUTE, HOUR = 60_000, 3_600_000
OFFSETS = count()


def readings(*rows):
    """Rows of (device, district, sensor, minute, value)."""
    fields = ("device_id", "district", "sensor_type", "timestamp", "value")
    frame = pl.DataFrame(rows, dict(zip(fields, (pl.String, pl.String, pl.String, pl.Int64, pl.Float64), strict=True)), orient="row")
    said = {"data_type": "x", "tenant_id": "city", "message_id": "m", "origin": "o", "position": 0}
    return frame.with_columns(
        (START + pl.col("timestamp") * MINUTE).cast(pl.Datetime("ms", "UTC")).alias("timestamp"),
        pl.Series("offset", [next(OFFSETS) for _ in rows], pl.Int64),
        partition=pl.lit(0, pl.Int32),
        **{name: pl.lit(value, pl.Int64) if name == "position" else pl.lit(value) for name, value in said.items()},
    )


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory):
    clickhouse = ClickHouse("", tmp_path_factory.mktemp("clickhouse"))
    rows = [
        *((f"st-{n}", "old town", "pm25", minute, 10 + n) for n in (1, 2) for minute in range(0, 120, 10)),
        *(("st-1", "old town", "noise", minute, 50 if minute % 20 else 80) for minute in range(0, 60, 10)),
        ("st-3", "", "pm25", 5, 900),
        # 120 W from 0:30 to 2:00, then silent: the meter's last word holds for a quarter of an hour
        *(("light-1", "old town", "power_w", minute, 120) for minute in range(30, 121, 10)),
        *(("light-1", "old town", "unlit", minute, 0) for minute in range(30, 121, 10)),
        *(("light-2", "old town", "fault", minute, minute >= 70) for minute in range(0, 120, 10)),
        *(("light-3", "harbour", "fault", minute, minute < 70) for minute in range(0, 120, 10)),
        # a car from 0:20 to 1:30, another from 1:45; told of as it changes
        *(("spot-1", "old town", "occupied", minute, value) for minute, value in ((-60, 0), (20, 1), (90, 0), (105, 1))),
        # taken since the day before
        ("spot-2", "old town", "occupied", -300, 1),
    ]
    frame = readings(*rows)
    clickhouse.insert("city_readings", frame, "once")
    clickhouse.insert("city_readings", frame.tail(20).with_columns(pl.col("offset") + 1000), "again")
    clickhouse.insert("messages", messages(), "m")
    clickhouse.insert("messages", messages(), "n")
    yield clickhouse
    clickhouse.close()


def messages():
    row = {
        "device_id": "light-1",
        "tenant_id": "city",
        "source_protocol": "coap",
        "original_topic": "lights/light-1/status",
        "data_type": "lighting",
        "data": '{"on":true}',
        "metadata": {"qos": 1, "priority": "LOW", "gateway_node": "gw"},
    }
    rows = [row | {"message_id": f"m{n}", "ingestion_time": START + n, "processing_time": START + n} for n in range(5)]
    rows.append(row | {"message_id": "other", "device_id": "light-2", "ingestion_time": START, "processing_time": START})
    times = dict.fromkeys(("ingestion_time", "processing_time"), pl.Datetime("ms", "UTC"))
    return pl.DataFrame(rows, LIGHTS.codec.columns).cast(times)


def ask(clickhouse, name, **parameters):
    """The answer, asked as a query string asks it."""
    (question,) = (question for question in questions(clickhouse) if question.path == f"/api/city/{name}")
    usual = {"start": DAY.isoformat(), "end": (DAY + timedelta(hours=3)).isoformat()}
    return question.answer(question.model.model_validate(usual | {key: str(value) for key, value in parameters.items()}))


def test_a_devices_history_is_of_its_measurements(clickhouse):
    points = ask(clickhouse, "history", device="st-2", sensor="pm25", step_seconds=3600)["points"]
    assert [(point["at"] - START, point["readings"], point["mean"]) for point in points] == [(0, 6, 12), (HOUR, 6, 12)]


def test_a_districts_air_and_noise_are_means_by_hour_beside_what_is_healthy(clickhouse):
    rows = ask(clickhouse, "districts", step="hour")["rows"]
    found = {(row["at"] - START, row["sensor"]): row for row in rows}
    assert found.keys() == {(0, "noise"), (0, "pm25"), (HOUR, "pm25")}
    pm25, noise = found[0, "pm25"], found[0, "noise"]
    assert (pm25["stations"], pm25["readings"], pm25["mean"], pm25["guideline"]) == (2, 12, 11.5, None)
    assert noise["mean"] == pytest.approx(10 * math.log10((1e8 + 1e5) / 2))
    day = ask(clickhouse, "districts", step="day", sensor="pm25")["rows"]
    assert [(row["mean"], row["guideline"]) for row in day] == [(11.5, 15)]
    assert ask(clickhouse, "districts", district="harbour")["rows"] == []
    assert ask(clickhouse, "districts", tenant="port")["rows"] == []


def test_lights_have_energy_and_faults_by_district_and_hour(clickhouse):
    answer = ask(clickhouse, "lights", step="hour")
    rows = {(row["at"] - START, row["district"]): row for row in answer["rows"]}
    energy = {at: rows[at, "old town"]["energy_kwh"] for at in (0, HOUR, 2 * HOUR)}
    assert energy == {0: pytest.approx(0.06), HOUR: pytest.approx(0.12), 2 * HOUR: pytest.approx(0.03)}
    assert (rows[0, "old town"]["lights"], rows[0, "old town"]["faulty"], rows[HOUR, "old town"]["faulty"]) == (2, 0, 1)
    assert (rows[0, "harbour"]["faulty"], rows[HOUR, "harbour"]["faulty"]) == (1, 1)
    assert [(light["device"], light["district"], light["fault"], light["unlit"]) for light in answer["faulty"]] == [
        ("light-2", "old town", 1, 0)
    ]


def test_parking_places_have_occupancy_and_turnover_by_district_and_hour(clickhouse):
    rows = ask(clickhouse, "parking", step="hour")["rows"]
    found = [(row["at"] - START, row["district"], row["places"], row["occupancy"], row["arrivals"], row["turnover"]) for row in rows]
    assert found == [
        (0, "old town", 2, pytest.approx((40 + 60) / 120), 1, 0.5),
        (HOUR, "old town", 2, pytest.approx((45 + 60) / 120), 1, 0.5),
        (2 * HOUR, "old town", 2, 1, 0, 0),
    ]
    whole = ask(clickhouse, "parking", step="all")["rows"]
    assert [(row["arrivals"], row["occupancy"]) for row in whole] == [(2, pytest.approx((40 + 45 + 60 + 180) / 360))]


def test_a_devices_messages_are_the_latest_first_each_once(clickhouse):
    first = ask(clickhouse, "messages", device="light-1", limit=3)
    assert [row["message_id"] for row in first["rows"]] == ["m4", "m3", "m2"]
    assert first["rows"][0] == {
        "message_id": "m4",
        "tenant": "city",
        "protocol": "coap",
        "topic": "lights/light-1/status",
        "data_type": "lighting",
        "data": '{"on":true}',
        "at": START + 4,
        "qos": 1,
        "priority": "LOW",
        "gateway": "gw",
    }
    rest = ask(clickhouse, "messages", device="light-1", limit=3, offset=first["next"])
    assert ([row["message_id"] for row in rest["rows"]], rest["next"]) == (["m1", "m0"], None)


@pytest.mark.parametrize("name", ["districts", "lights", "parking"])
def test_whatever_is_named_is_a_name_and_never_part_of_the_query(clickhouse, name):
    assert ask(clickhouse, name, district="' OR 1=1 --")["rows"] == []


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(scope="module")
def week_of_a_change(clickhouse):
    """A place that is taken, and a light of 100 W that is told of every ten minutes, from 24 to 27 October 2026, UTC."""
    start = datetime(2026, 10, 24, tzinfo=UTC)
    minutes = range(0, 3 * 24 * 60, 10)
    begins = (int(start.timestamp() * 1000) - START) // MINUTE
    rows = [
        *(("light-9", "hill", "power_w", begins + minute, 100) for minute in minutes),
        *(("light-9", "hill", "fault", begins + minute, 0) for minute in minutes),
        *(("spot-9", "hill", "occupied", begins + minute, 1) for minute in range(0, 3 * 24 * 60, 720)),
        ("spot-8", "hill", "occupied", begins - 30, 0),
        ("spot-8", "hill", "occupied", begins + 29 * 60, 1),  # 6:00 in Berlin, one hour after the day began there
    ]
    clickhouse.insert("city_readings", readings(*rows), "change")
    return {"start": start.isoformat(), "end": (start + timedelta(days=3)).isoformat(), "district": "hill"}


def in_berlin(*day, hour=5):
    return int(datetime(*day, hour, tzinfo=BERLIN).timestamp() * 1000)


def test_days_of_lights_and_parking_begin_by_the_clocks_of_a_zone(clickhouse, week_of_a_change):
    days = [in_berlin(2026, 10, day) for day in (23, 24, 25, 26)]
    hours = [3, 25, 24, 20]
    lights = ask(clickhouse, "lights", step="day", day_starts="05:00 Europe/Berlin", **week_of_a_change)["rows"]
    assert [(row["at"], row["energy_kwh"]) for row in lights] == [
        (day, pytest.approx(of / 10)) for day, of in zip(days, hours, strict=True)
    ]
    parking = ask(clickhouse, "parking", step="day", day_starts="05:00 Europe/Berlin", **week_of_a_change)["rows"]
    assert [row["at"] for row in parking] == days
    assert [row["arrivals"] for row in parking] == [0, 0, 1, 0]
    assert parking[1]["occupancy"] == pytest.approx(25 / (25 + 20.5))  # spot-8 said that it is free until 23:30 UTC


def test_what_spans_days_of_a_zone_is_divided_among_them_whole(clickhouse, week_of_a_change):
    whole = ask(clickhouse, "lights", step="all", **week_of_a_change)["rows"]
    for zone in ("Europe/Berlin", "Pacific/Auckland", "America/St_Johns", "UTC"):
        for begins in ("00:00", "06:30"):
            days = ask(clickhouse, "lights", step="day", day_starts=f"{begins} {zone}", **week_of_a_change)["rows"]
            assert sum(row["energy_kwh"] for row in days) == pytest.approx(whole[0]["energy_kwh"])
            assert all(row["energy_kwh"] >= 0 for row in days)
