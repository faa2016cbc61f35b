"""The lines' own processes, run as services of the local stack are: own log file, readiness asked for, stopped in order."""

import sys
from pathlib import Path
from typing import Final

from deploy.embedded import preflight
from deploy.embedded.service import Service
from streams.settings import Settings

HOST: Final = "127.0.0.1"
PORTS: Final = {"factory": 6066, "city": 6071, "warehouse": 6067, "desk": 6069, "gateway": 6068}
"""Where each worker's web endpoints are, unless something else is there already."""


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
