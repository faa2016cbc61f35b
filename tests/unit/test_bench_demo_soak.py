import pytest

from bench.demo_soak import Run, beside_loops


def test_three_of_ten_runs_are_beside_busy_loops_spread_over_all():
    assert beside_loops(10, 3) == {2, 5, 8}
    assert beside_loops(1, 3) == {1}
    assert beside_loops(10, 0) == set()


@pytest.mark.parametrize(
    ("code", "said", "clean"),
    [
        (0, "Ended, all well: every reading and message is accounted for.", True),
        (1, "Ended, all well: every reading and message is accounted for.", False),
        (0, "Data and logs are in .headrace.", False),
        (0, "WRONG: 7 of 8 good readings are in ClickHouse\nEnded, all well", False),
    ],
)
def test_a_run_is_clean_only_if_it_ended_with_0_and_said_so(code, said, clean):
    run = Run(1, busy=True, code=code, seconds=90.4, load=3.21, said=said)
    assert run.is_clean is clean
    assert str(run).startswith(f"run 1, beside two busy loops: exit {code}, 90 s, load 3.2, ")
