"""The demo's devices: `headrace simulate`, run as a service of the local stack is."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

from agents.gateway.message import Source
from deploy.demo.workers import HOST
from deploy.embedded import processes
from deploy.embedded.service import WORK_SECONDS, Service
from deploy.patience import Patience
from deploy.simulate.status import Status
from streams.base.variables import SIMULATE_TOKEN
from streams.settings import Settings

CITY_TENANT: Final = "city"
CITY_SECONDS: Final = 1.5
"""From a device's message to its next, about."""
SILENCE_SECONDS: Final = 300.0
"""Longer than a simulator itself waits for an acknowledgement: it then says which are missing."""


class Simulator(Service):
    """`headrace simulate <domain>`; what it sent is in `sent`, a Parquet file, when it has stopped."""

    def __init__(self, settings: Settings, name: str, domain: str, *options: str, token: str = "") -> None:
        data = settings.data.resolve()
        self.settings = settings.model_copy(update={"data": data})
        self.name = name  # type: ignore[misc]  # a class's in the services of the stack
        self.folder = data / name
        self.log = data / "logs" / f"{name}.log"
        self.host, self.port = HOST, 0
        self.process = None
        self._token = token
        self._files = {option: self.folder / file for option, file in {"status": "status.json", **self.files}.items()}
        self._words = ["simulate", domain, *options, *(f"--{option}={file}" for option, file in self._files.items())]
        self._patience = Patience(SILENCE_SECONDS)

    files: ClassVar[Mapping[str, str]] = {}
    """Its other files by option."""

    def command(self) -> list[str]:
        """The headrace command beside this Python; what an earlier run sent is gone."""
        for file in self._files.values():
            file.unlink(missing_ok=True)
        return [str(Path(sys.executable).with_name("headrace")), *self._words]

    def variables(self) -> Mapping[str, str]:
        """The token, which the command line would show to everybody on this machine."""
        return {SIMULATE_TOKEN: self._token}

    def answers(self) -> bool:
        """Nobody asks it anything."""
        return self.running

    @property
    def status(self) -> Status:
        """How its run stands."""
        return Status.read(self._files["status"])

    @property
    def awaited(self) -> str:
        """What it is waited for while it ends; when all is answered for, it still writes down what it sent."""
        unanswered = self.status.unanswered
        answers = f"the acknowledgements of {unanswered:,} of the {self.name}'s messages"
        return f"for {answers}" if unanswered else f"until the {self.name} has written down what it sent"

    @property
    def sent(self) -> Path:
        """What it sent, a row each."""
        raise NotImplementedError

    def end(self) -> None:
        """Ask it to send no more; it ends when what it sent is answered for."""
        if self.process is not None and self.running:
            self.process.terminate()
        self._patience = Patience(SILENCE_SECONDS)

    def is_ending(self) -> bool:
        """Whether it is still to be waited for; one that hangs is killed."""
        if self.process is None or not self.running:
            return False
        if self._patience.lasts((self.status, processes.worked(self.process) // WORK_SECONDS)):
            return True
        self.kill()
        return False


class FactorySimulator(Simulator):
    """Five plants, over MQTT."""

    files: ClassVar[Mapping[str, str]] = {"truth": "truth", "sent": "sent.parquet"}

    def __init__(self, settings: Settings, devices: int) -> None:
        super().__init__(settings, "simulator", "factory", f"--devices={devices}")

    @property
    def sent(self) -> Path:
        """Readings: `device_id`, `sensor_type`, `sequence`, `timestamp`, `fault`, `acknowledged`."""
        return self._files["sent"]


class CitySimulator(Simulator):
    """A city over every protocol, on a network that sends some messages twice."""

    files: ClassVar[Mapping[str, str]] = {"truth": "sent.parquet"}

    def __init__(self, settings: Settings, devices: int, token: str) -> None:
        options = {"devices": devices, "rate": devices / CITY_SECONDS, "duplicates": 0.02, "tenant": CITY_TENANT}
        options["protocols"] = ",".join(Source)
        super().__init__(settings, "city-simulator", "city", *(f"--{name}={value}" for name, value in options.items()), token=token)

    @property
    def sent(self) -> Path:
        """Messages: `device_id`, `kind`, `protocol`, `topic`, `sequence`, `acknowledged`."""
        return self._files["truth"]
