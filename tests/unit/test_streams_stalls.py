from hypothesis import given
from hypothesis import strategies as st

from streams.stalls import Awake, Stalls


def test_what_gets_no_further_is_stalled_since_it_became_due():
    stalls = Stalls()
    assert stalls.observe({"readings/0": 7}, 100) == {"readings/0": 0}
    assert stalls.observe({"readings/0": 7}, 130) == {"readings/0": 30}


def test_progress_starts_the_count_again():
    stalls = Stalls()
    stalls.observe({"readings/0": 7}, 0)
    assert stalls.observe({"readings/0": 8}, 100) == {"readings/0": 0}
    assert stalls.observe({"readings/0": 8}, 110) == {"readings/0": 10}


def test_what_was_not_due_for_a_moment_starts_again():
    stalls = Stalls()
    stalls.observe({"readings/0": 7}, 0)
    assert stalls.observe({}, 100) == {}
    assert stalls.observe({"readings/0": 7}, 200) == {"readings/0": 0}


def test_partitions_are_counted_apart():
    stalls = Stalls()
    stalls.observe({"readings/0": 7, "readings/1": 7}, 0)
    assert stalls.observe({"readings/0": 7, "readings/1": 9}, 50) == {"readings/0": 50, "readings/1": 0}


def test_what_is_not_known_for_a_moment_has_stood_all_the_while():
    stalls = Stalls()
    stalls.observe({"readings/0": 7, "readings/1": 7}, 0)
    assert stalls.observe(None, 50) == {"readings/0": 50, "readings/1": 50}
    assert stalls.observe({"readings/0": 7}, 70) == {"readings/0": 70}
    assert stalls.observe({"readings/0": 8, "readings/1": 7}, 80) == {"readings/0": 0, "readings/1": 0}


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 2)), min_size=1))
def test_looking_more_often_changes_nothing(steps):
    seldom, often, now, before = Stalls(), Stalls(), 0.0, steps[0][1]
    for wait, position in steps:
        often.observe({"recovery": before}, now + wait / 2)
        now, before = now + wait, position
        seen = often.observe({"recovery": position}, now)
        assert seen["recovery"] >= seldom.observe({"recovery": position}, now)["recovery"]


def test_a_suspended_process_is_awake_for_one_step_of_its_suspension():
    awake = Awake(longest=15, now=1000)
    assert awake.step(1005) == 5
    assert awake.step(4605) == 20
    assert awake.step(4610) == 25
