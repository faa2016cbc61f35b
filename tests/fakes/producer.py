"""Kafka as librdkafka's producer and admin client show it: outages, refusals, reports that come late, topics that cannot be made."""

from confluent_kafka import KafkaError

from streams.topics import Made


class Cluster:
    """`log`: values by topic, in the order they were taken. `producer` and `create` stand for librdkafka and `create_missing`.

    `away`: nothing is taken until it is back; `late`: what is taken is reported on only when `report` is called; `refused`: errors by
    topic; `unmade`: topics that cannot be made now.
    """

    def __init__(self):
        self.log, self.there = {}, set()
        self.away = self.late = False
        self.refused, self.unmade = {}, set()
        self.queue, self.unreported = [], []

    def producer(self, _options):
        return _Producer(self)

    def create(self, _servers, topics):
        made = {topic for topic in topics if not self.away and topic not in self.unmade}
        self.there |= made
        return Made(made, {})

    def take(self):
        """Take what is queued."""
        if self.away:
            return
        for topic, value, report in self.queue:
            error = self.refused.get(topic)
            if error is None:
                self.log.setdefault(topic, []).append(value)
            self.unreported.append((report, None if error is None else KafkaError(error), _Message(topic, value)))
        self.queue.clear()

    def report(self, count=None):
        """Say what became of so many records, in their order; without a count of all."""
        reports = self.unreported[:count]
        del self.unreported[: len(reports)]
        for report, error, message in reports:
            report(error, message)
        return len(reports)


class _Producer:
    def __init__(self, cluster):
        self._cluster = cluster

    def produce(self, topic, value, _key, _partition, report, *_):
        self._cluster.queue.append((topic, value, report))

    def poll(self, _seconds):
        self._cluster.take()
        return 0 if self._cluster.late else self._cluster.report()

    def purge(self):
        self._cluster.queue.clear()
        self._cluster.unreported.clear()

    def close(self):
        pass

    def __len__(self):
        return len(self._cluster.queue) + len(self._cluster.unreported)


class _Message:
    def __init__(self, topic, value):
        self._topic, self._value = topic, value

    def topic(self):
        return self._topic

    def value(self):
        return self._value
