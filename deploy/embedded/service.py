"""One process of the local stack: started with its log file, asked whether it answers, stopped or killed."""

import signal
import socket
import ssl
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Final
from urllib.parse import urlsplit

import httpx
import psutil

from deploy.embedded import processes
from deploy.embedded.errors import StackError
from deploy.embedded.log_files import bound
from deploy.patience import Patience
from schemas.folders import private
from streams.settings import Settings
from streams.worker.addresses import shown

TAIL_LINES: Final = 12
STOP_SECONDS: Final = 30.0
START_SECONDS: Final = 180.0  # without work: Kafka checks every open segment after a crash, on a busy machine for minutes
WORK_SECONDS: Final = 5.0  # of the processor or the disk in that time: an idle server takes less
SAY_SECONDS: Final = 10.0
# It trusts nobody: to read the authorities' certificates takes 40 ms of the processor.
LOCAL: Final = httpx.Client(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), limits=httpx.Limits(max_keepalive_connections=0))
"""Asks servers of this machine, over http."""


class Service(ABC):
    """A server process bound to the loopback address; its files are under `<data>/<name>`, its log is `<data>/logs/<name>.log`."""

    name: ClassVar[str]
    """Also the settings' field with its address."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = settings.data.resolve() / self.name
        self.log = settings.data.resolve() / "logs" / f"{self.name}.log"
        self.host, self.port = address(self.name, getattr(settings, self.name))
        self.process: psutil.Popen | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """The command line; what it reads (configuration, formatted storage) is written first."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it does its work, asked as its clients ask."""

    def variables(self) -> Mapping[str, str]:
        """Environment variables of its own."""
        return {}

    @property
    def heap_mb(self) -> int:
        """Java heap it reserves, MiB."""
        return 0

    @property
    def records(self) -> bool:
        """Whether its stop takes longer, as it keeps what makes the next start faster."""
        return False

    @property
    def running(self) -> bool:
        """Whether the process that we started lives."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the process; it is not yet ready."""
        private(self.folder)
        private(self.log.parent)
        command = self.command()
        environment = self.settings.environment(**processes.marks(self.settings.data, self.name), **self.variables())
        with self.log.open("ab") as log:
            # its own session: Ctrl-C in the terminal is for us, who stop the services in order
            self.process = psutil.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env=environment, start_new_session=True
            )
        process = self.process
        bound(self.log, while_=lambda: process.poll() is None)

    def wait(self, report: Callable[[str], None] = lambda _: None) -> None:
        """Return when it answers; StackError if it stopped, or neither answers nor works for START_SECONDS."""
        patience, began, said = Patience(START_SECONDS), time.monotonic(), SAY_SECONDS
        while not self.answers():
            if not self.running:
                raise StackError(self.ended())
            seconds = time.monotonic() - began
            if not patience.lasts(self.process and processes.worked(self.process) // WORK_SECONDS):
                raise StackError(f"{self.name} does not answer on {self.host}:{self.port} after {seconds:.0f} s. {self.tail()}")
            if seconds > said:
                said += SAY_SECONDS
                report(f"waiting for {self.name}, for {seconds:.0f} s so far; its log is {self.log}")
            time.sleep(0.1)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Stop it cleanly, by force after that many seconds."""
        if self.process is not None:
            processes.stop([self.process], seconds)
            self.stopped()

    def stopped(self) -> None:  # noqa: B027 - most leave nothing
        """What is left to do once its process has ended."""

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ended(self) -> str:
        """How it ended, in words, and the end of its log."""
        code = self.process.poll() if self.process is not None else None
        how = (
            "was killed (SIGKILL): by someone, or by the kernel for want of memory"
            if code == -signal.SIGKILL
            else f"stopped, exit code {code}"
        )
        return f"{self.name} {how}. {self.tail()}"

    def tail(self) -> str:
        """The last lines of its log, and where that is."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"Last lines of {self.log}:", *lines[-TAIL_LINES:]])

    def succeeds(self, url: str, seconds: float) -> bool:
        """Whether it answers a question with success, within that time."""
        try:
            return LOCAL.get(url, timeout=seconds).is_success
        except httpx.HTTPError:
            return False

    def connects(self) -> bool:
        """Whether its port takes connections."""
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
        except OSError:
            return False
        return True


def address(name: str, url: str) -> tuple[str, int]:
    """Host and port of a setting's address; StackError unless it is one on this machine."""
    parts = urlsplit(url if "://" in url else f"//{url}")
    if parts.hostname not in ("127.0.0.1", "localhost") or not parts.port:
        raise StackError(
            f"HEADRACE_{name.upper()} is {shown(url)!r}, which the local stack cannot serve: it needs 127.0.0.1:<port>. "
            "To work with servers elsewhere, start the workers without `headrace up`."
        )
    return parts.hostname, parts.port
