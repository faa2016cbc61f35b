"""The lines' own processes, run as services of the local stack are: own log file, readiness asked for, stopped in order."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil
from pydantic import SecretStr

from deploy.embedded import preflight
from deploy.embedded.errors import StackError
from deploy.embedded.service import Service
from streams.settings import Settings

HOST: Final = "127.0.0.1"
STARTS: Final = 3
"""Of a worker whose port somebody takes before it does."""
PORTS: Final = {"factory": 6066, "city": 6071, "warehouse": 6067, "desk": 6069, "gateway": 6068}
"""Where each worker's web endpoints are, unless something else is there already."""


def with_listeners(ours: Settings) -> Settings:
    """Settings by which the gateway takes messages over HTTP, WebSocket and CoAP, too: on free ports where they name none.

    The workers are this machine's alone, and the demo asks their pages without a token.
    """
    fields = ("gateway_http", "gateway_websocket", "gateway_coap")
    free = {field: f"{HOST}:{port}" for field, port in zip(fields, preflight.free_ports(len(fields)), strict=True)}
    # nobody who knows these ports is to be held back but by them
    open_to_us = {"gateway_device_rate": 0, "web_token": SecretStr(""), "tenant_tokens": SecretStr("")}
    return ours.model_copy(update=open_to_us | {field: getattr(ours, field) or free[field] for field in fields})


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

    def wait(self, report: Callable[[str], None] = lambda _: None) -> None:
        """Return when it is ready; on another port if somebody was faster. StackError as of any service."""
        for _ in range(STARTS):
            try:
                return super().wait(report)
            except StackError:
                if self.running or preflight.is_free(self.host, self.port):
                    raise
                self.port = preflight.free_ports(1)[0]
                self.start()
        return super().wait(report)

    def answers(self) -> bool:
        """Whether it is ready: itself, and not what else may listen there."""
        return self._listens() and self.succeeds(self.url("/ready"), 2)

    def _listens(self) -> bool:
        try:
            connections = self.process.net_connections("tcp") if self.process is not None else []
        except psutil.NoSuchProcess:
            return False
        return any(connection.laddr[1:] == (self.port,) and connection.status == psutil.CONN_LISTEN for connection in connections)

    def url(self, path: str) -> str:
        """The address of one of its pages."""
        return f"http://{self.host}:{self.port}{path}"
