from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from streams import topics
from streams.topics import create_missing


class Admin:
    """Answers each topic by its own name: the error's, or made."""

    there = frozenset()
    listed = True

    def __init__(self, _options):
        pass

    def create_topics(self, wanted, **_):
        return {each.topic: self._answer(each.topic) for each in wanted}

    def list_topics(self, timeout):
        if not self.listed:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return SimpleNamespace(topics=dict.fromkeys(self.there))

    def _answer(self, topic):
        answer = Future()
        code = getattr(KafkaError, topic, None)
        answer.set_result(None) if code is None else answer.set_exception(KafkaException(KafkaError(code)))
        return answer


@pytest.fixture
def admin(monkeypatch):
    class Own(Admin):
        pass

    monkeypatch.setattr(topics, "AdminClient", Own)
    return Own


NOT_NOW = ["INVALID_REPLICATION_FACTOR", "REQUEST_TIMED_OUT", "NOT_CONTROLLER", "UNKNOWN", "_TIMED_OUT", "_TRANSPORT"]


def test_what_cannot_be_made_now_keeps_no_other_topic_from_being_made_nor_refused(admin):
    made = create_missing("nowhere", ["a", "TOPIC_ALREADY_EXISTS", "POLICY_VIOLATION", *NOT_NOW])
    assert (made.there, {*made.refused}) == ({"a", "TOPIC_ALREADY_EXISTS"}, {"POLICY_VIOLATION"})


@pytest.mark.parametrize("error", ["TOPIC_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED", "INVALID_REPLICATION_FACTOR"])
def test_what_somebody_else_made_is_there_whatever_kafka_says_to_who_would_make_it(admin, error):
    admin.there = {error}
    assert create_missing("nowhere", [error]).there == {error}


def test_while_nobody_knows_what_is_there_nothing_is_refused_for_good(admin):
    admin.listed = False
    assert create_missing("nowhere", ["POLICY_VIOLATION"]) == (set(), {})
