"""The line's own processes, run as services of the local stack are: own log file, readiness asked for, stopped in order."""

import sys
from pathlib import Path
from typing import Final

import httpx

from deploy.embedded import preflight
from deploy.embedded.service import Service
from streams.settings import Settings

HOST: Final = "127.0.0.1"
PORTS: Final = {"factory": 6066, "warehouse": 6067, "desk": 6069, "gateway": 6068}
"""Where each worker's web endpoints are, unless something else is there already."""


class Worker(Service):
    """`faust -A streams.<name> worker`; its log is `<data>/logs/<name>.log`."""

    def __init__(self, settings: Settings, name: str) -> None:
        data = settings.data.resolve()
        self.settings = settings.model_copy(update={"data": data})
        self.name = name  # type: ignore[misc]  # a class's in the services of the stack
        self.folder = data / name
        self.log = data / "logs" / f"{name}.log"
        self.host, self.port = HOST, PORTS[name] if preflight.is_free(HOST, PORTS[name]) else preflight.free_ports(1)[0]
        self.process = None

    def command(self) -> list[str]:
        """The faust command beside this Python."""
        faust = str(Path(sys.executable).with_name("faust"))
        return [faust, "-A", f"streams.{self.name}", "--datadir", str(self.folder), "worker", "-l", "info", "--web-port", str(self.port)]

    def answers(self) -> bool:
        """Whether it is ready."""
        try:
            return httpx.get(self.url("/ready"), timeout=2).is_success
        except httpx.HTTPError:
            return False

    def url(self, path: str) -> str:
        """The address of one of its pages."""
        return f"http://{self.host}:{self.port}{path}"


class Simulator(Service):
    """`headrace simulate factory`, over MQTT; what was due is in `<data>/simulator/truth.jsonl` when it has stopped."""

    name = "simulator"

    def __init__(self, settings: Settings, devices: int) -> None:
        data = settings.data.resolve()
        self.settings = settings.model_copy(update={"data": data})
        self.folder = data / self.name
        self.log = data / "logs" / f"{self.name}.log"
        self.truth = self.folder / "truth.jsonl"
        self.host, self.port = HOST, 0
        self.process = None
        self._devices = devices

    def command(self) -> list[str]:
        """The headrace command beside this Python."""
        headrace = str(Path(sys.executable).with_name("headrace"))
        return [headrace, "simulate", "factory", "--devices", str(self._devices), "--truth", str(self.truth)]

    def answers(self) -> bool:
        """Nobody asks it anything."""
        return self.running
