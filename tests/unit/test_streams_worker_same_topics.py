"""A worker ends in a sentence when its topics are not those it started with, and not because of one look that says so."""

import asyncio
from types import SimpleNamespace

import pytest

from streams.worker import same_topics
from streams.worker.same_topics import SameTopics
from tests.fakes.topics import AWAY, Topics

SAME = {"readings": "r1", "changelog": "c1"}
FORGET = "Stop the workers and run `headrace state forget factory`."


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(same_topics, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(same_topics, "AGAIN_SECONDS", 0.001)


async def ends(monkeypatch, *answers, looks=12):
    """Why the worker ends when its looks are answered so; None where it looked on after them."""
    kafka, ended = Topics(*answers), asyncio.get_running_loop().create_future()

    def give_up(reason):
        if not ended.done():
            ended.set_result(reason)

    monkeypatch.setattr(same_topics, "topic_ids", kafka.topic_ids)
    service = SameTopics(SimpleNamespace(topic_ids=SAME, give_up=give_up))
    service.remedies |= dict.fromkeys(SAME, FORGET)
    async with service, asyncio.timeout(60):
        while not ended.done() and kafka.looks < looks:  # noqa: ASYNC110, the looks are another task's
            await asyncio.sleep(0.001)
    return ended.result() if ended.done() else None


async def test_a_kafka_that_was_replaced_by_an_empty_one_ends_the_worker_with_the_commands_to_run(monkeypatch):
    assert await ends(monkeypatch, SAME, AWAY, AWAY, {}) == (
        "readings and changelog: gone from Kafka at 127.0.0.1:19092 while this worker ran. Run `headrace topics`, which makes them. "
        f"{FORGET} Start it again after that."
    )


async def test_one_topic_of_two_is_named_alone(monkeypatch):
    assert (await ends(monkeypatch, SAME | {"readings": None})).startswith("readings: gone from Kafka")
    assert (await ends(monkeypatch, SAME | {"changelog": "c2"})).startswith("changelog: made anew while this worker ran.")


async def test_each_kind_of_change_is_told(monkeypatch):
    said = await ends(monkeypatch, {"readings": "r2"})
    assert "changelog: gone from Kafka" in said
    assert "readings: made anew while this worker ran." in said


@pytest.mark.parametrize("answers", [(SAME,), (AWAY,), ({}, SAME), ({}, AWAY, SAME), ({"readings": "r1"}, {"changelog": "c1"}, SAME)])
async def test_what_a_second_look_does_not_confirm_ends_nothing(monkeypatch, answers):
    assert await ends(monkeypatch, *answers) is None


async def test_many_topics_are_counted():
    said = []
    service = SameTopics(SimpleNamespace(give_up=said.append))
    service._end(dict.fromkeys(map(str, range(23)), same_topics.Change.MADE_ANEW))
    assert said == ["0, 1, 2, 3, 4 and 18 more: made anew while this worker ran. Start it again."]
