import time
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from pydantic import ValidationError

from schemas.catalog import ALERTS, READINGS, WINDOWS
from streams.clickhouse import ClickHouse
from streams.history import MOST_POINTS, History, Trace, questions

DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=2)
START = int(DAY.timestamp() * 1000)
MINUTE = 60_000


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory):
    """Two presses on two lines, a reading each 10 s of an hour; the second hour's last third twice, product p-7 for ten minutes."""
    clickhouse = ClickHouse("", tmp_path_factory.mktemp("clickhouse"))
    rows = [
        {
            "device_id": f"press-{line}",
            "sensor_type": "temperature",
            "value": 20.0 + line + second / 3600,
            "timestamp": START + second * 1000,
            "location": f"hall-{line}",
            "metadata": {"production_line": f"line-{line}", "shift": "early" if second < 1800 else "late"}
            | ({"product": "p-7"} if line == 1 and 600 <= second < 1200 else {}),
            "plant": f"plant-{line}",
        }
        for line in (1, 2)
        for second in range(0, 3600, 10)
    ]
    entries = [[{"key": key, "value": value} for key, value in row["metadata"].items()] for row in rows]
    readings = pl.DataFrame([{**row, "metadata": found} for row, found in zip(rows, entries, strict=True)])
    readings = readings.cast({"metadata": READINGS.codec.columns["metadata"]}).with_row_index("offset").cast({"offset": pl.Int64})
    readings = readings.with_columns(partition=pl.lit(0, pl.Int32), timestamp=pl.col("timestamp").cast(pl.Datetime("ms", "UTC")))
    clickhouse.insert("readings", readings, "a")
    clickhouse.insert("readings", readings.tail(100), "b")
    clickhouse.insert("windows", sample(WINDOWS, device_id="press-1", window_start=DAY, window_seconds=60, last_at=DAY, mean=21.0), "c")
    clickhouse.insert("alerts", sample(ALERTS, device_id="press-1", raised_at=DAY, changed_at=DAY, rule="hot", confidence=None), "d")
    yield clickhouse
    clickhouse.close()


def sample(contract, **fields):
    """One row of a contract."""
    values = {pl.String: "x", pl.Float64: 0.5, pl.Boolean: False, pl.Int32: 60, pl.Int64: 1}
    row = {name: fields.get(name, values.get(dtype)) for name, dtype in contract.codec.columns.items()}
    times = [name for name in ("raised_at", "changed_at", "window_start", "last_at") if name in row]
    frame = pl.DataFrame([row | dict.fromkeys({"expected_at"} & row.keys())]).cast(dict.fromkeys(times, pl.Datetime("ms", "UTC")))
    return frame.cast({"confidence": pl.Float64, "expected_at": pl.Datetime("ms", "UTC")} if "confidence" in row else {}).cast(
        {name: pl.Int32 for name, dtype in contract.codec.columns.items() if dtype == pl.Int32}
    )


def ask(clickhouse, path, **parameters):
    """The answer to a question, asked as a query string asks it."""
    (question,) = (question for question in questions(clickhouse) if question.path == path)
    usual = {"start": DAY.isoformat(), "end": (DAY + timedelta(hours=1)).isoformat()}
    return question.answer(question.model.model_validate(usual | {name: str(value) for name, value in parameters.items()}))


def test_a_sensors_history_is_its_readings_by_steps_each_counted_once(clickhouse):
    found = ask(clickhouse, "/api/history", device="press-1", sensor="temperature", step_seconds=600)
    assert [(point["at"], point["readings"]) for point in found["points"]] == [(START + n * 10 * MINUTE, 60) for n in range(6)]
    first = found["points"][0]
    assert (first["min"], first["max"], first["last"]) == (21, pytest.approx(21 + 590 / 3600), pytest.approx(21 + 590 / 3600))
    assert first["mean"] == pytest.approx(21 + 295 / 3600)


def test_the_start_is_in_the_span_and_the_end_is_not(clickhouse):
    found = ask(clickhouse, "/api/history", device="press-2", sensor="temperature", step_seconds=1, end=(DAY + timedelta(seconds=20)))
    assert [point["at"] - START for point in found["points"]] == [0, 10_000]


def test_a_device_nobody_knows_has_no_points(clickhouse):
    assert ask(clickhouse, "/api/history", device="' OR 1=1 --", sensor="temperature")["points"] == []


def test_a_line_is_traced_with_its_shifts_readings_windows_and_alerts(clickhouse):
    found = ask(clickhouse, "/api/traceability", line="line-1")
    assert found["shifts"] == ["early", "late"]
    assert [(row["device_id"], row["shift"], row["readings"]) for row in found["summary"]] == [
        ("press-1", "early", 180),
        ("press-1", "late", 180),
    ]
    assert len(found["readings"]) == 360
    assert found["windows"][0]["mean"] == 21
    assert [(alert["rule"], alert["changed_at"]) for alert in found["alerts"]] == [("hot", START)]
    assert found["next"] is None


def test_a_product_is_traced_to_the_readings_taken_while_it_was_made(clickhouse):
    found = ask(clickhouse, "/api/traceability", product="p-7")
    assert [reading["at"] - START for reading in found["readings"]] == list(range(600_000, 1_200_000, 10_000))
    assert {reading["location"] for reading in found["readings"]} == {"hall-1"}


def test_pages_follow_each_other_and_the_last_says_so(clickhouse):
    whole = ask(clickhouse, "/api/traceability", line="line-2")["readings"]
    pages, offset = [], 0
    while offset is not None:
        page = ask(clickhouse, "/api/traceability", line="line-2", limit=150, offset=offset)
        pages.append(page["readings"])
        offset = page["next"]
    assert [len(page) for page in pages] == [150, 150, 60]
    assert [reading for page in pages for reading in page] == whole


@pytest.mark.parametrize(
    ("model", "asked", "problem"),
    [
        (History, {"sensor": "x"}, "Field required"),
        (History, {"device": "x", "sensor": "x", "step_seconds": "0"}, "greater than or equal to 1"),
        (History, {"device": "x", "sensor": "x", "start": "yesterday"}, "valid datetime"),
        (History, {"device": "x", "sensor": "x", "start": "2026-03-02T00:00:00"}, "timezone"),
        (
            History,
            {"device": "x", "sensor": "x", "start": "2026-03-02T00:00:00Z", "end": "2026-03-01T00:00:00Z"},
            "start is not before end",
        ),
        (History, {"device": "x", "sensor": "x", "step_seconds": "1"}, f"86,400 points of 1 s, at most {MOST_POINTS:,}"),
        (History, {"device": "x", "sensor": "x", "devcie": "y"}, "Extra inputs"),
        (Trace, {}, "name a line or a product"),
        (Trace, {"line": "a", "product": "b"}, "one of them"),
        (Trace, {"line": "a", "limit": "1000000"}, "less than or equal to 10000"),
    ],
)
def test_a_wrong_question_says_what_is_wrong(model, asked, problem):
    with pytest.raises(ValidationError, match=problem):
        model.model_validate(asked)


def test_without_times_it_is_the_last_day():
    asked = Trace(line="line-1")
    assert asked.end.timestamp() == pytest.approx(time.time(), abs=60)
    assert (asked.end - asked.start).total_seconds() == pytest.approx(86_400, abs=1)
