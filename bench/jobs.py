"""The contestants: how each is started, the consumer group it commits under, and what it leaves behind for the next run to clear away."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from agents.factory.sensors import SENSORS
from bench.measure import BenchError
from deploy.embedded.preflight import free_ports
from deploy.embedded.processes import marks
from deploy.topics import ensure_topics
from schemas.catalog import CONTRACTS, READINGS
from streams.settings import Settings

BENCH: Final = Path(__file__).parent
QUIX_GROUP: Final = "bench-quix"
TIMEOUT_SECONDS: Final = 60


@dataclass(frozen=True)
class Job:
    """One contestant: `command` takes the stack's settings and an empty folder of its own; `topics` must be there before it starts."""

    name: str
    group: str
    command: Callable[[Settings, Path], list[str]]
    topics: tuple[str, ...] = ()

    def environment(self, settings: Settings, folder: Path) -> dict[str, str]:
        """Variables of its process, marked so that the stack's next start ends it should the benchmark be killed."""
        return settings.model_copy(update={"data": folder}).environment(**marks(settings.data, f"bench-{self.name}"))


def faust_worker(app: str) -> Callable[[Settings, Path], list[str]]:
    """The real `faust` command for the app in module `app`."""

    def command(_: Settings, folder: Path) -> list[str]:
        faust = shutil.which("faust", path=str(Path(sys.executable).parent))
        if faust is None:
            raise BenchError(f"There is no faust command beside {sys.executable}: install the project there first (pip install -e .).")
        (port,) = free_ports(1)
        return [faust, "-A", app, "--datadir", str(folder), "worker", "--web-port", str(port)]

    return command


def quix(settings: Settings, folder: Path) -> list[str]:
    """Quix Streams in an environment of its own, which is made on the first run."""
    python = BENCH / ".venv-quix" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(BENCH / "quix_requirements.txt")]
    for step in ([sys.executable, "-m", "venv", str(BENCH / ".venv-quix")], install):
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"Cannot make the environment of Quix Streams in {BENCH / '.venv-quix'}:\n{done.stderr[-2000:]}")
    job = {
        "kafka": settings.kafka,
        "group": QUIX_GROUP,
        "topic": READINGS.topic,
        "schema": orjson.loads(READINGS.codec.text),
        "limits": {s.sensor_type: {"minimum": s.minimum, "maximum": s.maximum, "critical": s.critical} for s in SENSORS},
        "state_dir": str(folder / "state"),
    }
    (folder / "job.json").write_bytes(orjson.dumps(job))
    return [str(python), str(BENCH / "quix_job.py"), str(folder / "job.json")]


OURS: Final = Job("headrace", "factory", faust_worker("streams.factory"))
STOCK_FAUST: Final = Job(
    "stock faust",
    "bench-stock-faust",
    faust_worker("bench.stock_faust"),
    ("bench-stock-faust-alerts", "bench-stock-faust-dead-letters"),
)
QUIX: Final = Job("quix streams", QUIX_GROUP, quix)
GATEWAY: Final = Job("gateway", "gateway", faust_worker("streams.gateway"))
WAREHOUSE: Final = Job("warehouse", "warehouse", faust_worker("streams.warehouse"))


def fresh(settings: Settings, job: Job, *, keep_readings: bool) -> None:
    """Delete what a job left in Kafka (group, changelogs, outputs, and the readings unless kept) and create the topics it needs, empty."""
    admin = AdminClient({"bootstrap.servers": settings.kafka, "log_level": 0})
    kept = {READINGS.topic} if keep_readings else set()
    delete_group(admin, job.group)
    own = (f"{job.group}-", f"changelog__{job.group}-")
    stale = [name for name in admin.list_topics(timeout=TIMEOUT_SECONDS).topics if name.startswith(own) or name in CONTRACTS.keys() - kept]
    for deleted in (admin.delete_topics(stale, operation_timeout=TIMEOUT_SECONDS) if stale else {}).values():
        deleted.result()
    while any(name in admin.list_topics(timeout=TIMEOUT_SECONDS).topics for name in stale):
        time.sleep(0.1)
    ensure_topics(settings.kafka)
    own_topics = [NewTopic(name, READINGS.partitions, 1) for name in job.topics]
    for created in (admin.create_topics(own_topics, operation_timeout=TIMEOUT_SECONDS) if own_topics else {}).values():
        created.result()


def delete_group(admin: AdminClient, group: str) -> None:
    """Delete a consumer group, if there is one, once the sessions of members that were killed have ended."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            admin.delete_consumer_groups([group])[group].result()
        except KafkaException as error:
            reason = error.args[0]
            if reason.code() == KafkaError.GROUP_ID_NOT_FOUND:
                return
            # a new broker first looks for its group coordinator
            if time.monotonic() > deadline:
                raise BenchError(f"Cannot delete consumer group {group}: {reason.str()}") from error
            time.sleep(0.5)
        else:
            return
