from hypothesis import given
from hypothesis import strategies as st

from agents.gateway.duplicates import Duplicates


@given(st.lists(st.integers(0, 20), max_size=200))
def test_of_what_is_remembered_only_the_first_is_new(marks):
    duplicates = Duplicates(most=1_000)
    assert [duplicates.take(mark, 1) for mark in marks] == [mark not in marks[:at] for at, mark in enumerate(marks)]


def test_memory_is_bounded_and_the_latest_are_in_it():
    duplicates = Duplicates(most=100)
    for mark in range(1_000):
        assert duplicates.take(mark, 1)
    assert len(duplicates._new) + len(duplicates._old) <= 200
    assert not any(duplicates.take(mark, 1) for mark in range(900, 1_000))


def test_after_the_window_and_without_a_mark_a_message_is_new():
    duplicates = Duplicates(window_ms=10)
    assert duplicates.take("a", 5)
    assert not duplicates.take("a", 14)
    assert duplicates.take("a", 15)
    assert duplicates.take(None, 15)
    assert duplicates.take(None, 15)


def test_what_was_not_taken_after_all_is_new_again():
    duplicates = Duplicates()
    duplicates.take("a", 1)
    duplicates.forget("a")
    assert "a" not in duplicates
    assert duplicates.take("a", 1)
