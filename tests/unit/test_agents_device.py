import polars as pl
import pytest

from agents.device import directory, view
from agents.factory.domain import FACTORY
from agents.watch import Watch
from tests.unit.test_agents_watch import MINUTE, START, changelog, observe, reading


@pytest.fixture
def watch():
    return Watch(FACTORY, "acme")


def test_a_device_is_known_by_its_latest_values_and_its_open_windows(watch):
    pressure = {"sensor_type": "pressure"}
    observe(watch, 0, reading(10, 20.0), reading(50, 30.0), reading(20, 500.0, **pressure), reading(70, 40.0), reading(0, device="mill"))
    watch.settle()
    found = view(watch, "press")
    assert (found["device"], found["offset"], found["watermark"]) == ("press", 5, START + 65_000)
    assert found["values"] == [
        {"sensor_type": "pressure", "value": 500.0, "at": START + 20_000},
        {"sensor_type": "temperature", "value": 40.0, "at": START + 70_000},
    ]
    minute, *ten_minutes = [window for window in found["windows"] if window["sensor_type"] == "temperature"]
    assert (minute["window_seconds"], minute["window_start"], minute["count"], minute["mean"]) == (60, START + MINUTE, 1, 40.0)
    assert [(window["window_seconds"], window["count"], window["mean"]) for window in ten_minutes] == [(600, 3, 30.0)]


def test_a_device_that_was_never_met_is_not_known(watch):
    assert view(watch, "press") is None
    observe(watch, 0, reading(10))
    watch.settle()
    assert view(watch, "mill") is None


def test_what_is_observed_is_known_from_the_next_fold_on_its_alerts_at_once(watch):
    observe(watch, 0, reading(10, 20.0))
    watch.settle()
    (raised,) = observe(watch, 1, reading(20, 170.0)).alerts.rows(named=True)
    cut = watch.cut()
    found = view(watch, "press")
    assert [value["value"] for value in found["values"]] == [20.0]
    (alert,) = found["alerts"]
    assert {name: raised[name] for name in alert} == alert
    watch.fold(cut)
    assert [value["value"] for value in view(watch, "press")["values"]] == [170.0]
    observe(watch, 2, reading(30, 20.0))
    assert view(watch, "press")["alerts"] == []


def test_what_was_known_is_known_again_after_recovery(watch):
    observe(watch, 0, *(reading(second, 20.0 + second % 7) for second in range(0, 300, 5)), reading(299, 170.0))
    settled = watch.settle()
    successor = Watch(FACTORY, "acme")
    successor.recover(changelog(settled.checkpoint))
    assert view(watch, "press") is not None
    assert view(successor, "press") == view(watch, "press")
    assert directory(successor).equals(directory(watch))


def test_a_trend_tells_when_the_sensor_is_expected_to_be_critical_and_how_sure_it_is(watch):
    worn = [70.0] * 30 + [70 + minute for minute in range(70)]
    observe(watch, 0, *(reading(60 * minute + second, mean + second / 60) for minute, mean in enumerate(worn) for second in (10, 40)))
    watch.settle()
    found = view(watch, "press")
    (trend,) = found["trends"]
    assert trend["mean"] == pytest.approx(70 + 68 + 25 / 60, abs=1)
    assert trend["slope_per_minute"] == pytest.approx(1, abs=0.2)
    (forecast,) = found["forecasts"]
    assert (forecast["rule"], forecast["threshold"]) == ("critical-expected", 150)
    assert forecast["confidence"] > 0.8
    assert forecast["expected_at"] == pytest.approx(START + 110 * MINUTE, abs=5 * MINUTE)
    assert [alert["rule"] for alert in found["alerts"]] == ["critical-expected"]


def test_a_sensor_that_has_been_silent_for_hours_is_known_by_its_trend(watch):
    observe(watch, 0, reading(10, 20.0))
    watch.settle()
    observe(watch, 1, reading(4 * 3600, device="mill"))
    watch.settle()
    found = view(watch, "press")
    assert found["values"] == [{"sensor_type": "temperature", "value": 20.0, "at": START + 10_000}]
    assert found["windows"] == []


def test_the_directory_counts_sensors_and_open_alerts(watch):
    observe(
        watch, 0, reading(10, device="press"), reading(20, 170.0, device="mill"), reading(30, 900.0, device="mill", sensor_type="pressure")
    )
    watch.settle()
    assert directory(watch).rows() == [("mill", 2, START + 30_000, 2), ("press", 1, START + 10_000, 0)]


def test_nothing_is_known_of_an_empty_partition(watch):
    assert directory(watch).is_empty()
    assert directory(watch).schema == {"device": pl.String, "sensors": pl.UInt32, "last_at": pl.Int64, "alerts": pl.Int64}


def test_what_is_known_stays_as_it_is_while_the_watch_goes_on(watch):
    observe(watch, 0, reading(10, 20.0))
    watch.settle()
    seen = watch.snapshot
    before = dict(seen.panes)
    observe(watch, 1, reading(20, 30.0), reading(60 * 60, 30.0))
    watch.settle()
    assert dict(seen.panes) == before
    assert watch.snapshot.panes.keys() != before.keys()
