"""Eclipse Mosquitto in the place of the local stack's MQTT broker.

A message costs it a fifth of what it costs Artemis, which leaves the cores to what is measured.
"""

import getpass
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Final

from deploy.debian import libraries, unpacked
from deploy.embedded.artemis import greets
from deploy.embedded.service import Service

# Debian keeps servers out of an ordinary user's PATH, Homebrew out of a service's
SERVER_FOLDERS: Final = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
REMEDY: Final = (
    "Install Mosquitto 2 (Debian, Ubuntu: apt-get install mosquitto; macOS: brew install mosquitto), "
    "or let a machine with apt-get reach its packages' mirror."
)

# `user`: started by root it would become `mosquitto`, who may not write the data folder
CONFIGURATION: Final = """\
listener {port} {host}
allow_anonymous true
user {user}
persistence true
persistence_location {folder}/
autosave_interval 60
log_dest stderr
log_timestamp_format %Y-%m-%dT%H:%M:%S
connection_messages false
set_tcp_nodelay true
# the gateway acknowledges after Kafka has the record: 20,000 messages/s over some 50 ms are on the way
max_inflight_messages 2000
# nothing is dropped while the gateway is away, until a gigabyte of it waits
max_queued_messages 0
max_queued_bytes 1073741824
"""


class Mosquitto(Service):
    """Mosquitto: MQTT 3.1.1 and 5, one thread, sessions that are saved once a minute."""

    name: ClassVar[str] = "mqtt"

    @cached_property
    def _installed(self) -> str | None:
        return shutil.which("mosquitto") or shutil.which("mosquitto", path=SERVER_FOLDERS)

    @cached_property
    def _package(self) -> Path:
        return unpacked("mosquitto", REMEDY)

    @property
    def _program(self) -> Path:
        return Path(self._installed) if self._installed else self._package / "usr" / "sbin" / "mosquitto"

    def command(self) -> list[str]:
        """Write the configuration and give the command line."""
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text(CONFIGURATION.format(host=self.host, port=self.port, folder=self.folder, user=getpass.getuser()))
        return [str(self._program), "-c", str(configuration)]

    def variables(self) -> Mapping[str, str]:
        """Where the package's libraries are, unless it is the machine's."""
        return {} if self._installed else {"LD_LIBRARY_PATH": libraries(self._package)}

    def answers(self) -> bool:
        """Whether it lets a client in, or refuses one."""
        return greets(self.host, self.port)
