from deploy.patience import Patience


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
