from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from agents.factory.sensors import LIMITS
from schemas.catalog import ALERTS, READINGS
from streams.clickhouse import ClickHouse
from streams.rollups import Rollup, questions
from tests.unit.test_streams_history import sample

DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)
START = int(DAY.timestamp() * 1000)
HOUR = 3_600_000
LINES = {
    "press-1": ("plant-1", "line-1"),
    "mill-1": ("plant-1", "line-1"),
    "press-2": ("plant-2", "line-1"),
    "saw-2": ("plant-2", "line-2"),
}


def shift_of(hour):
    return ("early", "late", "night")[(hour - 6) % 24 // 8]


def readings():
    """Two days of four machines on three lines, a reading every ten minutes; the saw's every fifth is critical."""
    rows = [
        {
            "device_id": device,
            "sensor_type": sensor,
            "value": 160.0 if device == "saw-2" and sensor == "temperature" and tenth % 5 == 0 else 100.0 + tenth % 6,
            "timestamp": START + tenth * HOUR // 6,
            "location": "",
            "metadata": [{"key": "production_line", "value": line}, {"key": "shift", "value": shift_of(tenth // 6)}],
            "plant": plant,
        }
        for device, (plant, line) in LINES.items()
        for sensor in ("temperature", "pressure")
        for tenth in range(2 * 24 * 6)
    ]
    frame = pl.DataFrame(rows).cast({"metadata": READINGS.codec.columns["metadata"], "timestamp": pl.Datetime("ms", "UTC")})
    return frame.with_row_index("offset").with_columns(pl.col("offset").cast(pl.Int64), partition=pl.lit(0, pl.Int32))


def alert(alert_id, device, hour, **fields):
    at = DAY + timedelta(hours=hour)
    told = {"alert_id": alert_id, "device_id": device, "subject": "temperature", "raised_at": at, "changed_at": at, "confidence": None}
    return sample(ALERTS, **{**told, **fields})


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory):
    """Half of the readings are there twice, as after a crash; so is an alert, and another has several changes."""
    clickhouse = ClickHouse("", tmp_path_factory.mktemp("clickhouse"))
    clickhouse.insert("readings", readings(), "once")
    clickhouse.insert("readings", readings().tail(1000), "again")
    alerts = [
        alert("a", "press-1", 8),
        alert("b", "press-1", 14),
        alert("b", "press-1", 14, status="CLEARED", changed_at=DAY + timedelta(hours=15)),
        alert("c", "saw-2", 30.5),
        alert("d", "saw-2", 47.99, subject="pressure"),
        alert("e", "stranger", 8),
    ]
    for copy in "12":
        for number, row in enumerate(alerts):
            clickhouse.insert("alerts", row, f"{number}-{copy}")
    yield clickhouse
    clickhouse.close()


def ask(clickhouse, **parameters):
    """Rows of the answer, asked as a query string asks it."""
    (question,) = questions(clickhouse, lambda: LIMITS)
    usual = {"start": DAY.isoformat(), "end": (DAY + timedelta(days=2)).isoformat()}
    answer = question.answer(question.model.model_validate(usual | {name: str(value) for name, value in parameters.items()}))
    return answer["rows"], answer["next"]


def expected(*groups, step=24 * HOUR, origin=0):
    """What Polars makes of the readings."""
    hours = pl.col("timestamp").dt.epoch("ms") // HOUR % 24
    frame = readings().with_columns(
        pl.col("timestamp").dt.epoch("ms"),
        line=pl.col("device_id").replace_strict({device: line for device, (_, line) in LINES.items()}),
        shift=hours.replace_strict({hour: shift_of(hour) for hour in range(24)}),
    )
    critical = pl.col("value") > pl.when(pl.col("sensor_type") == "temperature").then(150).otherwise(800)
    at = (pl.col("timestamp") - origin) // step * step + origin
    value = pl.col("value")
    statistics = {"readings": pl.len(), "mean": value.mean(), "min": value.min(), "max": value.max(), "critical_share": critical.mean()}
    return frame.group_by(at.alias("at"), *groups, sensor="sensor_type").agg(**statistics).sort("at", *groups, "sensor")


def assert_same(rows, frame):
    found = pl.DataFrame(rows).drop("alerts")
    assert_frame_equal(found, frame.select(found.columns), check_dtypes=False)


@pytest.mark.parametrize(("by", "groups"), [("line", ["plant", "line"]), ("shift", ["shift"]), ("line,shift", ["plant", "line", "shift"])])
@pytest.mark.parametrize(("step", "step_ms"), [("hour", HOUR), ("day", 24 * HOUR)])
def test_a_rollup_is_of_its_readings_each_counted_once(clickhouse, by, groups, step, step_ms):
    rows, more = ask(clickhouse, by=by, step=step, limit=10_000)
    assert_same(rows, expected(*groups, step=step_ms))
    assert more is None


BERLIN = ZoneInfo("Europe/Berlin")
DAYS = [datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None) + timedelta(days=number) for number in range(400)]
CHANGES = [day for day in DAYS if (day + timedelta(days=1)).replace(tzinfo=BERLIN).utcoffset() != day.replace(tzinfo=BERLIN).utcoffset()]
"""The days to come on which the clocks in Berlin are changed: what is older than 90 days is not kept."""


@pytest.fixture(scope="module")
def weeks(clickhouse):
    """With a reading every half hour of the days around those."""
    rows = [
        {"device_id": "press-1", "sensor_type": "pressure", "value": 1.0}
        | {"timestamp": day.replace(tzinfo=UTC) + timedelta(days=-1, minutes=30 * step)}
        | {"location": "", "plant": "plant-1", "metadata": [{"key": "production_line", "value": "line-1"}]}
        for day in CHANGES
        for step in range(4 * 48)
    ]
    frame = pl.DataFrame(rows).cast({"metadata": READINGS.codec.columns["metadata"], "timestamp": pl.Datetime("ms", "UTC")})
    numbered = frame.with_row_index("offset").with_columns(pl.col("offset").cast(pl.Int64), partition=pl.lit(0, pl.Int32))
    clickhouse.insert("readings", numbered, "weeks")
    return clickhouse


@pytest.mark.parametrize("said", ["06:00 Europe/Berlin", "06:00[Europe/Berlin]"])
@pytest.mark.parametrize("day", CHANGES)
def test_days_begin_by_the_clocks_of_a_zone_through_their_changes(weeks, said, day):
    before, change, end = ((day + timedelta(days=number, hours=6)).replace(tzinfo=BERLIN).astimezone(UTC) for number in (-1, 0, 1))
    rows, _ = ask(weeks, by="line", day_starts=said, start=before.isoformat(), end=end.isoformat())
    assert [row["at"] for row in rows] == [int(at.timestamp() * 1000) for at in (before, change)]
    # the night of the change belongs to the day that began before it, of 23 hours or 25
    assert [row["readings"] for row in rows] == [(change - before) // timedelta(minutes=30), 48]
    assert {change - before} <= {timedelta(hours=23), timedelta(hours=25)}


def test_hours_of_a_zone_are_hours(weeks):
    begin = CHANGES[0].replace(tzinfo=UTC)
    asked = {"start": begin.isoformat(), "end": (begin + timedelta(hours=4)).isoformat()}
    rows, _ = ask(weeks, by="line", step="hour", day_starts="06:00 Europe/Berlin", **asked)
    assert [row["at"] for row in rows] == [int(begin.timestamp() * 1000) + hour * HOUR for hour in range(4)]


def test_with_the_day_starting_with_the_night_shift_each_night_is_of_one_day(clickhouse):
    rows, _ = ask(clickhouse, by="shift", day_starts="22:00")
    assert rows == ask(clickhouse, by="shift", day_starts="06:00+08:00")[0]
    assert_same(rows, expected("shift", origin=-2 * HOUR))
    nights = [row["at"] for row in rows if (row["shift"], row["sensor"]) == ("night", "pressure")]
    assert nights == [START - 2 * HOUR, START + 22 * HOUR, START + 46 * HOUR]


def test_all_of_the_time_is_one_step(clickhouse):
    rows, _ = ask(clickhouse, by="line", step="all", start=DAY + timedelta(minutes=10))
    assert {row["at"] for row in rows} == {START + 600_000}
    assert [row["readings"] for row in rows] == [2 * 287, 2 * 287, 287, 287, 287, 287]


def test_filters_leave_the_rows_of_what_they_name(clickhouse):
    whole, _ = ask(clickhouse, step="hour", limit=10_000)
    for named in (
        {"plant": "plant-1"},
        {"line": "line-1"},
        {"shift": "late"},
        {"sensor": "pressure"},
        {"plant": "plant-2", "line": "line-1"},
    ):
        rows, _ = ask(clickhouse, step="hour", limit=10_000, **named)
        assert rows == [row for row in whole if named.items() <= row.items()]
    assert ask(clickhouse, line="' OR 1=1 --") == ([], None)


def test_alerts_are_counted_once_where_their_machine_was_when_they_were_raised(clickhouse):
    rows, _ = ask(clickhouse, step="day")
    found = {(row["at"], row["line"], row["shift"], row["sensor"]): row["alerts"] for row in rows if row["alerts"]}
    assert found == {
        (START, "line-1", "early", "temperature"): 1,
        (START, "line-1", "late", "temperature"): 1,
        (START + 24 * HOUR, "line-2", "early", "temperature"): 1,
        (START + 24 * HOUR, "line-2", "night", "pressure"): 1,
    }


def test_an_alert_of_a_machine_that_has_fallen_silent_is_told_without_statistics(clickhouse):
    clickhouse.insert("alerts", alert("f", "gone", 5, rule="missing"), "f")
    clickhouse.insert("readings", readings().head(1).with_columns(device_id=pl.lit("gone"), offset=pl.lit(10**6)), "gone")
    rows, _ = ask(clickhouse, step="hour", line="line-1", end=DAY + timedelta(hours=6), sensor="temperature")
    assert {row["at"]: row["alerts"] for row in rows if row["alerts"]} == {START + 5 * HOUR: 1}


NAMES = st.text(min_size=1, max_size=9) | st.sampled_from(["'", "\\", "%s", "{line:String}"])


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.sampled_from(["plant", "line", "shift", "sensor"]), NAMES))
def test_whatever_is_named_is_a_name_and_never_part_of_the_query(clickhouse, named):
    assert ask(clickhouse, step="all", **named)[0] == ([] if named else ask(clickhouse, step="all")[0])


def test_pages_follow_each_other_and_the_last_says_so(clickhouse):
    whole, _ = ask(clickhouse, limit=10_000)
    pages, offset = [], 0
    while offset is not None:
        page, offset = ask(clickhouse, limit=7, offset=offset)
        pages += page
    assert pages == whole


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"by": "machine"}, "'line', 'shift' or 'line,shift'"),
        ({"step": "week"}, "'hour', 'day' or 'all'"),
        ({"day_starts": "25:00"}, "valid time"),
        ({"day_starts": "25:00 Europe/Berlin"}, "hour must be in 0..23"),
        ({"day_starts": "06:00 Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        ({"limit": "0"}, "greater than or equal to 1"),
        ({"end": "1000-01-01T00:00:00Z"}, "greater than or equal to 1970"),
    ],
)
def test_a_wrong_question_says_what_is_wrong(asked, problem):
    with pytest.raises(ValidationError, match=problem):
        Rollup.model_validate(asked)
