"""A worker's Faust app: our transport and store, the settings that differ from Faust's own, and a check before it starts."""

import asyncio
import gc
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, NoReturn, cast

import faust
import polars as pl
from confluent_kafka import KafkaException
from faust.exceptions import AlreadyConfiguredWarning
from faust.types import AppT, TopicT
from faust.types.tuples import Message
from mode import Service
from mode.types import ServiceT

from agents.gateway.letters import letters, too_large
from schemas.bounds import RECORD_BYTES
from schemas.catalog import DEAD_LETTERS, Contract
from schemas.registry import Registry, RegistryDown, SchemaRefused
from schemas.rejects import Reason
from schemas.wire import encode
from streams import transport, web
from streams.access import Asked, Refused, named
from streams.batches import BATCH_TOPICS
from streams.clock import now_ms
from streams.collector import of_worker
from streams.credentials import credentials
from streams.exposition import Metrics
from streams.kafka.topic_ids import topic_ids
from streams.lag import Waits
from streams.logs import quieten
from streams.membership import Assignor, address
from streams.producer import Producer
from streams.settings import POLARS_THREADS, settings
from streams.stacks import STDERR
from streams.watchdog import Watchdog
from streams.worker.descriptors import raise_limit
from streams.worker.loopback import is_loopback
from streams.worker.process import Worker
from streams.worker.same_topics import SameTopics
from streams.writers import Writers

# Encoding and queueing a slice takes 5 ms: what other partitions wait for at most.
SLICE_ROWS: Final = 2_000
# Between two pieces of work that can wait: a batch that came meanwhile needs several rounds of the event loop to reach its agent, and
# some milliseconds of work; a checkpoint has a second.
BREATH_SECONDS: Final = 0.02
TIMEOUT_SECONDS: Final = 30


class NotReady(SystemExit):
    """The worker cannot start; the message says what to do. Exit code 1."""


class KafkaAway(NotReady):
    """A Kafka does not answer."""


