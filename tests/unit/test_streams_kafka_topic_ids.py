import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.kafka.topic_ids import Change, changes

IDS = st.sampled_from(["", "x", "y"])


@pytest.mark.parametrize(
    ("before", "now", "change"),
    [
        ("x", "x", None),
        ("x", "y", Change.MADE_ANEW),
        ("x", None, Change.GONE),
        ("", None, Change.GONE),  # a broker older than topic ids knows which topics it has
        ("", "x", None),
        ("x", "", None),  # not told: this user may not see it any more
    ],
)
def test_a_topic_is_the_same_unless_it_is_not_there_or_both_its_ids_are_known_and_differ(before, now, change):
    assert changes({"a": before}, {"a": now}).get("a") is change


@given(st.dictionaries(st.sampled_from("abcd"), IDS), st.dictionaries(st.sampled_from("abcd"), st.none() | IDS))
def test_each_topic_is_judged_by_itself_and_one_that_was_not_asked_for_is_the_same(before, now):
    each = {topic: what for topic in before if topic in now for what in changes({topic: before[topic]}, {topic: now[topic]}).values()}
    assert changes(before, now) == each
