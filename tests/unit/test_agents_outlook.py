import math
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.alerts import Origin
from agents.factory.domain import FACTORY, NOTICE_MINUTES
from agents.outlook import Outlook
from tables import aggregates

MINUTE = 60_000
START = 29_333_333 * MINUTE
SPEC = FACTORY.windowing


def pane(minute, **readings):
    """A minute's aggregate of the temperature of each device."""
    rows = [
        {"device_id": device, "sensor_type": "temperature", "value": float(value), "timestamp": START + minute * MINUTE + number * 1000}
        for device, values in readings.items()
        for number, value in enumerate(values)
    ]
    return pl.DataFrame(rows).group_by(*SPEC.keys).agg(*aggregates.measure("value", "timestamp"))


def panes(means, spread=0.5):
    """Minutes of one device and of another, which is always well."""
    return {
        START + minute * MINUTE: pane(minute, press=[] if mean is None else [mean - spread, mean + spread], mill=[20 - minute % 2, 21])
        for minute, mean in enumerate(means)
    }


def told(outlook, found, given_up=math.inf):
    """Rule, status and minute of the alerts, and the alerts."""
    alerts, _ = outlook.advance(found, given_up)
    rows = alerts.select("rule", "status", (pl.col("changed_at") - START) // MINUTE).rows()
    return rows, alerts


@pytest.fixture
def outlook():
    return Outlook(FACTORY, Origin("acme", "factory"))


def worn(minutes, slope=1.0):
    return [70.0] * 30 + [70 + slope * minute for minute in range(minutes)]


def test_a_wearing_machine_is_warned_of_before_it_fails_and_cleared_as_come_true_when_it_does(outlook):
    rows, alerts = told(outlook, panes(worn(90)))
    assert [row[:2] for row in rows] == [("critical-expected", "RAISED"), ("critical-expected", "CLEARED")]
    warned, failed = alerts.rows(named=True)
    fails_at = START + 111 * MINUTE  # the end of the minute whose maximum is the first above 150
    assert failed["changed_at"] == fails_at
    assert 15 * MINUTE < fails_at - warned["changed_at"] <= NOTICE_MINUTES * MINUTE
    assert warned["expected_at"] == pytest.approx(fails_at, abs=3 * MINUTE)
    assert 0.8 <= warned["confidence"] < 1 == failed["confidence"]
    assert "expected at 150 in 2" in warned["message"]
    assert outlook.forecasts == {"raised": 1, "came-true": 1, "withdrawn": 0}


def test_a_forecast_that_does_not_come_true_is_withdrawn_and_counted(outlook):
    rows, alerts = told(outlook, panes([*worn(65), *[134.0] * 60]))
    assert [row[:2] for row in rows] == [("critical-expected", "RAISED"), ("critical-expected", "CLEARED")]
    assert alerts["confidence"][1] < 0.4
    assert outlook.forecasts == {"raised": 1, "came-true": 0, "withdrawn": 1}


def test_a_change_of_shift_is_no_wear_and_a_fast_change_says_so(outlook):
    rows, _ = told(outlook, panes([70.0] * 40 + [86.0] * 40 + [130.0] * 40))
    assert rows == [("changing-fast", "RAISED", 81), ("changing-fast", "CLEARED", 82)]


def test_a_sensor_that_does_not_move_for_15_minutes_is_stuck_until_it_does(outlook):
    rows, _ = told(outlook, panes([70.0] * 20, spread=0) | {START + 20 * MINUTE: pane(20, press=[70, 70.1, 70.2])})
    assert rows == [("stuck", "RAISED", 16), ("stuck", "CLEARED", 21)]


def test_a_sensor_that_is_silent_while_others_are_not_is_missing_after_5_minutes(outlook):
    rows, _ = told(outlook, panes([70.0] * 3 + [None] * 10 + [70.0]))
    assert rows == [("missing", "RAISED", 8), ("missing", "CLEARED", 14)]


def test_a_sensor_that_was_taken_away_is_missing_for_a_day(outlook):
    told(outlook, panes([70.0] * 3 + [None] * 6))
    rows, _ = told(outlook, {START + minute * MINUTE: pane(minute, mill=[20, 21]) for minute in (1441, 1442, 1443)})
    assert rows == [("missing", "CLEARED", 1443)]
    assert outlook.trends["device_id"].to_list() == ["mill"]


def test_a_pane_is_judged_when_no_reading_can_change_it_any_more(outlook):
    found = panes([70.0] * 3)
    outlook.advance(found, START + 2 * MINUTE - 1)
    assert outlook.reached == START + MINUTE
    outlook.advance(found, START + 2 * MINUTE)
    assert outlook.reached == START + 2 * MINUTE


def attempt(work):
    try:
        return work()
    except ZeroDivisionError as error:
        return error


def crashing(where):
    """The factory with a rule that crashes over panes that hold such a mean, in front of its own."""

    def crash(mean):
        if where(mean):
            raise ZeroDivisionError
        return False

    raises = pl.col("mean").map_elements(crash, return_dtype=pl.Boolean, skip_nulls=False)
    return replace(FACTORY, trend_rules=[replace(FACTORY.trend_rules[0], name="crashing", raises=raises), *FACTORY.trend_rules])


def test_a_rule_that_crashes_does_not_judge_the_pane_and_costs_the_other_rules_and_panes_nothing(outlook):
    found = panes(worn(90))
    expected, _ = told(outlook, found)
    other = Outlook(crashing(lambda mean: mean > 150), Origin("acme", "factory"))
    alerts, families = other.advance(found, math.inf, attempt)
    assert alerts.select("rule", "status", (pl.col("changed_at") - START) // MINUTE).rows() == expected
    assert other.crashes == {"crashing": sum(mean > 150 for mean in worn(90))}
    assert other.trends.equals(outlook.trends)
    again = Outlook(crashing(lambda _: True), Origin("acme", "factory"))
    again.recover(other.facts, families)
    assert again.crashes == other.crashes


def test_an_episode_is_as_it_was_where_its_rule_crashes():
    always = Outlook(crashing(lambda _: True), Origin("acme", "factory"))
    found = panes(worn(90))
    alerts, _ = always.advance(found, math.inf, attempt)
    assert "crashing" not in alerts["rule"]
    assert always.crashes == {"crashing": len(found)}
    assert not any(key.rule == "crashing" for key in always.episodes)


MEANS = st.lists(st.one_of(st.none(), st.sampled_from([70.0, 140.0]), st.floats(-40, 200)), min_size=1, max_size=40)


@settings(max_examples=15)
@given(MEANS, st.lists(st.integers(0, 40), max_size=4))
def test_how_often_it_is_asked_and_what_a_crash_takes_change_nothing(means, asked):
    """Every asking is followed by a crash, and another outlook goes on from what the first left."""
    found = panes([*worn(40), *means, *worn(20, slope=3.0)])
    whole = Outlook(FACTORY, Origin("acme", "factory"))
    expected, _ = whole.advance(found, math.inf)
    known, families, alerts = Outlook(FACTORY, Origin("acme", "factory")), {}, []
    for minute in [*sorted(asked), 1000]:
        some, changed = known.advance(found, START + (70 + minute) * MINUTE)
        alerts.append(some)
        families |= changed
        facts, known = known.facts, Outlook(FACTORY, Origin("acme", "factory"))
        known.recover(facts, families)
    assert pl.concat(alerts).equals(expected)
    assert known.trends.equals(whole.trends)
    assert (known.facts, known.episodes) == (whole.facts, whole.episodes)