class App(faust.App):
    """A Faust app whose parts say which contracts they read and write."""

    def __init__(self, name: str, *, web_port: int) -> None:
        """Connect to nothing yet. `web_port`: where `/live`, `/ready` and `/metrics` are, unless `--web-port` says otherwise."""
        self.reads: list[Contract] = []
        self.writes: list[Contract] = [DEAD_LETTERS]
        """Their topics and schemas are there when the worker starts, or it does not."""
        self.services: list[Service] = []
        """Run from the app's start to its stop."""
        self.prerequisites: list[Service] = []
        """The same, but started before anything is read."""
        self.cluster = ""
        """Kafka's own name for itself, once it was asked."""
        self.topic_ids: Mapping[str, str] = {}
        """Topic → Kafka's id of it (empty: not told), of those read and written, changelogs included, when the worker started."""
        self.schema_ids: Mapping[str, int] = {}
        """Topic → id of the schema its records are written with."""
        super().__init__(
            named(name),  # its group, and the first part of its changelogs
            broker=[f"batch://{server}" for server in settings().kafka.split(",")],
            broker_credentials=credentials(),
            store="checkpoint://",
            datadir=str(settings().data / "faust"),
            topic_allow_declare=False,  # topics come from the catalogue: a worker sees one that is made later only after minutes
            topic_disable_leader=True,
            consumer_auto_offset_reset="earliest",
            consumer_group_instance_id=settings().instance or None,
            consumer_max_fetch_size=2 << 20,  # per partition, compressed: some 50,000 readings
            broker_session_timeout=10,  # a killed worker's partitions move on after this; Faust's default is a minute
            broker_heartbeat_interval=2,
            # A worker that waits for ClickHouse or the registry reads nothing meanwhile, for as long as Kafka keeps what it waits with. One
            # that hangs is the watchdog's affair; Faust's default takes it for dead after 1,000 s.
            broker_max_poll_interval=7 * 24 * 3600,
            broker_commit_interval=0.5,  # of what is acknowledged, once a checkpoint
            stream_buffer_maxsize=8,  # batches, not records
            stream_wait_empty=False,  # what is not acknowledged is read again; waiting for it only delays a rebalance
            PartitionAssignor=Assignor,
            Worker=Worker,
            web_bind=settings().web_bind,
            web_port=web_port,
            worker_redirect_stdouts=False,
        )
        self.metrics = Metrics()
        self.metrics.sources.append(partial(of_worker, self))
        self.checks: dict[str, web.Check] = {}
        """What `/ready` asks, by name."""
        self.waits: list[Waits] = []
        """What is asked for the partitions that wait for something which is away."""
        self.watchdog = Watchdog(self)
        self.same_topics = SameTopics(self)
        web.mount(self)
        self.on_worker_init.connect(self._prepare)

    @property
    def bulk(self) -> Producer:
        """The producer, for sending in batches."""
        return cast(transport.Producer, self.producer).bulk

    @property
    def writers(self) -> Writers:
        """Schemas of what is read."""
        return self._writers

    def on_init_dependencies(self) -> Iterable[ServiceT]:
        """Those that watch, what reading needs, Faust's own services, then ours; they stop in the opposite order."""
        return [self.watchdog, self.same_topics, *self.prerequisites, *super().on_init_dependencies(), *self.services]

    async def on_first_start(self) -> None:
        """Faust's hook before anything starts."""
        with warnings.catch_warnings(action="ignore", category=AlreadyConfiguredWarning):  # the command has set it from --web-port
            self.conf.canonical_url = address(self.conf)
        await super().on_first_start()

    async def on_started(self) -> None:
        """Faust's hook when tables are recovered."""
        await super().on_started()
        # What is there now stays there: looking through it for garbage takes 50 ms, in which no alert leaves.
        gc.collect()
        gc.freeze()
        # What batches leave behind is freed by its last reference. To look after each 700 objects is a fifth of a gateway's work.
        gc.set_threshold(50_000)

    def give_up(self, reason: str) -> NoReturn:
        """End the process at once, with exit code 1 and a sentence: nothing is written, acknowledged or committed any more."""
        with open(STDERR, "w", encoding="utf-8", closefd=False) as stderr:
            print(f"{self.conf.id} stops: {reason}", file=stderr, flush=True)
        os._exit(1)

    def batch_topic(self, *contracts: Contract, gathered_ms: int | None = None) -> TopicT:
        """The contracts' topics, delivered in batches to one stream: an event's value is a `streams.batches.Batch`.

        Few records are gathered for as long as each contract says, or for `gathered_ms`.
        """
        topics = [named(contract.topic) for contract in contracts]
        BATCH_TOPICS.declare(*topics)
        for contract, topic in zip(contracts, topics, strict=True):
            BATCH_TOPICS.declare(topic, gathered_seconds=(contract.gathered_ms if gathered_ms is None else gathered_ms) / 1000)
        return self.topic(*topics, schema=_AsTheyAre())

    async def send_frame(
        self, contract: Contract, frame: pl.DataFrame, keys: Sequence[bytes | None] | None = None, timestamps: Sequence[int] | None = None
    ) -> None:
        """Queue a record for each row, keyed by the contract's key unless `keys` are given; delivered after the producer's next flush.

        `timestamps` (ms) are Kafka's; without them it is now.
        """
        start = 0
        for part in frame.iter_slices(SLICE_ROWS):
            values = encode(contract.codec, self.schema_ids[contract.topic], part)
            of_part = keys[start : start + part.height] if keys is not None else part[cast(str, contract.key)].cast(pl.Binary).to_list()
            of_then = timestamps[start : start + part.height] if timestamps is not None else None
            if too_large(of_part, values):
                of_part, values, of_then = await self._without_too_large(contract, of_part, values, of_then)
            await self.bulk.send_batch(named(contract.topic), of_part, values, timestamps=of_then)
            start += part.height
            if start < frame.height:
                await asyncio.sleep(BREATH_SECONDS)

    async def _without_too_large(
        self, contract: Contract, keys: Sequence[bytes | None], values: Sequence[bytes], timestamps: Sequence[int] | None
    ) -> tuple[Sequence[bytes | None], list[bytes], Sequence[int] | None]:
        """Records that Kafka takes; the others are dead letters: one that Kafka refuses would be the producer's end."""
        large = set(too_large(keys, values))
        rows = sorted(large)
        details = [f"a record of {contract.topic} of {len(values[row])} bytes, at most {RECORD_BYTES} are written" for row in rows]
        topics, reasons = [named(contract.topic)] * len(rows), [Reason.TOO_LARGE] * len(rows)
        told = letters(reasons, details, topics, [keys[row] for row in rows], [values[row] for row in rows], now_ms())
        await self.send_frame(DEAD_LETTERS, told, told["key"].to_list())
        kept = [row for row in range(len(values)) if row not in large]
        return [keys[row] for row in kept], [values[row] for row in kept], timestamps and [timestamps[row] for row in kept]

    def _prepare(self, *_: object, **__: object) -> None:
        """Before the worker starts: topics as the catalogue says, and schemas in the registry. Raises NotReady."""
        quieten()
        require_polars_threads()
        raise_limit()
        if not is_loopback(settings().web_bind) and not settings().web_token.get_secret_value():
            raise NotReady(f"HEADRACE_WEB_BIND is {settings().web_bind}, which others can reach: set HEADRACE_WEB_TOKEN to a secret, too.")
        changelogs = {f"{self.conf.id}-{table.name}-changelog": cast(int, table.partitions) for table in self.tables.values()}
        wanted = {named(contract.topic): contract.partitions for contract in (*self.reads, *self.writes)} | changelogs
        self.cluster = require_topics(settings().kafka, wanted)
        try:
            self.topic_ids = {topic: identity or "" for topic, identity in topic_ids(settings().kafka, wanted).items()}
        except KafkaException as error:
            message = f"Kafka at {settings().kafka} does not tell its topics' ids ({error.args[0].str()}). Start the worker again."
            raise KafkaAway(message) from error
        registry = Registry(settings().registry, settings().data / "schemas")
        with suppress(RegistryDown):  # what is cached is good enough without it
            registry.verify()
        try:
            self.schema_ids = {contract.topic: registry.register(contract) for contract in (*self.reads, *self.writes)}
        except RegistryDown as down:
            raise NotReady(f"{down}. Start it (headrace up), or set HEADRACE_REGISTRY to where it is.") from down
        except SchemaRefused as refused:
            raise NotReady(f"The registry refuses a schema of this version: {refused}. `headrace schemas check` says more.") from refused
        self._writers = Writers(registry)


