"""Whether a worker's topics are those that were there when it started: it ends where they are not, and says what to do."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException
from mode import Service

from streams.kafka.topic_ids import Change, changes, topic_ids
from streams.settings import settings
from streams.worker.threads import Threads

if TYPE_CHECKING:
    from streams.assembly import App

LOOK_SECONDS: Final = 10.0
# A broker that has just come back may not tell of all its topics yet.
AGAIN_SECONDS: Final = 3.0
# So many are named.
MOST_NAMED: Final = 5


class SameTopics(Service):
    """Looks at all that the worker reads and writes again and again, and a second time before it believes in a change."""

    def __init__(self, app: "App") -> None:
        """Of `app`, which knows its topics' ids when it starts."""
        super().__init__()
        self._app = app
        self._thread = Threads("same-topics")
        self.remedies: dict[str, str] = {}
        """What to do where a topic is another one, beside starting the worker again; by topic as Kafka calls it."""

    def gone(self, topic: str) -> None:
        """End the worker: Kafka says that it has no such topic, and a record for it was lost to the producer."""
        self._end({topic: Change.GONE})

    @Service.task
    async def _look(self) -> None:
        while not self.should_stop:
            await self.sleep(LOOK_SECONDS)
            await self.explain()

    async def explain(self) -> None:
        """End the worker in words if two looks find that topics changed; asked before a crash is told, too, as that may be its reason."""
        if suspected := await self._changes():
            await asyncio.sleep(AGAIN_SECONDS)
            if confirmed := {topic: change for topic, change in (await self._changes()).items() if topic in suspected}:
                self._end(confirmed)

    async def _changes(self) -> dict[str, Change]:
        with suppress(KafkaException):  # away: those are the same until Kafka says otherwise
            return changes(self._app.topic_ids, await self._thread.run(topic_ids, settings().kafka, self._app.topic_ids))
        return {}

    def _end(self, found: Mapping[str, Change]) -> None:
        self._app.give_up(reason(found, self.remedies))


def reason(found: Mapping[str, Change], remedies: Mapping[str, str]) -> str:
    """What happened to a worker's topics, and what to do."""
    gone, anew = ([topic for topic, what in found.items() if what is change] for change in (Change.GONE, Change.MADE_ANEW))
    said = [
        f"{_listed(gone)}: gone from Kafka at {settings().kafka} while this worker ran. Run `headrace topics`, which makes them."
    ] * bool(gone)
    said += [f"{_listed(anew)}: made anew while this worker ran."] * bool(anew)
    said += dict.fromkeys(remedies[topic] for topic in found if topic in remedies)
    return " ".join([*said, "Start it again after that." if gone or len(said) > 1 else "Start it again."])


def _listed(topics: list[str]) -> str:
    named, more = topics[:MOST_NAMED], len(topics) - MOST_NAMED
    return f"{', '.join(named)} and {more} more" if more > 0 else " and ".join([", ".join(named[:-1])] * (len(named) > 1) + named[-1:])
