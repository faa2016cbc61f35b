import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.gateway.commands import Outcome, event_row
from agents.gateway.standing import ANSWER_MS, KEPT_MS, MOST_EARLY, Standing

NOW = 1_790_000_000_000
KEY = ("acme", "lamp-1")


def command(number=0, *, device="lamp-1", lasts=60_000, request_id="r"):
    row = {"command_id": f"{number:032x}", "tenant": "acme", "domain": "city", "plant": "", "device_id": device, "command": "on"}
    row |= {"alert_id": "", "rule": "", "issued_at": NOW, "expires_at": NOW + lasts, "parameters": "{}", "request_id": request_id}
    return row | {"asked_by": ""}


def heard(outcome, at=NOW, of=None, **changes):
    return event_row(of or command(), outcome, "", at) | changes


def standing(*events, **of):
    found = Standing()
    found.take([command(**of)])
    found.hear(events)
    return found


def status(found):
    (order,) = found.orders.values()
    return order.status


EVENTS = st.lists(st.builds(heard, st.sampled_from(Outcome), st.integers(NOW, NOW + 5)), max_size=8)


@given(EVENTS, st.data())
def test_whatever_the_order_of_events_and_their_repetition_the_same_is_known(events, data):
    again = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=4) if events else st.just([]))))
    known = Standing()
    first = data.draw(st.integers(0, len(again)))
    known.hear(again[:first])
    known.take([command()])
    known.hear(again[first:])
    (ours,), (theirs,) = known.orders.values(), standing(*events).orders.values()
    for name in ("status", "at", "delivered", "sent_at", "first_sent_at"):
        assert getattr(ours, name) == getattr(theirs, name)


@given(EVENTS)
def test_what_is_shown_is_the_furthest_that_was_told(events):
    shown = status(standing(*events))
    assert shown.rank == max((Outcome(event["status"]).rank for event in events), default=0)


@given(EVENTS)
def test_what_a_device_answered_is_never_taken_back(events):
    shown = status(standing(*events, heard(Outcome.ACKNOWLEDGED, NOW + 6)))
    assert shown is Outcome.ACKNOWLEDGED


def test_a_command_is_queued_until_something_is_told_of_it():
    assert status(standing()) is Outcome.QUEUED


def test_what_another_device_or_a_later_version_says_of_it_does_not_count():
    assert status(standing(heard(Outcome.ACKNOWLEDGED, device_id="lamp-2"), heard(Outcome.FAILED, status="PONDERED"))) is Outcome.QUEUED


@pytest.mark.parametrize(
    ("events", "waits"),
    [
        ([], True),
        ([Outcome.QUEUED, Outcome.DISPATCHED], True),
        ([Outcome.DISPATCHED, Outcome.UNANSWERED], True),
        ([Outcome.DISPATCHED, Outcome.DELIVERED], False),
        ([Outcome.DELIVERED, Outcome.UNANSWERED], False),
        ([Outcome.ACKNOWLEDGED], False),
        ([Outcome.FAILED], False),
        ([Outcome.REFUSED], False),
    ],
)
def test_a_device_that_comes_is_told_what_it_did_not_say_it_has(events, waits):
    found = standing(*map(heard, events))
    assert bool(found.of_device(KEY, NOW)) == waits
    assert found.of_device(KEY, NOW + 60_000) == []


def test_a_device_that_is_there_is_told_again_each_time_twice_as_long_after():
    found = standing()
    (order,) = found.orders.values()
    sent, at = [], NOW
    while at < NOW + 60_000:
        if order.is_due(at):
            sent.append((at - NOW) // 1000)
            found.hear([heard(Outcome.DISPATCHED, at)])
        at += 1000
    assert sent == [0, 10, 20, 40]


@pytest.mark.parametrize(
    ("events", "at", "told"),
    [
        ([], NOW + 59_999, None),
        ([], NOW + 60_000, Outcome.EXPIRED),
        ([Outcome.DISPATCHED], NOW + ANSWER_MS - 1, None),
        ([Outcome.DISPATCHED], NOW + ANSWER_MS, Outcome.UNANSWERED),
        ([Outcome.DISPATCHED], NOW + 60_000, Outcome.UNANSWERED),
        ([Outcome.DELIVERED], NOW + ANSWER_MS, Outcome.UNANSWERED),
        ([Outcome.UNANSWERED], NOW + 60_000, None),
        ([Outcome.FAILED], NOW + 60_000, None),
        ([Outcome.EXPIRED], NOW + 60_000, None),
    ],
)
def test_what_nothing_came_of_is_told_in_time_and_once(events, at, told):
    assert [outcome for _, outcome, _ in standing(*map(heard, events)).tend(at)] == ([told] if told else [])


def test_what_is_over_is_put_aside_and_known_for_a_day():
    found = standing(heard(Outcome.ACKNOWLEDGED))
    assert [*found.tend(NOW)] == []
    assert not found.live
    found.forget(NOW + 60_000 + KEPT_MS)
    assert [order.status for order in found.of_request("r")] == [Outcome.ACKNOWLEDGED]
    found.forget(NOW + 60_001 + KEPT_MS)
    assert found.of_request("r") == []
    assert not found.orders


def test_what_is_known_of_commands_that_never_come_is_bounded():
    found = Standing()
    found.hear(heard(Outcome.QUEUED, of=command(number)) for number in range(MOST_EARLY + 5))
    found.take([command(0), command(MOST_EARLY + 4)])
    assert len(found.orders) == 2


def test_a_request_is_known_with_all_its_commands_and_a_command_that_is_read_twice_is_one():
    found = Standing()
    rows = [command(number, device=f"lamp-{number}") for number in range(3)]
    assert len(found.take(rows)) == 3
    assert found.take(rows) == []
    assert [order.command["device_id"] for order in found.of_request("r")] == ["lamp-0", "lamp-1", "lamp-2"]
