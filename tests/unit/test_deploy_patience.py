import pytest

from deploy import patience as module
from deploy.patience import Patience, answered


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_what_moves_however_slowly_is_waited_for():
    clock = Clock()
    patience = Patience(10, clock)
    for number in range(50):
        assert patience.lasts(number)
        clock.now += 9.9


def test_what_stands_still_is_given_up_after_the_seconds():
    clock = Clock()
    patience = Patience(10, clock)
    assert patience.lasts("same")
    clock.now += 9.9
    assert patience.lasts("same")
    clock.now += 0.2
    assert not patience.lasts("same")
    assert patience.lasts("other")


async def test_a_count_that_runs_down_is_waited_for_and_one_that_stands_is_told():
    counts = iter([3, 2, 1, 0])
    assert await Patience(10).run_down(lambda: next(counts)) == 0
    assert await Patience(0).run_down(lambda: 7) == 7


def test_a_server_that_answers_late_is_asked_again_and_one_that_never_does_is_told(monkeypatch):
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0)
    answers = iter([TimeoutError("busy"), TimeoutError("busy"), 7])
    said = []

    def ask():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert answered(ask, TimeoutError, said.append) == 7
    assert said == ["no answer yet, asking again: busy"] * 2

    def never():
        raise TimeoutError

    with pytest.raises(TimeoutError):
        answered(never, TimeoutError, said.append, seconds=0)


def test_what_is_no_silence_is_not_asked_again():
    def refuse():
        raise PermissionError("not you")

    with pytest.raises(PermissionError, match="not you"):
        answered(refuse, TimeoutError, lambda _: None)
