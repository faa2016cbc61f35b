import math
from collections import defaultdict
from itertools import pairwise
from types import SimpleNamespace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.city.domain import CITY, RULES
from agents.city.guidelines import DISTRICTS, GUIDELINES, energy
from agents.city.sensors import LIMITS, SENSORS
from agents.domains import DOMAINS
from agents.rules import Severity, evaluate
from agents.watch import Watch
from schemas.rejects import Reason
from schemas.wire import encode

MINUTE, HOUR = 60_000, 3_600_000
START = 497_222 * HOUR
WRITERS = {7: CITY.source.codec, 8: DISTRICTS.source.codec}


def batch(domain, schema_id, rows, first=0):
    """Records of one partition."""
    usual = {"district": "", "data_type": "x", "tenant_id": "city", "message_id": "m", "station": "st", "origin": "o", "position": 0}
    usual["historical"] = False
    columns = domain.source.codec.columns
    frame = pl.DataFrame([{name: (usual | row)[name] for name in columns} for row in rows], columns)
    return SimpleNamespace(
        topic=domain.source.topic,
        partition=0,
        keys=[row["device_id"].encode() for row in rows],
        values=encode(domain.source.codec, schema_id, frame),
        timestamps=[row.get("arrival", row["timestamp"]) for row in rows],
        offsets=list(range(first, first + len(rows))),
    )


def conditions(**reading):
    """Which rules a reading raises."""
    row = {"device_id": "d", "timestamp": START, "arrival": START, "key": b"d", "row": 0, "district": "", "origin": "o", "position": 0}
    readings, rejects = CITY.sort_out(pl.DataFrame([row | reading]))
    assert not rejects
    found = evaluate(RULES, readings)
    return {name.removesuffix("/raises") for name in found.columns if name.endswith("/raises") and found[name][0]}


@pytest.mark.parametrize(
    ("sensor", "value", "rules"),
    [
        ("tilt_deg", 5.1, {"manhole-unsafe"}),
        ("tilt_deg", 5.0, set()),
        ("water_cm", 81.0, {"manhole-unsafe"}),
        ("gas_ppm", 4401.0, {"manhole-unsafe"}),
        ("open", 1.0, {"manhole-unsafe"}),
        ("open", 0.0, set()),
        ("fault", 1.0, {"light-faulty"}),
        ("unlit", 1.0, {"light-dark"}),
        ("density_per_km", 29.0, {"congested"}),
        ("no2", 401.0, {"above-critical"}),
        ("noise", 111.0, {"above-critical"}),
        ("occupied", 1.0, set()),
        ("on", 1.0, set()),
        ("humidity", 100.0, set()),
    ],
)
def test_a_measurement_above_what_is_critical_raises_the_rule_of_its_kind(sensor, value, rules):
    assert conditions(sensor_type=sensor, value=value) == rules


def test_manholes_are_critical_and_do_not_wait():
    (rule,) = (rule for rule in RULES if rule.name == "manhole-unsafe")
    assert (rule.severity, rule.hold_ms) == (Severity.CRITICAL, 0)


def test_what_no_sensor_can_measure_is_a_reject():
    row = {"device_id": "d", "timestamp": START, "arrival": START, "key": b"d", "row": 0, "district": "", "origin": "o", "position": 0}
    _, rejects = CITY.sort_out(pl.DataFrame([row | {"sensor_type": "pm25", "value": -1.0}, row | {"sensor_type": "smell", "value": 1.0}]))
    assert [reject.reason for reject in rejects] == [Reason.OUT_OF_RANGE, Reason.UNKNOWN_SENSOR]


def test_the_limits_could_be_an_operators_too():
    for sensor in SENSORS:
        assert sensor.minimum < sensor.critical <= sensor.maximum <= 8192
        assert sensor.fast > 0
    assert len({sensor.sensor_type for sensor in SENSORS}) == len(SENSORS) == len(LIMITS.rows)


