"""A log that is not the one it was: its worker stops in words, and `headrace state forget` accepts it."""

import time
from contextlib import ExitStack, closing

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.topics import ensure_topics
from schemas.catalog import AIR, READINGS
from tests.integration.line import (
    CHANGELOG,
    PATIENCE,
    Topics,
    Worker,
    actual,
    assert_equal,
    headrace,
    ledgers,
    simulate,
    undisturbed,
    wait,
)
from tests.integration.test_city import City

pytestmark = pytest.mark.long


def made_anew(kafka, topic):
    admin = AdminClient({"bootstrap.servers": kafka.kafka, "log_level": 0})
    for deleted in admin.delete_topics([topic], operation_timeout=30).values():
        deleted.result()

    def there():
        try:
            return topic in ensure_topics(kafka.kafka, kafka)
        except KafkaException:  # it is still being deleted
            return False

    wait(there, lambda: f"{topic} is not made anew")


def loaded(kafka, count=20_000):
    assert simulate(kafka, "--devices", 100, "--count", count).wait(timeout=PATIENCE) == 0


def read_to_the_end(kafka, topics, folder):
    with Worker(kafka, folder) as worker:
        worker.wait_for("lane_opened")
        topics.wait_until_read(worker)
        assert worker.stop() == 0, worker.tail()


def refuses(kafka, folder, *words):
    """The worker ends with 1 and these words, without a traceback of its own."""
    with Worker(kafka, folder) as worker:
        assert worker.process.wait(timeout=PATIENCE) == 1, worker.tail()
        log = worker.log.read_text()
        for said in (*words, "headrace state forget factory"):
            assert said in log, worker.tail()
        assert "Traceback" not in log, worker.tail()


@pytest.mark.parametrize("topic", [READINGS.topic, CHANGELOG])
def test_a_topic_that_was_made_anew_stops_its_workers_until_its_state_is_forgotten(kafka, topics, tmp_path, topic):
    loaded(kafka)
    read_to_the_end(kafka, topics, tmp_path)
    made_anew(kafka, topic)
    if topic == READINGS.topic:
        loaded(kafka, 5_000)
    refuses(kafka, tmp_path, topic, "made anew")
    wait(lambda: headrace(kafka, "state", "forget", "factory")[0] == 0, lambda: headrace(kafka, "state", "forget", "factory")[1])
    read_to_the_end(kafka, topics, tmp_path)
    if topic == CHANGELOG:  # what was told before is told again, and is whole
        assert_equal(actual(kafka, topics), undisturbed(kafka, topics))
    else:
        assert sum(counts["received"] for counts in actual(kafka, topics).counts.values()) == sum(topics.ends().values())


def test_a_topic_that_is_made_anew_under_a_running_worker_stops_it(kafka, topics, tmp_path):
    loaded(kafka)
    with Worker(kafka, tmp_path) as worker:
        worker.wait_for("lane_opened")
        topics.wait_until_read(worker)
        status, said = headrace(kafka, "state", "forget", "factory")
        assert (status, "workers of factory are running: stop them first" in said) == (1, True)
        made_anew(kafka, READINGS.topic)
        assert worker.process.wait(timeout=PATIENCE) == 1, worker.tail()
        assert f"{READINGS.topic}: made anew while this worker ran" in worker.log.read_text()


def test_what_is_no_domain_cannot_be_forgotten(kafka):
    status, said = headrace(kafka, "state", "forget", "nothing")
    assert (status, "there are factory, city, districts" in said) == (1, True)


def test_state_that_nobody_has_kept_is_not_forgotten(kafka):
    for _ in range(2):
        status, said = headrace(kafka, "state", "forget", "districts")
        assert (status, "there is nothing to forget" in said) == (1, True), said


def test_messages_of_a_city_topic_that_was_made_anew_are_no_repeats(kafka, tmp_path):
    with closing(Topics(kafka, "city")) as topics, ExitStack() as left:
        city, sent = City(kafka, topics, int(time.time() * 1000)), 0

        def worker():
            started = left.enter_context(Worker(kafka, tmp_path, module="streams.city"))
            started.wait_for("lane_opened")
            return started

        def send(count):
            nonlocal sent
            at = int(time.time() * 1000)
            city.send(AIR, [(f"air-{number}", at, {"pm25": 10}) for number in range(sent, sent + count)])
            sent += count

        def takes_all(worker):
            city.wait_until_read(worker)
            counts = ledgers(topics, "city-city-1m-changelog").values()
            assert [sum(of[name] for of in counts) for name in ("received", "accepted")] == [sent, sent]

        first = worker()
        send(200)
        takes_all(first)
        assert first.stop() == 0, first.tail()
        made_anew(kafka, AIR.topic)  # while no worker runs
        second = worker()
        send(150)
        takes_all(second)
        made_anew(kafka, AIR.topic)  # under a running one
        send(100)
        assert second.process.wait(timeout=PATIENCE) == 1, second.tail()
        assert f"{AIR.topic}: made anew while this worker ran" in second.log.read_text()
        third = worker()
        takes_all(third)
        assert third.stop() == 0, third.tail()
