"""Apache Kafka, one node that is broker and controller (KRaft)."""

import base64
import re
import secrets
import subprocess
import tempfile
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.embedded.artifacts import fetch, pins
from deploy.embedded.errors import StackError
from deploy.embedded.java import JavaService
from deploy.embedded.preflight import free_ports
from streams.access import quiet

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
listeners={protocol}://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners={protocol}://{host}:{port}
inter.broker.listener.name={protocol}
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

SECURED: Final = """
# who is not said to may nothing; the user of `headrace up` may everything, and is the broker itself, too
listener.security.protocol.map=SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{user}
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=\\
  org.apache.kafka.common.security.scram.ScramLoginModule required username="{user}" password="{password}";
# the controller, who keeps the users, cannot look them up to let the broker in
sasl.mechanism.controller.protocol=PLAIN
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config=\\
  org.apache.kafka.common.security.plain.PlainLoginModule required username="{user}" password="{password}" user_{user}="{password}";
"""
# what needs no quotes in any of the places above
PLAIN_WORD: Final = re.compile(r"[A-Za-z0-9_.~-]+")


class Kafka(JavaService):
    """The broker; clients reach it at the setting `kafka`. Topics are made by `deploy.topics`, never by use.

    Where the settings have a user it asks all who come who they are, and that user may everything.
    """

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
        protocol = "SASL_PLAINTEXT" if self._user else "PLAINTEXT"
        properties = PROPERTIES.format(host=self.host, port=self.port, controller=controller, folder=self.folder, protocol=protocol)
        configuration.touch(0o600)
        configuration.write_text(properties + (self._secured() if self._user else ""), encoding="utf-8")
        known = self.folder / "user"
        if not (self.folder / "log" / "meta.properties").exists():
            self._format([*self.java(), *classes], configuration)
            known.write_text(self._user, encoding="utf-8")
        elif self._user != (owner := known.read_text(encoding="utf-8") if known.exists() else ""):
            was = f"with HEADRACE_KAFKA_USER={owner}" if owner else "without HEADRACE_KAFKA_USER"
            raise StackError(f"The data in {self.folder} was made {was}: start with that, or with another folder as HEADRACE_DATA.")
        heap = f"{self.heap_mb}m"
        return [*self.recording_java(), f"-Xms{heap}", f"-Xmx{heap}", *classes, "kafka.Kafka", str(configuration)]

    def answers(self) -> bool:
        """Whether the broker gives its metadata."""
        if not self.connects():
            return False
        try:
            return bool(AdminClient(quiet(self.settings.kafka, self.settings)).list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    @property
    def _user(self) -> str:
        return self.settings.kafka_user

    def _secured(self) -> str:
        password = self.settings.kafka_password.get_secret_value()
        if self.settings.kafka_ca or not (PLAIN_WORD.fullmatch(self._user) and PLAIN_WORD.fullmatch(password)):
            raise StackError(
                "The local stack's Kafka takes a HEADRACE_KAFKA_USER and HEADRACE_KAFKA_PASSWORD of letters, digits and . _ ~ -, "
                "and no HEADRACE_KAFKA_CA: it listens on this machine only."
            )
        return SECURED.format(user=self._user, password=password)

    def _format(self, java: list[str], configuration: Path) -> None:
        # 16 bytes in base64; of its own, as an uplink tells plant and centre apart by it
        cluster = base64.urlsafe_b64encode(b"headrace" + secrets.token_bytes(8)).decode().rstrip("=")
        words = ["format", "--cluster-id", cluster, "--config", str(configuration), "--ignore-formatted"]
        if self._user:
            words += ["--add-scram", f"SCRAM-SHA-512=[name={self._user},password={self.settings.kafka_password.get_secret_value()}]"]
        # in a file, a word a line: everybody on the machine reads command lines
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=self.folder) as arguments:
            arguments.write("\n".join(words))
            arguments.flush()
            command = [*java, "kafka.tools.StorageTool", f"@{arguments.name}"]
            done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise StackError(f"Cannot format {self.folder}/log:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
