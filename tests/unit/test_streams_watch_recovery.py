import pytest
from faust.types import TP

from agents.factory.domain import FACTORY
from agents.watch import Watch
from streams.watch.recovery import StateLost, recovered
from tables.checkpoint import Ledger

TOPIC, CHANGELOG = FACTORY.source.topic, "factory-readings-1m-changelog"
TP0 = TP(TOPIC, 0)
FACTS = {"stream_time": 5, "settled_to": 4, "counts": {"received": 1_000}}


def written(**logs):
    """A changelog with a checkpoint at 1,000 of topics of these ids."""
    ledger = Ledger(logs={TOPIC: logs.get("source", ""), CHANGELOG: logs.get("changelog", "")} if logs else {})
    return dict([ledger.stage(1_000, FACTS, {}, []).manifest])


def taken_up(values, committed=1_000, **logs):
    watch = Watch(FACTORY, "acme")
    watch.ledger.logs = {TOPIC: logs.get("source", "s1"), CHANGELOG: logs.get("changelog", "c1")} if logs != {"old": True} else {}
    return recovered(watch, TP0, CHANGELOG, values, committed)


def test_state_of_the_topics_that_are_there_is_taken_up():
    assert taken_up(written(source="s1", changelog="c1")).fence == 1_000


def test_state_that_an_earlier_version_wrote_is_of_the_topics_that_are_there():
    watch = taken_up(written())
    assert watch.fence == 1_000
    assert taken_up(dict([watch.settle().checkpoint.manifest])).fence == 1_000


def test_a_kafka_that_knows_no_ids_is_believed():
    assert taken_up(written(source="s1", changelog="c1"), old=True).fence == 1_000


def test_a_source_that_was_made_anew_ends_the_worker_with_what_would_be_lost_and_what_accepts_it():
    with pytest.raises(StateLost) as lost:
        taken_up(written(source="s1", changelog="c1"), source="s2")
    said = str(lost.value)
    assert f"{TOPIC} was made anew since the state in {CHANGELOG} was written" in said
    assert "all records below offset 1000 would be taken for known" in said
    assert "`headrace state forget factory`" in said
    assert "read from its first record on" in said


def test_state_in_a_changelog_that_was_made_anew_in_mid_run_is_refused():
    with pytest.raises(StateLost, match=rf"{CHANGELOG} was made anew under a running worker.*`headrace state forget factory`"):
        taken_up(written(source="s1", changelog="c1"), changelog="c2")


def test_a_changelog_without_state_of_what_is_committed_is_refused_and_one_of_a_first_start_is_not():
    with pytest.raises(StateLost, match=r"1000 records are done with.*`headrace state forget factory`.*first record on.*every window"):
        taken_up({})
    assert [taken_up({}, committed).fence for committed in (None, 0)] == [0, 0]


def test_a_changelog_without_a_whole_checkpoint_names_the_command():
    changelog = {b"manifest@9~x": b'{"version": 1, "fence": 9, "facts": {}, "buckets": ["a/0@9~x"]}'}
    with pytest.raises(StateLost, match=r"lacks buckets.*`headrace state forget factory`"):
        taken_up(changelog)
