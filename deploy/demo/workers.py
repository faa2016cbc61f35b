"""The lines' own processes, run as services of the local stack are: own log file, readiness asked for, stopped in order."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from deploy.embedded import preflight
from deploy.embedded.service import Service
from streams.settings import Settings

HOST: Final = "127.0.0.1"
PORTS: Final = {"factory": 6066, "city": 6071, "warehouse": 6067, "desk": 6069, "gateway": 6068}
"""Where each worker's web endpoints are, unless something else is there already."""
CITY_TENANT: Final = "city"
CITY_SECONDS: Final = 1.5
"""From a device's message to its next, about: two cores have a whole line to carry."""
LAST_ANSWERS_SECONDS: Final = 180.0
"""A busy machine's broker takes minutes for the ten thousand messages a simulator may have on their way."""


def with_listeners(ours: Settings) -> Settings:
    """Settings by which the gateway takes messages over HTTP, WebSocket and CoAP, too: on free ports where they name none."""
    fields = ("gateway_http", "gateway_websocket", "gateway_coap")
    free = {field: f"{HOST}:{port}" for field, port in zip(fields, preflight.free_ports(len(fields)), strict=True)}
    # nobody who knows these ports is to be held back but by them
    return ours.model_copy(update={"gateway_device_rate": 0} | {field: getattr(ours, field) or free[field] for field in fields})


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
        return self.succeeds(self.url("/ready"), 2)

    def url(self, path: str) -> str:
        """The address of one of its pages."""
        return f"http://{self.host}:{self.port}{path}"


class Simulator(Service):
    """`headrace simulate <domain>`; what was due is in `<data>/<name>/truth` when it has stopped."""

    def __init__(self, settings: Settings, name: str, domain: str, *options: str) -> None:
        data = settings.data.resolve()
        self.settings = settings.model_copy(update={"data": data})
        self.name = name  # type: ignore[misc]  # a class's in the services of the stack
        self.folder = data / name
        self.log = data / "logs" / f"{name}.log"
        self.truth = self.folder / "truth"
        self.host, self.port = HOST, 0
        self.process = None
        self._words = ["simulate", domain, *options, "--truth", str(self.truth)]

    @classmethod
    def of_factory(cls, settings: Settings, devices: int) -> "Simulator":
        """Five plants, over MQTT."""
        return cls(settings, "simulator", "factory", "--devices", str(devices))

    @classmethod
    def of_city(cls, settings: Settings, devices: int, protocols: Iterable[str]) -> "Simulator":
        """A city on a network that sends some messages twice."""
        options = {"devices": devices, "rate": devices / CITY_SECONDS, "duplicates": 0.02, "tenant": CITY_TENANT}
        options["protocols"] = ",".join(protocols)
        return cls(settings, "city-simulator", "city", *(f"--{name}={value}" for name, value in options.items()))

    def command(self) -> list[str]:
        """The headrace command beside this Python; what an earlier run was due is gone."""
        self.truth.unlink(missing_ok=True)
        return [str(Path(sys.executable).with_name("headrace")), *self._words]

    def answers(self) -> bool:
        """Nobody asks it anything."""
        return self.running

    def stop(self, seconds: float = LAST_ANSWERS_SECONDS) -> None:
        """Stop it once what it sent is answered for, by force after that many seconds."""
        super().stop(seconds)
