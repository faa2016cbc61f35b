"""Everything dies once, under load, and costs nothing; `make chaos` is the long form."""

from tests.integration import chaos

ONE_ROUND = 1


def test_everything_dies_once_under_load_and_nothing_is_lost_counted_twice_or_lied_about(tmp_path):
    outcome = chaos.run(tmp_path, ONE_ROUND, seed=4)
    assert outcome.problems == []
    assert set(outcome.killed.values()) == {1}
    assert outcome.stored > 20_000
