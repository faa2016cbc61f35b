"""`python -m bench.queries`: how long the warehouse takes to answer, over ten million readings it stored as it does in life."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any, Final

import orjson
import polars as pl
from rich.console import Console
from rich.progress import track

from agents.factory.sensors import LIMITS
from bench import report
from deploy.simulate.fleet import fleet
from deploy.simulate.records import render
from deploy.simulate.signals import Signals
from schemas.catalog import ALERTS, READINGS
from streams import history, rollups
from streams.clickhouse import ClickHouse

SEED: Final = 1
DEVICES: Final = 20
DAY_SECONDS: Final = 86_400
SECONDS_AN_INSERT: Final = 1_800
REPETITIONS: Final = 20
# the table keeps 90 days
START: Final = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=2)
TYPES: Final = {"offset": pl.Int64, "timestamp": pl.Datetime("ms", "UTC"), "metadata": READINGS.codec.columns["metadata"]}


def fill(clickhouse: ClickHouse) -> int:
    """A day of six sensors of each device, one reading a second; the tenth part of the day twice, as after a crash. Returns the rows."""
    channels = fleet(DEVICES, SEED)
    signals = Signals(channels, SEED, int(START.timestamp() * 1000), 1000)
    offset = rows = 0
    for first in track(range(0, DAY_SECONDS, SECONDS_AN_INSERT), "storing ten million readings", console=Console(stderr=True)):
        moments = signals.readings(first, SECONDS_AN_INSERT)
        frame = render(channels, moments.with_columns(sent_at="timestamp", fault=pl.lit(None, pl.String)))
        frame = frame.with_row_index("offset", offset).with_columns(partition=pl.lit(0, pl.Int32)).cast(TYPES)
        offset += frame.height
        for copy in range(1 + (first % (10 * SECONDS_AN_INSERT) == 0)):
            clickhouse.insert("readings", frame, f"{first}-{copy}")
            rows += frame.height
    clickhouse.insert("alerts", alerts(), "alerts")
    return rows


def alerts() -> pl.DataFrame:
    """One of each machine an hour."""
    hours = pl.DataFrame({"raised_at": [START + timedelta(hours=hour, minutes=20) for hour in range(24)]})
    raised = fleet(DEVICES, SEED).select("device_id", subject="sensor_type").unique("device_id", keep="first").join(hours, how="cross")
    told = {name: dtype for name, dtype in ALERTS.codec.columns.items() if name not in raised.columns}
    blank = {name: pl.lit({pl.String: "", pl.Boolean: False}.get(dtype)).cast(dtype) for name, dtype in told.items()}
    return raised.with_columns(**blank).with_columns(alert_id=pl.format("{}-{}", "device_id", "raised_at"), changed_at="raised_at")


def ask(clickhouse: ClickHouse) -> list[dict[str, Any]]:
    """Median and 95th percentile of each question, as it is asked over HTTP, answer in JSON included."""
    device = fleet(DEVICES, SEED)["device_id"][0]
    day = {"start": START.isoformat(), "end": (START + timedelta(days=1)).isoformat()}
    hour = {"start": (START + timedelta(hours=7)).isoformat(), "end": (START + timedelta(hours=8)).isoformat()}
    asked = {
        "a device's day, in minutes": ("/api/history", day | {"device": device, "sensor": "temperature"}),
        "a line's hour": ("/api/traceability", hour | {"line": "line-1"}),
        "a line's day": ("/api/traceability", day | {"line": "line-1"}),
        "a line's day, rolled up by shift": ("/api/rollups", day | {"line": "line-1"}),
        "a line's day, rolled up by shift and hour": ("/api/rollups", day | {"line": "line-1", "step": "hour"}),
        "every line's day, rolled up by shift": ("/api/rollups", day),
    }
    by_path = {question.path: question for question in (*history.questions(clickhouse), *rollups.questions(clickhouse, lambda: LIMITS))}
    rows = []
    for name, (path, parameters) in asked.items():
        took = []
        for _ in range(REPETITIONS):
            started = time.perf_counter()
            answer = orjson.dumps(by_path[path].answer(by_path[path].model.model_validate(parameters)))
            took.append((time.perf_counter() - started) * 1000)
        rows.append({"question": name, "answer_kb": len(answer) / 1000, "median_ms": median(took), "p95_ms": quantiles(took, n=20)[-1]})
    return rows


def main() -> None:
    """Run, keep the figures, and write them into `bench/RESULTS.md`."""
    with TemporaryDirectory() as folder:
        clickhouse = ClickHouse("", Path(folder))
        rows = fill(clickhouse)
        found = {"rows": rows, "distinct": DEVICES * 6 * DAY_SECONDS, "repetitions": REPETITIONS, "questions": ask(clickhouse)}
        clickhouse.close()
    report.keep("queries", found)
    for row in found["questions"]:
        print(f"{row['question']}: median {row['median_ms']:.0f} ms, p95 {row['p95_ms']:.0f} ms, {row['answer_kb']:.0f} kB")


if __name__ == "__main__":
    main()
