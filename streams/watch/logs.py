"""Whether the topics that a worker's work rests on are those they were when it started."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from confluent_kafka import KafkaException
from mode import Service

from streams.assembly import App
from streams.kafka.topic_ids import made_anew, topic_ids
from streams.settings import settings
from streams.worker.threads import Threads

LOOK_SECONDS: Final = 10.0


class Logs(Service):
    """Looks at them again and again, and ends the worker where one was made anew."""

    def __init__(self, app: App, topics: Sequence[str], reason: Callable[[Sequence[str]], str]) -> None:
        """Run with `app`; topics as Kafka calls them. `reason` says why the worker stops where some were made anew."""
        super().__init__()
        self._app, self._topics, self._reason = app, topics, reason
        self._thread = Threads(f"logs-{topics[0]}")
        app.services.append(self)

    @property
    def ids(self) -> Mapping[str, str]:
        """Topic → id when the worker started, where Kafka has ids."""
        return {topic: self._app.topic_ids[topic] for topic in self._topics if topic in self._app.topic_ids}

    @Service.task
    async def _look(self) -> None:
        while not self.should_stop:
            await self.sleep(LOOK_SECONDS)
            with suppress(KafkaException):
                now = await self._thread.run(topic_ids, settings().kafka, self._topics)
                if changed := made_anew(self.ids, now):
                    self._app.give_up(self._reason(changed))
