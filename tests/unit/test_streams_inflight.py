from dataclasses import dataclass

from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams.inflight import InFlight

HERE, THERE = TP("readings", 0), TP("readings", 1)


@dataclass(eq=False)
class Delivered:
    """What matters of a message."""

    tp: TP
    offset: int
    acked: bool = False


def delivered(in_flight, *offsets, tp=HERE):
    """Messages, added as Faust's streams add them."""
    messages = [Delivered(tp, offset) for offset in offsets]
    for message in messages:
        in_flight.add(message)
    return messages


def acknowledge(*messages):
    for message in messages:
        message.acked = True


def test_nothing_may_be_committed_before_anything_is_acknowledged():
    in_flight = InFlight()
    assert in_flight.committable(HERE) is None
    delivered(in_flight, 10, 20)
    assert in_flight.committable(HERE) is None


def test_the_offset_after_the_last_acknowledged_may_be_committed_and_stays_so():
    in_flight = InFlight()
    acknowledge(*delivered(in_flight, 10, 20))
    assert [in_flight.committable(HERE) for _ in range(2)] == [21, 21]


def test_a_first_message_that_is_still_worked_on_holds_back_all_behind_it():
    in_flight = InFlight()
    first, second, third = delivered(in_flight, 10, 20, 30)
    acknowledge(second, third)
    assert in_flight.committable(HERE) is None
    acknowledge(first)
    assert in_flight.committable(HERE) == 31


def test_partitions_do_not_hold_each_other_back():
    in_flight = InFlight()
    delivered(in_flight, 10)
    acknowledge(*delivered(in_flight, 5, tp=THERE))
    assert (in_flight.committable(HERE), in_flight.committable(THERE)) == (None, 6)
    assert set(in_flight.partitions()) == {HERE, THERE}


def test_a_revoked_partition_is_forgotten_and_starts_anew():
    in_flight = InFlight()
    acknowledge(*delivered(in_flight, 10))
    assert in_flight.committable(HERE) == 11
    delivered(in_flight, 20)
    in_flight.forget([HERE, THERE])
    assert (in_flight.committable(HERE), len(in_flight)) == (None, 0)


def test_it_holds_the_messages_that_are_not_acknowledged():
    in_flight = InFlight()
    first, second = delivered(in_flight, 10, 20)
    acknowledge(second)
    assert list(in_flight) == [first]
    assert len(in_flight) == 1
    assert first in in_flight
    assert second not in in_flight
    in_flight -= {first}  # Faust does so with those it finds acknowledged; what was not stays
    assert len(in_flight) == 1


@given(order=st.permutations(range(8)), looks=st.sets(st.integers(0, 7)))
def test_what_may_be_committed_never_reaches_the_first_unacknowledged_whatever_the_order(order, looks):
    in_flight = InFlight()
    messages = delivered(in_flight, *range(0, 80, 10))
    for step, position in enumerate(order):
        acknowledge(messages[position])
        if step in looks:
            done = next((n for n, message in enumerate(messages) if not message.acked), len(messages))
            assert in_flight.committable(HERE) == (messages[done - 1].offset + 1 if done else None)
    assert in_flight.committable(HERE) == 71
