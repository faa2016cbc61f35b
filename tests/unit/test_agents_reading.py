from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from agents.episodes import Episodes
from agents.factory.domain import FACTORY
from agents.reading import below, read
from agents.watch import Watch
from schemas.catalog import READINGS
from schemas.rejects import Reason
from schemas.wire import encode
from tests.unit.test_agents_watch_properties import UNHURRIED, logs

WRITERS, MISSING = {7: READINGS.codec}, frozenset({99})
NOW = 1_760_000_000_000
# which readings are looked at one by one: a guess on the safe side, that depends on what is read together
NEAR = cs.ends_with("/near")


def known(fence: int) -> SimpleNamespace:
    """What has been made of a partition in which nothing ever happened."""
    return SimpleNamespace(fence=fence, episodes=Episodes())


def batch(first: int, *values: bytes | None, key: bytes = b"press") -> SimpleNamespace:
    count = len(values)
    offsets = list(range(first, first + count))
    return SimpleNamespace(topic="t", partition=0, keys=[key] * count, values=list(values), timestamps=[NOW] * count, offsets=offsets)


def written(*values: float, schema_id: int = 7) -> list[bytes]:
    common = {"device_id": "press", "sensor_type": "temperature", "timestamp": NOW, "location": "", "metadata": [], "plant": ""}
    return encode(READINGS.codec, schema_id, pl.DataFrame([common | {"value": value} for value in values], READINGS.codec.columns))


@UNHURRIED
@given(logs(), st.sets(st.integers(1, 69), max_size=6), st.data())
def test_batches_read_together_say_what_each_of_them_says_alone(log, cuts, data):
    bounds = [0, *sorted(cut for cut in cuts if cut < len(log.values)), len(log.values)]
    batches = [log.batch(start, end) for start, end in pairwise(bounds)]
    fences = [data.draw(st.sampled_from([0, *each.offsets, each.offsets[-1] + 1])) for each in batches]
    together = read(FACTORY, [(each, known(fence)) for each, fence in zip(batches, fences, strict=True)], WRITERS, MISSING)
    for each, fence, found in zip(batches, fences, together, strict=True):
        (alone,) = read(FACTORY, [(each, known(fence))], WRITERS, MISSING)
        assert found.batch is each
        assert found.received == alone.received == sum(offset >= fence for offset in each.offsets)
        assert sorted(found.rejects, key=str) == sorted(alone.rejects, key=str)
        assert_frame_equal(found.readings.select(~NEAR), alone.readings.select(~NEAR))


@UNHURRIED
@given(logs(), st.sets(st.integers(1, 69), max_size=6))
def test_batches_read_together_and_judged_in_turn_call_for_what_they_do_one_by_one(log, cuts):
    bounds = [0, *sorted(cut for cut in cuts if cut < len(log.values)), len(log.values)]
    batches = [log.batch(start, end) for start, end in pairwise(bounds)]
    watch, other = Watch(FACTORY, "acme"), Watch(FACTORY, "acme")
    together = read(FACTORY, [(each, watch) for each in batches], WRITERS, MISSING)
    for each, found in zip(batches, together, strict=True):
        judged, alone = watch.judge(found), other.observe(each, WRITERS, MISSING)
        assert_frame_equal(judged.alerts, alone.alerts)
        assert_frame_equal(judged.commands, alone.commands)
        assert_frame_equal(judged.late.select(~NEAR), alone.late.select(~NEAR))
    assert watch.episodes == other.episodes


def test_rows_count_from_the_head_of_their_own_batch_though_what_lies_below_its_fence_is_skipped():
    good, wrong = batch(0, *written(20, 21, 160)), batch(10, b"garbage", b"garbage", *written(900, 30))
    first, second = read(FACTORY, [(good, known(1)), (wrong, known(11))], WRITERS, MISSING)
    assert first.readings.select("row", "value", "above-critical/raises").rows() == [(1, 21.0, False), (2, 160.0, True)]
    assert second.readings.select("row", "value").rows() == [(3, 30.0)]
    assert [(reject.row, reject.reason) for reject in second.rejects] == [(1, Reason.BAD_MAGIC), (2, Reason.OUT_OF_RANGE)]
    assert (first.received, second.received) == (2, 3)


def test_a_batch_below_its_fence_says_nothing():
    (found,) = read(FACTORY, [(batch(0, *written(20, 21)), known(2))], WRITERS, MISSING)
    assert (found.received, found.readings.height, found.rejects) == (0, 0, [])


def test_schemas_that_are_not_known_yet_are_asked_for_before_anything_is_told():
    batches = [batch(0, *written(20)), batch(0, *written(20, schema_id=8)), batch(0, *written(20, schema_id=9))]
    assert read(FACTORY, [(each, known(0)) for each in batches], WRITERS, MISSING) == {8, 9}


def test_what_a_rule_raises_is_raised():
    crashing = replace(FACTORY, rules=[replace(FACTORY.rules[0], raises=pl.col("no such column"))])
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        read(crashing, [(batch(0, *written(20)), known(0))], WRITERS, MISSING)


@pytest.mark.parametrize(("fence", "count"), [(0, 0), (5, 0), (6, 1), (7, 2), (99, 2)])
def test_records_below_a_fence_are_counted(fence, count):
    assert below(batch(5, b"", b""), fence) == count
