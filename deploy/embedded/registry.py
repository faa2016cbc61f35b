"""Apicurio Registry, speaking the Confluent REST API, its schemas in an H2 file."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import urlsplit

from deploy.embedded.artifacts import fetch, pins, unpack
from deploy.embedded.errors import StackError
from deploy.embedded.java import JavaService
from streams.worker.addresses import shown

API: Final = "/apis/ccompat/v7"
"""Where it serves Confluent's API."""


class Registry(JavaService):
    """The schema registry; clients reach it at the setting `registry`."""

    name: ClassVar[str] = "registry"

    @property
    def heap_mb(self) -> int:
        """From the settings."""
        return self.settings.registry_heap_mb

    @cached_property
    def archives(self) -> list[Path]:
        """The Quarkus runner, unpacked; it names its libraries itself."""
        (pin,) = pins(self.name)
        (archive,) = fetch([pin])
        return list(unpack(archive, pin.sha256).glob("*-runner.jar"))

    def options(self) -> list[str]:
        """The serial collector and the first compiler: a registry is asked a few times an hour, its start-up is what costs."""
        return ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]

    def command(self) -> list[str]:
        """The Quarkus runner's command line. StackError where the setting names another path than it serves."""
        if urlsplit(self.settings.registry).path.rstrip("/") != API:
            raise StackError(
                f"HEADRACE_REGISTRY is {shown(self.settings.registry)!r}; the local registry serves its API at {API}: "
                f"set HEADRACE_REGISTRY=http://{self.host}:{self.port}{API}."
            )
        (runner,) = self.archives
        return [*self.recording_java(), f"-Xmx{self.heap_mb}m", "-jar", str(runner)]

    def variables(self) -> Mapping[str, str]:
        """Where it listens and keeps its schemas: on disk before it answers, as H2 by itself writes up to half a second later."""
        return {
            "QUARKUS_HTTP_HOST": self.host,
            "QUARKUS_HTTP_PORT": str(self.port),
            "REGISTRY_DATASOURCE_URL": f"jdbc:h2:file:{self.folder / 'schemas'};WRITE_DELAY=0",
        }

    def answers(self) -> bool:
        """Whether it lists its subjects."""
        return self.connects() and self.succeeds(f"{self.settings.registry}/subjects", 5)
