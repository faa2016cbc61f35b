import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.guard import guarded, told
from schemas.bounds import DETAIL_LETTERS
from schemas.rejects import Reason


def work_that_fails_on(bad, calls=None):
    def work(rows):
        if calls is not None:
            calls.append(len(rows))
        if failing := bad & set(rows):
            raise KeyError(min(failing))
        return list(rows)

    return work


@given(st.integers(0, 60), st.sets(st.integers(0, 59)))
def test_a_record_the_work_raises_on_costs_itself_alone(count, bad):
    made, found = guarded(count, work_that_fails_on(bad))
    assert made == list(found.kept) == [row for row in range(count) if row not in bad]
    assert [*found.crashed] == sorted(bad & set(range(count)))
    assert {(reject.row, reject.reason) for reject in found.rejects} == {(row, Reason.CRASHED) for row in found.crashed}


def test_a_sound_batch_is_worked_on_once_and_one_bad_record_among_thousands_is_found_in_some_dozens_of_tries():
    calls = []
    guarded(2_000, work_that_fails_on(set(), calls))
    assert calls == [2_000]
    guarded(2_000, work_that_fails_on({1_234}, calls))
    assert len(calls) < 30


def test_records_that_can_be_done_apart_and_not_together_are_all_told_of():
    def work(rows):
        if len(rows) > 1:
            raise RuntimeError("too many")
        return list(rows)

    made, found = guarded(3, work)
    assert made == []
    assert [reject.detail for reject in found.rejects] == ["RuntimeError: too many"] * 3


def test_what_the_work_raises_without_any_record_is_raised():
    def work(_):
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        guarded(2, work)


def test_an_exception_is_told_by_its_name_and_what_it_says_however_much():
    class Mute(Exception):
        def __str__(self):
            raise RecursionError

    assert told(ValueError("x" * 10_000)) == f"ValueError: {'x' * (DETAIL_LETTERS - 12)}"
    assert told(Mute()) == "Mute"
