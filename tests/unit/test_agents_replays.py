from itertools import pairwise

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from agents.replays import repeated

PLACES = ("origin", "position")


def frame(places):
    return pl.DataFrame(places, {"origin": pl.String, "position": pl.Int64}, orient="row")


def new(*batches):
    """The places that are new, of batches that follow each other."""
    reached, found = {}, []
    for places in batches:
        rows = frame(places)
        again, reached = repeated(PLACES, reached, rows)
        found += rows.filter(~again).rows()
    return found


def test_what_lies_at_or_below_the_greatest_position_of_its_origin_came_before():
    assert new([("a", 1), ("b", 1), ("a", 3)], [("a", 2), ("a", 3), ("a", 4), ("b", 2), ("c", 0)]) == [
        ("a", 1),
        ("b", 1),
        ("a", 3),
        ("a", 4),
        ("b", 2),
        ("c", 0),
    ]


@st.composite
def writings(draw):
    """What writers of two origins wrote: each starts again somewhere in what was written, as after a crash or as a zombie, and goes on."""
    log, reached = [], {"a": 0, "b": 0}
    for _ in range(draw(st.integers(1, 6))):
        origin = draw(st.sampled_from("ab"))
        start = draw(st.integers(0, reached[origin]))
        end = start + draw(st.integers(0, 6))
        log += [(origin, position) for position in range(start, end)]
        reached[origin] = max(reached[origin], end)
    return log, reached


@given(writings(), st.data())
def test_each_place_is_new_once_and_in_order_wherever_batches_are_cut(written, data):
    log, reached = written
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=4))), len(log)]
    found = new(*(log[start:end] for start, end in pairwise(cuts)))
    for origin, end in reached.items():
        assert [position for name, position in found if name == origin] == list(range(end))
