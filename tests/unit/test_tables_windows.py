from collections import defaultdict
from itertools import pairwise
from statistics import fmean, pstdev

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tables.factory import WINDOWING
from tables.windows import Windowing, closed, expired, fold, pending, stream_time

SECOND = 1000
SPEC = Windowing(keys=("device_id", "sensor_type"), pane_ms=SECOND, windows_ms=(SECOND, 3 * SECOND), disorder_ms=500, lateness_ms=1500)
KEYS = [("a", "current"), ("a", "voltage"), ("б", "current")]
Reading = tuple[int, float, int]
"""Position of the key, value, event time."""


def frame(readings: list[Reading], spec: Windowing = SPEC) -> pl.DataFrame:
    rows = [(*KEYS[key], value, at) for key, value, at in readings]
    schema = {"device_id": pl.String, "sensor_type": pl.String, "value": pl.Float64, "timestamp": pl.Int64}
    return pl.DataFrame(rows, schema, orient="row").with_columns(pane=spec.pane_of(pl.col("timestamp")))


def touched(readings: list[Reading]) -> pl.DataFrame:
    return frame(readings).select("device_id", "sensor_type", "pane")


def revisions(results: pl.DataFrame) -> list[tuple[str, int, int, int]]:
    return results.select("device_id", "window_seconds", "window_start", "revision").sort(pl.all()).rows()


def timely(spec: Windowing, log: list[Reading]) -> list[Reading]:
    """Without those the watch would call late."""
    kept, newest = [], 0
    for reading in log:
        newest = max(newest, reading[2])
        if reading[2] // spec.pane_ms * spec.pane_ms + spec.pane_ms + spec.lateness_ms > newest - spec.disorder_ms:
            kept.append(reading)
    return kept


