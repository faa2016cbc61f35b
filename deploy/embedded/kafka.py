"""Apache Kafka, one node that is broker and controller (KRaft)."""

import base64
import secrets
import subprocess
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.embedded.artifacts import fetch, pins
from deploy.embedded.errors import StackError
from deploy.embedded.java import JavaService
from deploy.embedded.preflight import free_ports

CONTROLLER_PORTS: Final = range(30_000, 32_000)  # only the broker itself dials it: any free one, chosen at each start

# simple, dated lines; the loggers below print thousands of lines a start that nobody asked for
LOGGING: Final = {
    "showDateTime": "true",
    "dateTimeFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    "log.org.apache.kafka.common.config.AbstractConfig": "warn",
    "log.org.apache.kafka.controller": "warn",
    "log.state.change.logger": "warn",
}

PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@{host}:{controller}
log.dirs={folder}/log
auto.create.topics.enable=false

# one node holds one copy of everything
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

# shares two cores with everything else
num.network.threads=2
num.io.threads=4
background.threads=2
log.cleaner.threads=1
# read and written together: compaction at full speed takes a core for a second, in which no alert leaves
log.cleaner.io.max.bytes.per.second=2097152
# what is deleted goes at once and not in the middle of what is done a minute later
log.segment.delete.delay.ms=1000
num.recovery.threads.per.data.dir=2

# workers come and go by hand: no pause for stragglers
group.initial.rebalance.delay.ms=0
# after a crash the broker may register again only when its former self's session has ended
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# after a crash every open segment is read through: small ones make that seconds
log.segment.bytes=134217728
# per partition, so that a forgotten demo does not fill the disk before the topics' own retention ends
log.retention.bytes=4294967296
"""


class Kafka(JavaService):
    """The broker; clients reach it at the setting `kafka`. Topics are made by `deploy.topics`, never by use."""

    name: ClassVar[str] = "kafka"

    @property
    def heap_mb(self) -> int:
        """From the settings."""
        return self.settings.broker_heap_mb

    @cached_property
    def archives(self) -> list[Path]:
        """The broker's and its libraries'."""
        return fetch(pins(self.name))

    def options(self) -> list[str]:
        """Short pauses, no compiler that takes one of two cores for a tenth of a second at a time, and its log lines."""
        logging = [f"-Dorg.slf4j.simpleLogger.{name}={value}" for name, value in LOGGING.items()]
        return ["-XX:+ExitOnOutOfMemoryError", "-XX:MaxGCPauseMillis=20", "-XX:TieredStopAtLevel=1", *logging]

    def command(self) -> list[str]:
        """Write the configuration, format the storage of a new data folder, and give the broker's command line."""
        classes = ["-cp", ":".join(map(str, self.archives))]
        configuration = self.folder / "server.properties"
        (controller,) = free_ports(1, CONTROLLER_PORTS)
        configuration.write_text(PROPERTIES.format(host=self.host, port=self.port, controller=controller, folder=self.folder))
        if not (self.folder / "log" / "meta.properties").exists():
            self._format([*self.java(), *classes], configuration)
        heap = f"{self.heap_mb}m"
        return [*self.recording_java(), f"-Xms{heap}", f"-Xmx{heap}", *classes, "kafka.Kafka", str(configuration)]

    def answers(self) -> bool:
        """Whether the broker gives its metadata."""
        if not self.connects():
            return False
        try:
            return bool(AdminClient({"bootstrap.servers": self.settings.kafka, "log_level": 0}).list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def _format(self, java: list[str], configuration: Path) -> None:
        # 16 bytes in base64; of its own, as an uplink tells plant and centre apart by it
        cluster = base64.urlsafe_b64encode(b"headrace" + secrets.token_bytes(8)).decode().rstrip("=")
        format_ = [
            *java,
            "kafka.tools.StorageTool",
            "format",
            "--cluster-id",
            cluster,
            "--config",
            str(configuration),
            "--ignore-formatted",
        ]
        done = subprocess.run(format_, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise StackError(f"Cannot format {self.folder}/log:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
