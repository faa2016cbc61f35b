"""Workers' state of a topic, given up: their changelogs emptied, and their group's offsets back at the start."""

import asyncio
from contextlib import closing
from typing import Any, Final

from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.catalog import Contract, in_kafka
from streams.access import quiet
from streams.kafka.coordinator import once_loaded
from streams.producer import deliver
from streams.reader import TopicReader
from streams.settings import Settings

TIMEOUT_SECONDS: Final = 30
ENDED: Final = (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD)


class NothingKept(Exception):
    """No changelog has a key, and no offset is committed that is not the start."""


class StillRunning(Exception):
    """Workers of the group run, and would write their state again."""


def forget_state(ours: Settings, source: Contract) -> dict[str, int]:
    """Keys removed by changelog. Raises StillRunning, NothingKept, KafkaException, DeliveryFailed.

    The changelogs first: interrupted in between, a worker finds no state where offsets are committed, and says so.
    """
    admin = AdminClient(quiet(ours.kafka, ours))
    # a changelog's name is <app>-<table>-changelog, the app's name that of its group
    groups = {in_kafka(ours.tenant, changelog.partition("-")[0]) for changelog in source.changelogs}
    for group in groups:
        found = _described(admin, group)
        if found.state not in ENDED:
            raise StillRunning(f"{len(found.members)} workers of {group} are running: stop them first. One that was killed leaves in 10 s.")
    emptied = {changelog: _empty(ours, changelog, source.partitions) for changelog in source.changelogs}
    start = [TopicPartition(in_kafka(ours.tenant, source.topic), partition, 0) for partition in range(source.partitions)]
    if not any(emptied.values()) and not any(_committed(admin, group, start) for group in groups):
        raise NothingKept(f"no state of {source.topic} is kept: there is nothing to forget")
    for group in groups:
        for answer in admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, start)]).values():
            answer.result()
    return emptied


@once_loaded(TIMEOUT_SECONDS)
def _described(admin: AdminClient, group: str) -> Any:  # noqa: ANN401  # confluent-kafka does not export its type
    (answer,) = admin.describe_consumer_groups([group], request_timeout=TIMEOUT_SECONDS).values()
    return answer.result()


def _committed(admin: AdminClient, group: str, partitions: list[TopicPartition]) -> bool:
    """Whether a group is to go on anywhere but at the start."""
    asked = [ConsumerGroupTopicPartitions(group, [TopicPartition(each.topic, each.partition) for each in partitions])]
    (answer,) = admin.list_consumer_group_offsets(asked, request_timeout=TIMEOUT_SECONDS).values()
    return any(each.offset > 0 for each in answer.result().topic_partitions)


def _empty(ours: Settings, changelog: str, partitions: int) -> int:
    """Write a tombstone for every key; how many."""
    contract = Contract(topic=changelog, key=None, partitions=partitions, retention_hours=0, compacted=True)
    count = 0
    with closing(TopicReader(contract)) as reader:
        for partition in reader.spans:
            there: dict[bytes | None, bool] = {}
            for batch in reader.batches(partition):
                there |= {key: value is not None for key, value in zip(batch.keys, batch.values, strict=True)}
            keys = [key for key, is_there in there.items() if is_there]
            count += len(keys)
            topic = in_kafka(ours.tenant, changelog)
            asyncio.run(deliver(ours.kafka, topic, keys, [None] * len(keys), TIMEOUT_SECONDS, partition=partition))
    return count
