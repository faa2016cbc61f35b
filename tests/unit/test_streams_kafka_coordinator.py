"""A coordinator that is loading is asked again; any other answer stands."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.kafka.coordinator import once_loaded


def test_what_a_loading_coordinator_does_not_answer_is_asked_again():
    answers = [
        KafkaException(KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS)),
        KafkaException(KafkaError(KafkaError.NOT_COORDINATOR)),
        7,
    ]

    @once_loaded(30)
    def ask():
        if isinstance(answer := answers.pop(0), Exception):
            raise answer
        return answer

    assert ask() == 7
    assert not answers


def test_what_kafka_refuses_is_not_asked_again():
    asked = []

    @once_loaded(30)
    def ask():
        asked.append(1)
        raise KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED))

    with pytest.raises(KafkaException):
        ask()
    assert asked == [1]
