"""The MQTT broker: Mosquitto where it is installed, else amqtt, which comes with the package."""

import getpass
import shutil
import sys
from typing import ClassVar, Final

from deploy.embedded.service import Service
from streams.settings import Settings

# Debian keeps servers out of an ordinary user's PATH, Homebrew out of a service's
SERVER_FOLDERS: Final = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"

# `user`: started by root it would become `mosquitto`, who may not write the data folder
MOSQUITTO: Final = """\
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

# Takes everyone, as its AnonymousAuthPlugin does, but for that one's guests it keeps nothing while they are away.
AMQTT: Final = """\
listeners:
  default:
    type: tcp
    bind: {host}:{port}
plugins:
  amqtt.plugins.base.BaseAuthPlugin: {{}}
"""


class Mqtt(Service):
    """The MQTT broker; clients reach it at the setting `mqtt`."""

    name: ClassVar[str] = "mqtt"

    def answers(self) -> bool:
        """Whether it takes connections."""
        return self.connects()


class Mosquitto(Mqtt):
    """Eclipse Mosquitto: MQTT 5 with sessions on disk."""

    def __init__(self, settings: Settings, program: str) -> None:
        """`program`: where it is installed."""
        super().__init__(settings)
        self._program = program

    def command(self) -> list[str]:
        """Write the configuration and give the command line."""
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text(MOSQUITTO.format(host=self.host, port=self.port, folder=self.folder, user=getpass.getuser()))
        return [self._program, "-c", str(configuration)]


class Amqtt(Mqtt):
    """amqtt, enough to try things out: MQTT 3.1.1, sessions in memory, and one that is not acknowledged is not sent again."""

    def command(self) -> list[str]:
        """Write the configuration and give the command line."""
        configuration = self.folder / "amqtt.yaml"
        configuration.write_text(AMQTT.format(host=self.host, port=self.port))
        return [sys.executable, "-m", "amqtt.scripts.broker_script", "-c", str(configuration)]


def broker(settings: Settings) -> Mqtt:
    """The best broker on this machine."""
    installed = shutil.which("mosquitto") or shutil.which("mosquitto", path=SERVER_FOLDERS)
    return Mosquitto(settings, installed) if installed else Amqtt(settings)
