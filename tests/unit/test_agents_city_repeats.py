from itertools import pairwise

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from agents.city import repeats
from agents.city.repeats import Repeats, origin


def envelopes(names, first):
    rows = [{"device_id": name[0], "original_topic": "t", "message_id": name, "offset": first + at} for at, name in enumerate(names)]
    return pl.DataFrame(rows, {"device_id": pl.String, "original_topic": pl.String, "message_id": pl.String, "offset": pl.Int64})


def take(*batches):
    """Which messages of batches that follow each other came before."""
    seen, end, found = Repeats("t-0", 0), 0, []
    for names in batches:
        found += seen.take(envelopes(names, end), end + len(names)).to_list()
        end += len(names)
    return found


def test_a_message_that_came_before_is_told_wherever_batches_are_cut():
    assert take(["a1", "a2", "b1"], ["a2", "a3"], ["b1"]) == [False, False, False, True, False, True]
    assert take(["a1", "a1"]) == [False, True]


def test_of_another_device_or_topic_it_is_another_message():
    others = envelopes(["a1", "a1"], 0).with_columns(device_id=pl.Series(["a", "b"]))
    frame = pl.concat([others, envelopes(["a1"], 2).with_columns(original_topic=pl.lit("u"))])
    assert not Repeats("t-0", 0).take(frame, 3).any()


@given(st.lists(st.sampled_from(["a1", "a2", "b1", "b2"]), max_size=30), st.data())
def test_the_window_is_of_the_log_and_not_of_batches(names, data):
    with_window = 5
    kept, repeats.WINDOW = repeats.WINDOW, with_window
    try:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(names)), max_size=4)))
        bounds = [0, *cuts, len(names)]
        found = take(*(names[start:end] for start, end in pairwise(bounds)))
    finally:
        repeats.WINDOW = kept
    assert found == [name in names[max(0, at - with_window) : at] for at, name in enumerate(names)]


def test_a_topic_that_was_made_anew_is_another_origin_and_one_without_an_id_has_its_name():
    assert origin("parking.raw", 2, "a1") != origin("parking.raw", 2, "b2")
    assert origin("parking.raw", 2, "") == "parking.raw-2"