class _AsTheyAre(faust.Schema[Any, Any]):
    """Keys and values as the transport gives them."""

    def loads_key(self, app: AppT, message: Message, **_: Any) -> Any:  # noqa: ANN401  # Faust's own signature
        return message.key

    def loads_value(self, app: AppT, message: Message, **_: Any) -> Any:  # noqa: ANN401
        return message.value


def require_polars_threads() -> None:
    """NotReady where a module loaded Polars before this package could say how many threads it is to take."""
    if (threads := pl.thread_pool_size()) != int(POLARS_THREADS):
        raise NotReady(
            f"Polars was loaded with {threads} threads instead of {POLARS_THREADS}: "
            f"import streams before anything that loads Polars, or set POLARS_MAX_THREADS={POLARS_THREADS}."
        )


def require_topics(servers: str, wanted: Mapping[str, int]) -> str:
    """The cluster's own name for itself; NotReady unless each topic is there with this many partitions, KafkaAway without an answer."""
    try:
        cluster = Asked(servers).cluster(TIMEOUT_SECONDS)
    except Refused as refusal:
        raise NotReady(f"{refusal}. {refusal.remedy[0].upper()}{refusal.remedy[1:]}.") from refusal
    except KafkaException as error:
        message = f"Kafka at {servers} does not answer ({error.args[0].str()}). Start it (headrace up), or set HEADRACE_KAFKA."
        raise KafkaAway(message) from error
    there = cluster.topics
    problems = [f"{name} is missing" for name in wanted if name not in there]
    problems += [
        f"{name} has {len(there[name].partitions)} partitions instead of {count}"
        for name, count in wanted.items()
        if name in there and len(there[name].partitions) != count
    ]
    if problems:
        hidden = f", or {settings().kafka_user} may not see it: `headrace tenant add`" if settings().kafka_user else ""
        raise NotReady(f"Topics of Kafka at {servers}: {', '.join(problems)}. `headrace topics` makes missing ones{hidden}.")
    return cast(str, cluster.cluster_id)
