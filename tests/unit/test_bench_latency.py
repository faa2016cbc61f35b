import polars as pl
import pytest

from bench.latency import WARM_UP_SECONDS, match, percentiles
from bench.measure import BenchError
from bench.pace import Load

LOAD = Load(kafka="", schema_id=1, rate=1000, seconds=WARM_UP_SECONDS + 10, start=1000.0)


def sent(*due: float) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "device_id": [f"device-{n}" for n in range(len(due))],
            "sensor_type": "pressure",
            "timestamp": [int(at * 1000) for at in due],
            "due": due,
            "sent": [at + 0.002 for at in due],
        }
    )


def alerts(*rows: tuple[str, int, str, float]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["device_id", "changed_at", "status", "arrived"], orient="row")
    return frame.with_columns(subject=pl.lit("pressure"))


def test_an_alert_is_matched_by_device_sensor_and_event_time() -> None:
    found = match(sent(1020.0, 1021.0), alerts(("device-1", 1_021_000, "RAISED", 1021.5), ("device-0", 1_020_001, "RAISED", 1020.1)))

    assert found["arrived"].to_list() == [None, 1021.5]


def test_a_clearing_is_no_alert_and_a_repeated_alert_counts_once() -> None:
    arrivals = alerts(
        ("device-0", 1_020_000, "CLEARED", 1020.1), ("device-0", 1_020_000, "REOPENED", 1020.7), ("device-0", 1_020_000, "REOPENED", 1020.4)
    )

    assert match(sent(1020.0), arrivals)["arrived"].to_list() == [1020.4]


def test_percentiles_leave_out_the_warm_up_and_missing_alerts_do_not() -> None:
    found = sent(1001.0, 1002.0, 1020.0, 1021.0).with_columns(arrived=pl.Series([1009.0, None, 1020.25, 1021.5]))

    figures = percentiles(LOAD, found)

    assert (figures.alerts, figures.missing) == (4, 1)
    assert figures.p50_ms == pytest.approx(500)
    assert figures.max_ms == pytest.approx(500)
    assert figures.behind_ms == pytest.approx(2)


def test_no_alert_at_all_is_an_error_and_not_a_latency() -> None:
    with pytest.raises(BenchError, match="none of 1"):
        percentiles(LOAD, sent(1020.0).with_columns(arrived=pl.lit(None, pl.Float64)))
