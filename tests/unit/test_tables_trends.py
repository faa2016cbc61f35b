import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables import aggregates, trends
from tables.windows import Windowing

MINUTE = 60_000
SPEC = Windowing(keys=("device_id",), pane_ms=MINUTE, windows_ms=(MINUTE,), disorder_ms=0, lateness_ms=0)
LIMIT = pl.lit(100.0)


def pane(minute, **readings):
    """A minute's aggregate of each device's readings, evenly spaced."""
    rows = [
        {"device_id": device, "value": float(value), "timestamp": minute * MINUTE + number * 1000}
        for device, values in readings.items()
        for number, value in enumerate(values)
    ]
    return pl.DataFrame(rows).group_by("device_id").agg(*aggregates.measure("value", "timestamp"))


def follow(*minutes, known=None, first=0):
    """The trends after minutes of one device, each with the mean given and some noise around it."""
    known = trends.nothing(SPEC) if known is None else known
    for minute, mean in enumerate(minutes, first):
        known = trends.advance(SPEC, known, pane(minute, press=[mean - 0.5, mean + 0.5]), minute * MINUTE)
    return known


def rising(minutes, slope=1.0, start=20.0):
    return [start + slope * minute for minute in range(minutes)]


def test_a_steady_rise_is_followed_with_its_slope():
    (row,) = follow(*rising(240)).rows(named=True)
    assert row["slope"] == pytest.approx(1, abs=0.01)
    assert row["level"] == pytest.approx(259, abs=0.1)
    assert row["change"] == pytest.approx(1)


def test_one_outlier_hardly_bends_the_trend():
    bent = follow(*rising(120), 1000.0, *rising(5, start=141))
    assert bent["slope"].item() == pytest.approx(follow(*rising(126))["slope"].item(), abs=0.1)


def test_a_jump_that_stays_moves_the_level_and_leaves_no_slope():
    (row,) = follow(*[20.0] * 60, *[60.0] * 3).rows(named=True)
    assert (row["level"], row["slope"], row["panes"]) == (60, 0, trends.JUMP_PANES)


def test_the_scale_is_that_of_the_errors_and_never_less_than_a_quarter_of_the_noise_within_a_minute():
    assert follow(*[20.0] * 200)["scale"].item() == pytest.approx(0.25 * 0.5)
    shaken = follow(*[20 + 3 * math.sin(10 * minute) for minute in range(400)])
    assert 1.5 < shaken["scale"].item() < 4


def test_a_sensor_without_readings_keeps_its_trend_while_others_move_on():
    both = trends.advance(SPEC, trends.nothing(SPEC), pane(0, press=[1, 2], mill=[3, 4]), 0)
    after = trends.advance(SPEC, both, pane(1, mill=[5, 6]), MINUTE)
    assert after.filter(device_id="press").equals(both.filter(device_id="press"))
    assert after.filter(device_id="mill")["mean"].item() == 5.5


def test_a_value_is_constant_since_the_readings_that_brought_it():
    known = trends.nothing(SPEC)
    for minute, readings in enumerate([[1, 2, 2], [2, 2], [2, 2], [2, 2, 3], [3, 3], [4, 4]]):
        known = trends.advance(SPEC, known, pane(minute, press=readings), minute * MINUTE)
        since = known["constant_since"].item()
        assert since == [2000, 2000, 2000, 182_000, 182_000, 300_000][minute]


def test_after_a_silence_the_slope_counts_for_as_long_as_it_was():
    (row,) = follow(30.0, known=follow(*rising(200, start=0)), first=210).rows(named=True)
    assert row["change"] == pytest.approx((30 - 199) / 11)


def test_a_sensor_that_was_silent_for_a_day_is_forgotten():
    known = follow(20.0)
    last_at = known["last_at"].item()
    assert trends.remembered(known, last_at + trends.FORGOTTEN_MS - 1).height == 1
    assert trends.remembered(known, last_at + trends.FORGOTTEN_MS).height == 0


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["press", "mill", "lathe"]), st.lists(st.floats(-100, 100), min_size=1, max_size=4)), max_size=8
    )
)
def test_sensors_do_not_touch_each_other(minutes):
    together, apart = trends.nothing(SPEC), {device: trends.nothing(SPEC) for device in ("press", "mill", "lathe")}
    for minute, readings in enumerate(minutes):
        if readings:
            together = trends.advance(SPEC, together, pane(minute, **readings), minute * MINUTE)
        for device, values in readings.items():
            apart[device] = trends.advance(SPEC, apart[device], pane(minute, **{device: values}), minute * MINUTE)
    assert together.equals(pl.concat(apart.values()).sort("device_id"))


def test_confidence_is_that_of_meeting_the_limit_and_none_while_the_trend_is_young():
    def sure(known, panes=20):
        return known.select(trends.confidence(LIMIT, panes)).item()

    assert sure(follow(*rising(trends.WARM_UP_PANES - 1, start=80))) == 0
    assert sure(follow(*[50.0] * 60)) < 0.01
    assert sure(follow(*rising(55))) < 0.2 < 0.8 < sure(follow(*rising(70)))
    assert sure(follow(*rising(70)), 5) < 0.01


def test_the_limit_is_met_when_the_line_gets_there_and_never_by_one_that_falls():
    def until(known):
        return known.select(trends.panes_until(LIMIT)).item()

    assert until(follow(*rising(66))) == pytest.approx(15, abs=1)
    assert until(follow(*rising(100))) == 0
    assert until(follow(*rising(60, slope=-1.0))) is None
    assert until(follow(*[20.0] * 60, 20.0001)) is None