def test_no_rule_is_named_twice_in_any_domain():
    for domain in DOMAINS.values():
        names = [rule.name for rule in (*domain.rules, *domain.trend_rules)]
        assert len(set(names)) == len(names)


def district(hours, sensor="pm25", every=HOUR // 4):
    """Measurements of two stations at the same moments, one value an hour; None: nothing is measured."""
    rows = [
        {"device_id": "riverside", "sensor_type": sensor, "value": value, "timestamp": START + number * HOUR + quarter, "station": station}
        for number, value in enumerate(hours)
        if value is not None
        for quarter in range(0, HOUR, every)
        for station in ("a", "b")
    ]
    return [row | {"position": position} for position, row in enumerate(rows)]


def told(rows):
    """Rule, status and hour of each alert of a district."""
    watch = Watch(DISTRICTS, "city")
    alerts = []
    for first in range(0, len(rows), 8):
        watch.observe(batch(DISTRICTS, 8, rows[first : first + 8], first), WRITERS, set())
        alerts += watch.settle().alerts.select("rule", "status", "changed_at", "value").rows()
    return [(rule, status, (at - START) / HOUR, round(value, 1)) for rule, status, at, value in alerts]


def test_an_hours_mean_above_its_guideline_is_told_of_when_the_hour_is_over_and_when_it_is_no_more():
    assert told(district([150, 210, 210, 190, 100, 100], "o3")) == [("o3-hour", "RAISED", 2, 210), ("o3-hour", "CLEARED", 5, 100)]


def test_a_days_mean_is_of_24_hours_of_which_18_are_there():
    hours = [16.0] * 20 + [1.0] * 10
    raised, cleared = told(district(hours))
    assert raised == ("pm25-day", "RAISED", 18, 16)
    # 24 hours up to the n-th have 20 at 16 at most and the rest at 1
    over = next(n for n in range(19, 31) if sum(hours[max(0, n - 24) : n]) / min(n, 24) <= 15)
    assert cleared[:3] == ("pm25-day", "CLEARED", over)
    assert told(district([16.0 if n % 3 else None for n in range(30)])) == []


def test_the_mean_of_noise_is_that_of_its_energy():
    def sums(levels):
        return [row | {"value": pl.select(energy(pl.lit(row["value"]))).item()} for row in district(levels, "noise")]

    # half of the time 74 dB and half of it 40 are 71 dB, although the mean of the levels is 57
    (raised,) = told(sums([74.0, 40.0] * 10))
    assert raised[:3] == ("noise-day", "RAISED", 18)
    assert told(sums([69.9] * 20)) == []


def test_guidelines_are_of_hours_that_windows_have():
    assert {row.hours * HOUR for row in GUIDELINES} == set(DISTRICTS.windowing.windows_ms)


READING = st.tuples(
    st.sampled_from(["a", "b"]), st.sampled_from(["open", "unlit", "pm25"]), st.integers(0, 1), st.integers(0, 40), st.integers(0, 2)
)


@st.composite
def replayed(draw):
    """Messages of three topics in a log, and the same log with parts of them written again, as after crashes."""
    now, positions, once = START, defaultdict(int), []
    for device, sensor, value, passing, topic in draw(st.lists(READING, min_size=1, max_size=25)):
        now += passing * 1000 * (10 if passing > 35 else 1)
        origin = f"topic-{topic}"
        positions[origin] += 1 + passing % 2
        place = {"origin": origin, "position": positions[origin]}
        once.append({"device_id": device, "sensor_type": sensor, "value": float(value * 300), "timestamp": now} | place)
    once = [row | {"value": min(row["value"], 1.0)} if row["sensor_type"] != "pm25" else row for row in once]
    log = []
    for row in once:
        log.append(row)
        if draw(st.integers(0, 3)) == 0:
            of_origin = [other for other in log if other["origin"] == row["origin"]]
            log += of_origin[-draw(st.integers(1, 4)) :]
    return once, log


def outcome(log, cuts, crash):
    """Alerts, windows and ledger that a log leaves, cut at some places into batches, with a worker that crashes at one of them."""
    watch, changelog, alerts, windows = Watch(CITY, "city"), {}, {}, {}
    bounds = sorted({0, len(log), *(cut for cut in cuts if cut < len(log))})
    for number, (first, end) in enumerate(pairwise(bounds)):
        observed = watch.observe(batch(CITY, 7, log[first:end], first), WRITERS, set())
        settled = watch.settle()
        for row in pl.concat([observed.alerts, settled.alerts]).iter_rows(named=True):
            alerts[row["alert_id"], row["status"], row["changed_at"]] = row["value"]
        for row in settled.windows.iter_rows(named=True):
            windows[row["device_id"], row["sensor_type"], row["window_seconds"], row["window_start"], row["revision"]] = row["mean"]
        changelog |= settled.checkpoint.buckets | dict([settled.checkpoint.manifest])
        if number == crash:
            watch = Watch(CITY, "city")
            watch.recover(changelog)
    return alerts, windows, watch.counts


@settings(max_examples=40, deadline=None)
@given(replayed(), st.lists(st.integers(1, 60), max_size=4), st.integers(0, 4))
def test_what_is_written_again_after_a_crash_has_no_second_effect(logs, cuts, crash):
    once, log = logs
    alerts, windows, counts = outcome(once, [], -1)
    again_alerts, again_windows, again_counts = outcome(log, cuts, crash)
    assert again_alerts == alerts
    assert windows.items() <= again_windows.items()
    assert again_counts["accepted"] == counts["accepted"] == len(once)
    assert again_counts["duplicate"] == len(log) - len(once)
    assert all(math.isfinite(mean) for mean in again_windows.values())


def test_repeats_of_a_batch_on_which_judging_crashes_are_rejects_and_nothing_else(monkeypatch):
    rows = [
        {"device_id": "pole", "sensor_type": "pm25", "value": 1.0, "timestamp": START + n, "origin": "topic-0", "position": n}
        for n in (1, 2)
    ]
    watch = Watch(CITY, "city")
    watch.observe(batch(CITY, 7, rows, 0), WRITERS, set())

    def crash(*_):
        raise ZeroDivisionError

    again = batch(CITY, 7, [*rows, rows[0] | {"timestamp": START + 3, "position": 3}], 2)
    with monkeypatch.context() as patched:
        patched.setattr("agents.alerts.judge", crash)
        with pytest.raises(ZeroDivisionError) as raised:
            watch.observe(again, WRITERS, set())
    watch.crashed(again, raised.value)
    watch.settle()
    assert +watch.counts == {"received": 5, "accepted": 2, "rejected/rule-crashed": 3}
    assert watch.places == {"topic-0": 2}


def test_what_a_device_says_is_of_the_past_raises_a_historic_alert_alone_however_little_came_before_it():
    def reading(value, ago, position, **fields):
        at = START - ago * MINUTE
        told = {"device_id": "pole", "sensor_type": "pm25", "value": value, "timestamp": at, "arrival": START, "position": position}
        return told | fields

    watch = Watch(CITY, "city")
    rows = [reading(900.0, 60, 1, historical=True), reading(901.0, 20, 2, historical=True), reading(1.0, 0, 3)]
    told = [watch.observe(batch(CITY, 7, [row], number), WRITERS, set()) for number, row in enumerate(rows)]
    alerts = pl.concat([each.alerts for each in told])
    assert alerts.select("status", "value", "changed_at", "historic").rows() == [
        ("RAISED", 900.0, START - 60 * MINUTE, True),
        ("RAISED", 901.0, START - 20 * MINUTE, True),
    ]
    assert not pl.concat([each.commands for each in told]).height
    live = watch.observe(batch(CITY, 7, [reading(902.0, 0, 4)], 3), WRITERS, set()).alerts
    assert live.select("status", "historic").rows() == [("RAISED", False)]
    watch.settle()
    assert watch.counts["accepted"] + watch.counts["late"] == 4
