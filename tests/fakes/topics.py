"""Kafka as a look at its topics finds it: what each look is told, one after the other, and the last again and again."""

from confluent_kafka import KafkaError, KafkaException

AWAY = KafkaException(KafkaError(KafkaError._TIMED_OUT))


class Topics:
    """`answers`: ids by topic as `topic_ids` gives them, or an exception; `looks` is how often was looked."""

    def __init__(self, *answers):
        self.answers, self.looks = answers, 0

    def topic_ids(self, _servers, topics):
        found = self.answers[min(self.looks, len(self.answers) - 1)]
        self.looks += 1
        if isinstance(found, Exception):
            raise found
        return {topic: found.get(topic) for topic in topics}
