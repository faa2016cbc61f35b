"""Hostile messages over all four protocols leave every worker running and every message accounted for; `make fuzz` is the long form."""

from tests.fuzz import run as fuzz


def test_hostile_messages_stop_nothing_and_each_is_accounted_for(recorded, tmp_path):
    outcome = fuzz.run(tmp_path, messages=4_000, seconds=240, seed=1)
    assert outcome.problems == []
    assert sum(outcome.sent.values()) >= 4_000
