"""The MQTT broker: Mosquitto where it is installed, else amqtt, which comes with the package.

amqtt speaks MQTT 3.1.1 only, without shared subscriptions, and forgets its sessions when it stops: enough to try things out.
"""

import getpass
import shutil
import sys
from typing import ClassVar, Final

from deploy.embedded.service import Service

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

AMQTT: Final = """\
listeners:
  default:
    type: tcp
    bind: {host}:{port}
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: true
"""


def mosquitto() -> str | None:
    """Where Mosquitto is installed."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=SERVER_FOLDERS)


class Mqtt(Service):
    """The MQTT broker; clients reach it at the setting `mqtt`."""

    name: ClassVar[str] = "mqtt"

    def command(self) -> list[str]:
        """Write the configuration of the broker there is and give its command line."""
        installed = mosquitto()
        configuration = self.folder / ("mosquitto.conf" if installed else "amqtt.yaml")
        text = MOSQUITTO if installed else AMQTT
        configuration.write_text(text.format(host=self.host, port=self.port, folder=self.folder, user=getpass.getuser()))
        if installed:
            return [installed, "-c", str(configuration)]
        return [sys.executable, "-m", "amqtt.scripts.broker_script", "-c", str(configuration)]

    def answers(self) -> bool:
        """Whether it takes connections."""
        return self.connects()
