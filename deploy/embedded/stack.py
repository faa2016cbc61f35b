"""The local stack as a context manager: broker, registry and MQTT broker, started together and stopped together."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaException
from filelock import FileLock, Timeout

from deploy.embedded import preflight, processes
from deploy.embedded.artemis import Artemis
from deploy.embedded.errors import StackError
from deploy.embedded.kafka import Kafka
from deploy.embedded.registry import API, Registry
from deploy.embedded.service import STOP_SECONDS, Service
from deploy.patience import answered
from deploy.topics import TopicMismatchError, ensure_topics
from schemas.catalog import CONTRACTS
from schemas.registry import Registry as Client
from schemas.registry import RegistryDown, SchemaRefused
from streams.access import Refused
from streams.settings import Settings

ALL: Final = ("kafka", "registry", "mqtt")
LOCK: Final = "stack.lock"


def on_free_ports(data: Path) -> Settings:
    """Settings of a private stack: that data folder, ports nobody uses."""
    kafka, registry, broker = preflight.free_ports(3)
    return Settings(
        kafka=f"127.0.0.1:{kafka}",
        registry=f"http://127.0.0.1:{registry}{API}",
        mqtt=f"mqtt://127.0.0.1:{broker}",
        data=data,
    )


def owned(data: Path) -> bool:
    """Whether a process owns the stack of the data folder."""
    try:
        with FileLock(data.resolve() / LOCK, timeout=0):
            return False
    except Timeout:
        return True


class LocalStack:
    """Inside `with`, the services run, answer, and have the catalogue's topics and schemas; no process outlives it.

    `stack.kafka.kill()` and `.start()` are a crash and its repair; `stack.kafka.process` suspends and resumes.
    """

    def __init__(
        self,
        settings: Settings,
        services: Sequence[str] = ALL,
        report: Callable[[str], None] = lambda _: None,
        mqtt: Callable[[Settings], Service] = Artemis,
    ) -> None:
        """`services`: the names of those to run. `report`: is told what is done. `mqtt`: makes the MQTT broker."""
        self.settings = settings
        self.kafka, self.registry, self.mqtt = Kafka(settings), Registry(settings), mqtt(settings)
        everything: tuple[Service, ...] = (self.kafka, self.registry, self.mqtt)
        self.services = tuple(service for service in everything if service.name in services)
        self._report = report
        self._held = ExitStack()

    def __enter__(self) -> Self:
        data = self.settings.data.resolve()
        preflight.require_disk(data)
        try:
            self._held.enter_context(FileLock(data / LOCK, timeout=0))
        except Timeout as error:
            raise StackError(
                f"The stack in {data} is running, starting or stopping already: see `headrace status`, stop it with `headrace down`."
            ) from error
        self._held.callback(self._stop)
        try:
            self._start(data)
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._held.close()

    def _start(self, data: Path) -> None:
        # whoever owned these was killed before it could stop them
        processes.stop(list(processes.find(data).values()), STOP_SECONDS)
        for service in self.services:
            preflight.require_port(service.name, service.host, service.port)
        preflight.require_memory(sum(service.heap_mb for service in self.services))
        for service in self.services:
            self._report(f"starting {service.name}")
            service.start()
        for service in self.services:
            self._report(f"waiting for {service.name}")
            service.wait(self._report)
        try:
            self._provision()
        except (TopicMismatchError, KafkaException, Refused, RegistryDown, SchemaRefused) as error:
            raise StackError(str(error)) from error

    def _provision(self) -> None:
        if self.kafka in self.services:
            self._report("creating topics")
            answered(lambda: ensure_topics(self.settings.kafka, self.settings), KafkaException, self._report)
        if self.registry in self.services:
            self._report("registering schemas")
            client = Client(self.settings.registry, self.settings.data / "schemas")
            for contract in CONTRACTS.values():
                answered(partial(client.register, contract), RegistryDown, self._report)

    def _stop(self) -> None:
        if any(service.records for service in self.services):
            self._report("Java's caches are recorded, once: later starts take half the time; this stop takes up to half a minute")
        ours = [service.process for service in self.services if service.process is not None]
        try:
            processes.stop(ours, STOP_SECONDS)
        finally:
            # a second Ctrl-C, or one between a process's start and its being noted
            processes.stop([*ours, *processes.find(self.settings.data).values()], 0.1)
        for service in self.services:
            service.stopped()