def accepted(spec: Windowing, log: list[Reading]) -> dict[tuple[int, int], list[Reading]]:
    """Readings by key and pane, without those that repeat the newest event time."""
    panes = defaultdict(list)
    for key, value, at in log:
        pane = panes[key, at // spec.pane_ms * spec.pane_ms]
        if not pane or at != max(other for *_, other in pane):
            pane.append((key, value, at))
    return panes


@st.composite
def logs(draw) -> tuple[Windowing, list[Reading], list[int]]:
    """Readings in disorder, repeated and late, and where to cut them."""
    spec = draw(st.sampled_from([SPEC, WINDOWING]))
    steps = st.sampled_from([0, 0, 1, 7, 40, 99, 100, 250, 1500])
    behind = st.sampled_from([0, 0, 0, 0, 1, 30, 50, 99, 100, 180])
    values = st.integers(-200, 8000).map(lambda tenths: tenths / 10) | st.sampled_from([0.0, -0.0])
    drawn = draw(st.lists(st.tuples(st.integers(0, len(KEYS) - 1), values, steps, behind), max_size=60))
    now, readings = 20 * spec.pane_ms, []
    for key, value, step, back in drawn:
        now += step * spec.pane_ms // 100
        readings.append((key, value, now - back * spec.pane_ms // 100))
    readings = timely(spec, readings)
    return spec, readings, sorted(draw(st.sets(st.integers(0, len(readings)), max_size=6)) | {0, len(readings)})


@settings(deadline=None)
@given(logs())
def test_panes_and_duplicates_are_the_same_however_the_log_is_cut(log):
    spec, readings, cuts = log
    whole, panes, duplicates = fold(spec, {}, frame(readings, spec)), {}, 0
    for start, end in pairwise(cuts):
        folded = fold(spec, panes, frame(readings[start:end], spec))
        panes |= folded.panes
        duplicates += folded.duplicates
    assert panes.keys() == whole.panes.keys()
    for start, pane in panes.items():
        assert_frame_equal(pane, whole.panes[start], check_exact=True)
    assert duplicates == whole.duplicates == len(readings) - sum(map(len, accepted(spec, readings).values()))


def naive(spec: Windowing, readings: list[Reading], watermark: int) -> dict[tuple[object, ...], tuple[object, ...]]:
    """Every window that ends by the watermark and holds readings, from the definition."""
    panes, windows = accepted(spec, readings), defaultdict(list)
    for (key, pane), inside in panes.items():
        for length in spec.windows_ms:
            for end in range(pane + spec.pane_ms, pane + length + 1, spec.pane_ms):
                if end <= watermark:
                    windows[(*KEYS[key], length // SECOND, end - length)] += inside
    return {window: tuple(inside) for window, inside in windows.items()}


@settings(deadline=None)
@given(logs())
def test_the_highest_revision_of_every_closed_window_is_that_of_its_readings_however_the_log_is_cut(log):
    spec, readings, cuts = log
    panes, before, results = {}, 0, []
    for start, end in pairwise(cuts):
        part = frame(readings[start:end], spec)
        watermark = max([at for *_, at in readings[:end]], default=0) - spec.disorder_ms
        panes |= fold(spec, panes, part).panes
        results.append(closed(spec, panes, before, watermark, part.select(*spec.keys, "pane")))
        for old in expired(spec, panes, watermark):
            del panes[old]
        before = max(before, watermark)
    found = {}
    for row in pl.concat(results).iter_rows(named=True) if results else []:
        window = (row["device_id"], row["sensor_type"], row["window_seconds"], row["window_start"])
        other = found.get(window, row)
        assert row["revision"] != other["revision"] or row == other
        found[window] = max(row, other, key=lambda result: result["revision"])
    expected = naive(spec, readings, before)
    assert found.keys() == expected.keys()
    for window, inside in expected.items():
        row, values = found[window], [value for _, value, _ in inside]
        assert (row["count"], row["revision"], row["min"], row["max"]) == (len(inside), len(inside), min(values), max(values))
        assert (row["mean"], row["stddev"]) == (pytest.approx(fmean(values), abs=1e-9), pytest.approx(pstdev(values), abs=1e-9))
        assert row["last_at"] == max(at for *_, at in inside)
        assert row["last"] in {value for _, value, at in inside if at == row["last_at"]}


def test_a_window_is_closed_when_the_watermark_reaches_its_end():
    panes = fold(SPEC, {}, frame([(0, 1.0, 5200)])).panes
    assert closed(SPEC, panes, 0, 5999, touched([])).is_empty()
    assert revisions(closed(SPEC, panes, 5999, 6000, touched([]))) == [("a", 1, 5000, 1), ("a", 3, 3000, 1)]
    assert revisions(closed(SPEC, panes, 6000, 8000, touched([]))) == [("a", 3, 4000, 1), ("a", 3, 5000, 1)]
    assert closed(SPEC, panes, 8000, 20_000, touched([])).is_empty()


def test_a_reading_within_the_lateness_corrects_every_closed_window_of_its_key_and_no_other():
    log = [(0, 1.0, 5200), (1, 1.0, 5200), (2, 1.0, 6100)]
    panes = fold(SPEC, {}, frame(log)).panes
    panes |= fold(SPEC, panes, frame([(0, 2.0, 5100)])).panes
    corrected = closed(SPEC, panes, 7000, 7000, touched([(0, 2.0, 5100)]))
    assert revisions(corrected) == [("a", 1, 5000, 2), ("a", 3, 3000, 2), ("a", 3, 4000, 2)]
    assert corrected["sensor_type"].unique().to_list() == ["current"]
    assert corrected["last"].unique().to_list() == [1.0]


def test_a_window_that_was_just_closed_is_corrected():
    panes = fold(SPEC, {}, frame([(0, 1.0, 5200)])).panes
    assert revisions(closed(SPEC, panes, 6000, 6000, touched([(0, 1.0, 5200)]))) == [("a", 1, 5000, 1), ("a", 3, 3000, 1)]


def test_a_hopping_window_is_the_merge_of_its_panes():
    panes = fold(SPEC, {}, frame([(0, 1.0, 5000), (0, 5.0, 6000), (0, 3.0, 7999)])).panes
    row = closed(SPEC, panes, 7000, 8000, touched([])).filter(window_seconds=3).row(0, named=True)
    assert (row["count"], row["mean"], row["min"], row["max"], row["last"], row["last_at"]) == (3, 3.0, 1.0, 5.0, 3.0, 7999)


def test_a_repeated_event_time_is_a_duplicate_only_if_it_is_the_newest_of_its_key_in_the_pane():
    folded = fold(SPEC, {}, frame([(0, 1.0, 5001), (1, 1.0, 5001), (0, 9.0, 5001), (0, 2.0, 5002), (0, 3.0, 5001)]))
    assert folded.duplicates == 1
    assert folded.panes[5000].select("sensor_type", "count", "last").rows() == [("current", 3, 2.0), ("voltage", 1, 1.0)]


def test_a_duplicate_of_what_an_earlier_fold_took_in_is_left_out():
    panes = fold(SPEC, {}, frame([(0, 1.0, 5001)])).panes
    again = fold(SPEC, panes, frame([(0, 1.0, 5001), (0, 1.0, 6001)]))
    assert again.duplicates == 1
    assert {start: pane["count"].to_list() for start, pane in again.panes.items()} == {6000: [1]}


def test_a_fold_of_nothing_changes_nothing():
    assert fold(SPEC, fold(SPEC, {}, frame([(0, 1.0, 5001)])).panes, frame([])).panes == {}


def test_pending_are_the_windows_that_end_after_the_watermark_and_by_the_last_panes_end():
    panes = fold(SPEC, {}, frame([(0, 1.0, 5200), (2, 2.0, 7100)])).panes
    assert revisions(pending(SPEC, panes, 6000)) == [
        ("a", 3, 4000, 1),
        ("a", 3, 5000, 1),
        ("б", 1, 7000, 1),
        ("б", 3, 5000, 1),
    ]
    assert pending(SPEC, panes, 8000).is_empty()
    assert pending(SPEC, {}, 8000).columns == pending(SPEC, panes, 6000).columns


def test_a_pane_expires_when_neither_a_window_nor_a_late_reading_needs_it():
    panes = fold(SPEC, {}, frame([(0, 1.0, 5200)])).panes
    assert expired(SPEC, panes, 5000 + 3000 + 1500 - 1) == []
    assert expired(SPEC, panes, 5000 + 3000 + 1500) == [5000]


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100))), st.integers(0, 100))
def test_stream_time_is_the_greatest_event_time_so_far_clamped_by_arrival(records, before):
    timestamps, arrivals = np.array(records, dtype=np.int64).reshape(-1, 2).T
    found = stream_time(before, timestamps, arrivals).tolist()
    assert found == [max([before, *(min(record) for record in records[: end + 1])]) for end in range(len(records))]
