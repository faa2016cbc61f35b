"""Apache ActiveMQ Artemis as the MQTT broker: MQTT 3.1.1 and 5, shared subscriptions, a journal that is synced before it acknowledges."""

import socket
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Final
from xml.sax.saxutils import escape

from deploy.embedded.artifacts import fetch, pins
from deploy.embedded.java import JavaService

# MQTT's own characters part levels and stand for them: by Artemis's own, a dot in a device's name would.
# One thread in the pool: with more, messages of one topic overtake each other often, with one seldom (ARTEMIS-6191).
# A message is tried again for ever, not ten times; what a quarter of the heap has no room for waits on disk, and with the
# disk nearly full nothing is acknowledged. A topic that is used once an hour is not made anew each time.
# What expires is dropped, by addresses without a name: where there are none, each new session is warned of twice.
# Nobody changes these files while it runs; to watch for it is to be warned of those it has not.
BROKER: Final = """\
<configuration xmlns="urn:activemq">
  <core xmlns="urn:activemq:core">
    <name>headrace</name>
    <security-enabled>false</security-enabled>
    <configuration-file-refresh-period>-1</configuration-file-refresh-period>
    <wildcard-addresses>
      <delimiter>/</delimiter>
      <single-word>+</single-word>
      <any-words>#</any-words>
    </wildcard-addresses>
    <journal-type>NIO</journal-type>
    <journal-datasync>true</journal-datasync>
    <journal-buffer-timeout>2000000</journal-buffer-timeout>
    <journal-pool-files>10</journal-pool-files>
    <journal-directory>{folder}/journal</journal-directory>
    <bindings-directory>{folder}/bindings</bindings-directory>
    <large-messages-directory>{folder}/large</large-messages-directory>
    <paging-directory>{folder}/paging</paging-directory>
    <thread-pool-max-size>1</thread-pool-max-size>
    <global-max-size>{memory}</global-max-size>
    <min-disk-free>256MB</min-disk-free>
    <acceptors>
      <acceptor name="mqtt">tcp://{host}:{port}?protocols=MQTT</acceptor>
    </acceptors>
    <address-settings>
      <address-setting match="#">
        <max-delivery-attempts>-1</max-delivery-attempts>
        <dead-letter-address></dead-letter-address>
        <expiry-address></expiry-address>
        <address-full-policy>PAGE</address-full-policy>
        <auto-delete-addresses-delay>7200000</auto-delete-addresses-delay>
      </address-setting>
    </address-settings>
  </core>
</configuration>
"""

LOGGING: Final = {
    "showDateTime": "true",
    "dateTimeFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    "defaultLogLevel": "warn",
}

# MQTT 3.1.1: a clean session without a name, and the end of it
CONNECT: Final = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x05\x00\x00"
DISCONNECT: Final = b"\xe0\x00"
CONNACK: Final = 0x20


class Artemis(JavaService):
    """The MQTT broker; clients reach it at the setting `mqtt`. It asks nobody who they are: only this machine reaches it."""

    name: ClassVar[str] = "mqtt"

    @property
    def heap_mb(self) -> int:
        """From the settings."""
        return self.settings.mqtt_heap_mb

    @cached_property
    def archives(self) -> list[Path]:
        """The broker's and its libraries'."""
        return fetch(pins(self.name))

    def options(self) -> list[str]:
        """The serial collector and the first compiler: short runs cost a third less a message than with both.

        Netty may call the native code and the old memory access it has: Java warns of both.
        """
        logging = [f"-Dorg.slf4j.simpleLogger.{name}={value}" for name, value in LOGGING.items()]
        allowed = ["--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"]
        return ["-XX:+ExitOnOutOfMemoryError", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *allowed, *logging]

    def command(self) -> list[str]:
        """Write the configuration and give the command line."""
        configuration = self.folder / "etc" / "broker.xml"
        configuration.parent.mkdir(exist_ok=True)
        memory = self.heap_mb * 2**20 // 4
        broker = BROKER.format(host=self.host, port=self.port, folder=escape(str(self.folder)), memory=memory)
        configuration.write_text(broker, encoding="utf-8")
        classes = ["-cp", ":".join(map(str, self.archives))]
        main = ["org.apache.activemq.artemis.core.server.embedded.Main", str(self.folder)]
        return [*self.recording_java(), f"-Xmx{self.heap_mb}m", *classes, *main]

    def answers(self) -> bool:
        """Whether it lets a client in."""
        return greets(self.host, self.port)


def greets(host: str, port: int) -> bool:
    """Whether an MQTT broker answers there, be it by a refusal."""
    try:
        with socket.create_connection((host, port), timeout=1) as client:
            client.sendall(CONNECT)
            answer = client.recv(4)
            client.sendall(DISCONNECT)
    except OSError:
        return False
    return answer[:1] == bytes([CONNACK])
