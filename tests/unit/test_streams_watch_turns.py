from types import SimpleNamespace

from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams.lane import Lane
from streams.watch.turns import CHECKPOINT_SECONDS, LITTLE_READINGS, QUIET_SECONDS, due, pause


def lane(checkpoint_at, unsettled):
    observed = ["event"] if unsettled else []
    return SimpleNamespace(checkpoint_at=checkpoint_at, observed=observed, watch=SimpleNamespace(unsettled=unsettled))


def test_partitions_of_little_go_together_and_seldom():
    first, second = lane(0, 3), lane(1, LITTLE_READINGS)
    assert due([first, second], QUIET_SECONDS - 0.1) == []
    assert due([first, second], QUIET_SECONDS) == [first, second]


def test_partitions_of_much_take_turns_the_oldest_first():
    first, second = lane(0.1, LITTLE_READINGS + 1), lane(0, LITTLE_READINGS + 1)
    assert due([first, second], CHECKPOINT_SECONDS - 0.1) == []
    assert due([first, second], CHECKPOINT_SECONDS + 0.1) == [second]


def test_one_of_much_does_not_wait_for_those_of_little_nor_takes_them_along():
    much, little = lane(0, LITTLE_READINGS + 1), lane(0, 1)
    assert due([little, much], CHECKPOINT_SECONDS) == [much]


def test_the_first_checkpoint_is_due_at_once():
    first = Lane(TP("t", 0), SimpleNamespace(unsettled=1), observed=["event"])
    assert due([first], 0) == [first]


def test_one_that_took_nothing_in_is_looked_at_each_time_and_holds_up_nobody():
    silent, much = lane(float("-inf"), 0), lane(0, LITTLE_READINGS + 1)
    assert due([silent, much], 0.5) == [silent]
    assert due([silent, much], CHECKPOINT_SECONDS) == [much, silent]


LANES = st.lists(st.builds(lane, st.floats(0, 20), st.integers(0, 2 * LITTLE_READINGS)), max_size=5)


@given(LANES)
def test_every_partition_has_its_turn(lanes):
    now, before = 20.0, {id(each): each.checkpoint_at for each in lanes}
    for _ in range(100):
        for each in due(lanes, now):
            each.checkpoint_at = now
        now += pause(lanes)
    assert all(each.checkpoint_at > before[id(each)] for each in lanes if each.observed)
