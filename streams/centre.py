"""The way to the centre: its Kafka, its registry's names for a plant's schemas, and whether they answer."""

import asyncio
from typing import Final

from faust.types import TP
from mode import Service
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from schemas.catalog import Contract
from schemas.registry import Registry, RegistryDown, SchemaRefused
from streams.access import named
from streams.assembly import App, KafkaAway, NotReady, require_topics
from streams.lag import LogEnds
from streams.producer import Producer
from streams.settings import settings
from streams.web import State

# Between two questions whether the centre's Kafka answers; one that does not is known within five seconds more.
PROBE_SECONDS: Final = 1.0


class Centre(Service):
    """A connection to another cluster, for as long as the app runs; started before and stopped after those that use it."""

    producer: Producer
    """Into the centre's Kafka."""

    def __init__(self, app: App) -> None:
        """The centre of the settings, for what `app` reads when it starts."""
        super().__init__()
        self._app = app
        self._ends = LogEnds(settings().centre)
        self._ids: dict[tuple[str, int], int] = {}
        self._answers = True
        self._problem = ""
        app.services.append(self)
        app.waits.append(self._waits)
        app.checks["centre"] = self.reachable
        app.on_worker_init.connect(self._require, weak=False)

    def reachable(self) -> State:
        """Whether the centre takes what a plant has for it."""
        return State(self._answers and not self._problem, {"kafka": settings().centre, "answers": self._answers, "registry": self._problem})

    async def schema_id(self, contract: Contract, theirs: int) -> int:
        """The centre's id of the schema the plant's registry has under `theirs`; waits for as long as it gives none."""
        place = contract.topic, theirs
        if place not in self._ids:
            retrying = AsyncRetrying(
                retry=retry_if_exception_type((RegistryDown, SchemaRefused)),
                wait=wait_exponential_jitter(multiplier=0.2, max=5),
                before_sleep=self._note,
            )
            version = self._app.writers.known[theirs]
            self._ids[place] = await retrying(asyncio.to_thread, self._registry.register, contract, version)
            self._problem = ""
        return self._ids[place]

    async def on_start(self) -> None:
        """Connect in the background."""
        self.producer = Producer(settings().centre, gone=self._gone)
        self._registry = Registry(settings().centre_registry, settings().data / "schemas")
        self._ends.connect(self._app.reads)

    async def on_stop(self) -> None:
        """Disconnect; what Kafka has not confirmed is not acknowledged and comes again."""
        await self.producer.close()

    @Service.task
    async def _probe(self) -> None:
        while not self.should_stop:
            self._answers = await asyncio.to_thread(self._ends.ask)
            await self.sleep(PROBE_SECONDS)

    def _gone(self, topic: str) -> None:
        where = f"the centre's Kafka at {settings().centre}"
        self._app.give_up(f"{topic}: gone from {where}. Run `headrace topics` there, which makes it; then start it again.")

    def _note(self, state: RetryCallState) -> None:
        self._problem = str(state.outcome.exception()) if state.outcome else ""
        self.log.warning("centre_awaited attempt=%d: %s", state.attempt_number, self._problem)

    def _waits(self) -> dict[TP, str]:
        if self.reachable().ok:
            return {}
        return {TP(named(contract.topic), partition): "centre" for contract in self._app.reads for partition in range(contract.partitions)}

    def _require(self, *_: object, **__: object) -> None:
        """Before the worker starts, topics as the catalogue says; a centre that is away is waited for. Raises NotReady."""
        if not (settings().centre and settings().centre_registry):
            raise NotReady("Where is the centre? Set HEADRACE_CENTRE to its Kafka's bootstrap servers, and HEADRACE_CENTRE_REGISTRY.")
        try:
            cluster = require_topics(settings().centre, {named(contract.topic): contract.partitions for contract in self._app.reads})
        except KafkaAway:
            self._answers = False
            self.log.warning("centre_awaited kafka=%s", settings().centre)
        else:
            if cluster == self._app.cluster:
                raise NotReady(f"HEADRACE_CENTRE is {settings().centre}, the plant's own Kafka; it is to be the centre's.")
