"""`python -m bench.tenancy`: what one tenant does to another one's latency, through one gateway, one Kafka and two cores.

The quiet tenant, b, sends over MQTT at a steady rate: alone; while another one sends twenty times as much over MQTT, every tenth message
of it garbage, and a third one batches over HTTP as fast as it is answered, Avro of schemas that are in no registry; and while Kafka takes
what that third one has in its full share of the gateway's disk, and batches go on to come, whatever is answered.
"""

import base64
import contextlib
import multiprocessing
import os
import secrets
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, Final, NamedTuple

import httpx
import numpy as np
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from prometheus_client.parser import text_string_to_metric_families

from bench import report
from bench.jobs import BENCH, GATEWAY
from bench.measure import BenchError, check_alive, running, wait_until_ready
from bench.mqtt_load import CONNECTIONS, publish, send
from bench.run import WORK
from bench.stack import local_stack
from deploy.embedded.preflight import free_ports
from deploy.embedded.service import LOCAL
from deploy.embedded.stack import LocalStack
from deploy.topics import ensure_topics
from schemas.catalog import TEMPERATURE, in_kafka
from schemas.registry import Registry
from schemas.wire import decode
from streams.settings import Settings

TENANT: Final = "b"
TOPIC: Final = in_kafka(TENANT, TEMPERATURE.topic)
RATE: Final = 200
"""Messages a second of the quiet tenant."""
FLOOD: Final = 20
"""The other one's, times that."""
SECONDS: Final = 30
WARM_UP_SECONDS: Final = 5
LEAD_SECONDS: Final = 4.0
MOST_BEHIND_SECONDS: Final = 2.0
"""A flood that ends later than that was none."""
SHARE_MB: Final = 128
"""Of the disk, for each tenant."""
LEAST_MESSAGES: Final = 1_000
"""Of the quiet tenant, while the other one's spool drains."""
ROUNDS: Final = 3
"""Of all, in turn, after a flood that counts for nothing; the median of them counts, so what else the machine did in one does not."""
LOOK_SECONDS: Final = 3.0
"""Between two looks whether the load lasts, each of which keeps the gateway busy for some milliseconds."""
HTTP_TOPIC: Final = "sensors/station-1/temperature"
HTTP_MESSAGES: Final = 50
FILLING_MESSAGES: Final = 1_000
"""In one request."""
PATIENCE_SECONDS: Final = 60.0
LOWEST_PRIORITY: Final = 19


Ages = np.ndarray[Any, Any]


def packets(tenant: str, rate: float, start: float, garbage: int = 0) -> list[list[bytes]]:
    """Readings of a tenant's devices for each connection, each with the time it is due as its timestamp; every so many-th is garbage."""
    made = []
    for connection in range(CONNECTIONS):
        topic, own = f"sensors/{tenant}_station_{connection}/temperature", []
        for number in range(int(rate * SECONDS) // CONNECTIONS):
            due = int((start + number * CONNECTIONS / rate) * 1000)
            spoilt = garbage and number % garbage == 0
            payload = secrets.token_bytes(60) if spoilt else b'{"value":20.5,"timestamp":%d,"sequence":%d}' % (due, due)
            own.append(publish(topic, payload, 1 + number % 65_535))
        made.append(own)
    return made


def _quiet(url: str, start: float) -> None:
    send(url, packets(TENANT, RATE, start), start, RATE, "quiet")


def _flood(url: str, start: float) -> None:
    os.nice(LOWEST_PRIORITY)  # devices have processors of their own
    send(url, packets("a", RATE * FLOOD, start, garbage=10), start, RATE * FLOOD, "flood")
    if time.time() > start + SECONDS + MOST_BEHIND_SECONDS:
        raise BenchError(f"a flood of {RATE * FLOOD} messages a second is more than this machine makes")


def _unknown_schemas(address: str, end: float) -> None:
    _post(
        address,
        end,
        lambda: {"payload_base64": base64.b64encode(b"\0" + secrets.token_bytes(40)).decode(), "content_type": "application/avro"},
    )


def _readings(address: str, end: float) -> None:
    _post(address, end, lambda: {"data": {"value": 20.5, "timestamp": int(time.time() * 1000)}})


def _post(address: str, end: float, made: Callable[[], dict[str, Any]]) -> None:
    """Batches of the third tenant, which proves to be nobody, as fast as they are answered and whatever the answer."""
    os.nice(LOWEST_PRIORITY)
    with httpx.Client(base_url=f"http://{address}", timeout=PATIENCE_SECONDS) as client:
        while time.time() < end:
            batch = [{"topic": HTTP_TOPIC, **made()} for _ in range(HTTP_MESSAGES)]
            with contextlib.suppress(httpx.HTTPError):
                client.post("/messages", json=batch)


class Line(NamedTuple):
    """A gateway at work, and what is around it."""

    stack: LocalStack
    settings: Settings
    """The gateway's."""
    web: str
    """Where it answers."""
    schema_id: int
    """Of envelopes."""

    def spooled(self) -> float:
        """Messages of the third tenant on the gateway's disk."""
        families = text_string_to_metric_families(LOCAL.get(f"{self.web}/metrics").text)
        samples = [sample for family in families for sample in family.samples if sample.name == "headrace_spooled_messages"]
        return next((sample.value for sample in samples if sample.labels["tenant"] == self.settings.tenant), 0.0)


Load = Callable[[Line], AbstractContextManager[Callable[[], bool]]]
"""Sends the quiet tenant's messages from LEAD_SECONDS on, and says whether what it is to show still lasts."""


@contextmanager
def _sending(*generators: tuple[Callable[[str, float], None], str, float]) -> Iterator[None]:
    """Devices at work, each generator in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=generator, args=args) for generator, *args in generators]
    for process in processes:
        process.start()
    yield
    for process in processes:
        process.join(SECONDS + PATIENCE_SECONDS)
        if process.exitcode != 0:
            process.kill()
            raise BenchError(f"a generator ended with {process.exitcode}")


@contextmanager
def alone(line: Line) -> Iterator[Callable[[], bool]]:
    """The quiet tenant's devices."""
    with _sending((_quiet, line.settings.mqtt, time.time() + LEAD_SECONDS)):
        yield lambda: True


@contextmanager
def flood(line: Line) -> Iterator[Callable[[], bool]]:
    """All tenants' devices."""
    start, url = time.time() + LEAD_SECONDS, line.settings.mqtt
    with _sending((_quiet, url, start), (_flood, url, start), (_unknown_schemas, line.settings.gateway_http, start + SECONDS)):
        yield lambda: True


@contextmanager
def full_spool(line: Line) -> Iterator[Callable[[], bool]]:
    """The quiet tenant's and the third one's, while Kafka takes what that has on the disk."""
    kafka, address = line.stack.kafka.process, line.settings.gateway_http
    assert kafka is not None
    kafka.suspend()
    try:
        verdicts = set[str]()
        while "full" not in verdicts:
            batch = [{"topic": HTTP_TOPIC, "data": {"value": 20.5}}] * FILLING_MESSAGES
            verdicts.update(httpx.post(f"http://{address}/messages", json=batch, timeout=PATIENCE_SECONDS).json()["verdicts"])
        start = time.time() + LEAD_SECONDS
        with _sending((_quiet, line.settings.mqtt, start), (_readings, address, start + SECONDS)):
            time.sleep(LEAD_SECONDS / 2)
            kafka.resume()
            yield lambda: line.spooled() > 0
    finally:
        kafka.resume()


LOADS: Final[Mapping[str, Load]] = {"alone": alone, "flood": flood, "full_spool": full_spool}


def ages(line: Line, load: Load) -> Ages:
    """Milliseconds from when each of the quiet tenant's messages was due to when Kafka had it, which stamps it itself; after warm-up."""
    expected, until = RATE * SECONDS // CONNECTIONS * CONNECTIONS, 0.0
    own = {"bootstrap.servers": line.settings.kafka, "group.id": "bench-tenancy", "enable.auto.commit": False}
    with closing(Consumer(own)) as consumer:
        places = [TopicPartition(TOPIC, partition) for partition in range(TEMPERATURE.partitions)]
        consumer.assign([TopicPartition(TOPIC, place.partition, consumer.get_watermark_offsets(place)[1]) for place in places])
        with load(line) as lasts:
            heard, deadline = [], time.monotonic() + SECONDS + PATIENCE_SECONDS
            while len(heard) < expected and time.monotonic() < deadline:
                heard += [message for message in consumer.consume(10_000, LOOK_SECONDS) if message.error() is None]
                until = time.time() if lasts() else until
    if len(heard) < expected:
        raise BenchError(f"{len(heard)} of {expected} messages of the quiet tenant came")
    values = [message.value() or b"" for message in heard]
    sent = decode(values, TEMPERATURE.codec, {line.schema_id: TEMPERATURE.codec}, frozenset()).frame["data"]
    due = sent.str.json_path_match("$.timestamp").cast(int).to_numpy()
    counts = (due >= due.min() + WARM_UP_SECONDS * 1000) & (due < until * 1000)
    if counts.sum() < LEAST_MESSAGES:
        raise BenchError(f"{counts.sum()} messages of the quiet tenant came while the load lasted, too few to tell anything")
    found: Ages = (np.array([message.timestamp()[1] for message in heard]) - due)[counts]
    return found


def percentile(found: Ages, percent: float) -> float:
    """The percentile of times in whole milliseconds, as Kafka has them; within its millisecond by the share of those that have it."""
    values, counts = np.unique(found, return_counts=True)
    below = np.concatenate([[0], counts.cumsum()])
    return float(np.interp(percent / 100 * len(found), below, np.concatenate([[values[0]], values + 1])))


def measure(line: Line) -> dict[str, Any]:
    """The quiet tenant's percentiles in each load, of each round and the median of the rounds, and by how much the others move its 99th."""
    ages(line, flood)
    rounds = [{name: ages(line, load) for name, load in LOADS.items()} for _ in range(ROUNDS)]
    found: dict[str, Any] = {}
    for name in LOADS:
        for percent in (50, 99):
            each = [percentile(round_[name], percent) for round_ in rounds]
            found |= {f"{name}_p{percent}_ms": statistics.median(each), f"{name}_p{percent}_ms_rounds": each}
    for name in LOADS.keys() - {"alone"}:
        found[f"{name}_moved_percent"] = 100 * (found[f"{name}_p99_ms"] / found["alone_p99_ms"] - 1)
    return found


@contextmanager
def gateway(stack: LocalStack) -> Iterator[Line]:
    """One of three tenants that limits none, as far as it has a say: it is to hold them apart by itself."""
    (port,) = free_ports(1)
    own = {
        "tenants": f"a,{TENANT}",
        "gateway_http": f"127.0.0.1:{port}",
        "gateway_device_rate": 0,
        "gateway_tenant_rate": 0,
        "spool_mb": SHARE_MB,
    }
    settings = stack.settings.model_copy(update=own)
    ensure_topics(settings.kafka, settings, tenant=TENANT)
    stamped = ConfigEntry("message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ResourceType.TOPIC, TOPIC, incremental_configs=[stamped])
    admin = AdminClient({"bootstrap.servers": settings.kafka, "log_level": 0})
    admin.incremental_alter_configs([changed])[changed].result()
    folder, log = WORK / "tenancy", WORK / "logs" / "tenancy.log"
    shutil.rmtree(folder, ignore_errors=True)  # an earlier run's spool
    folder.mkdir(parents=True)
    command = GATEWAY.command(settings, folder)
    web = f"http://127.0.0.1:{command[-1]}"
    with running(command, env=GATEWAY.environment(settings, folder), cwd=BENCH.parent, log=log) as process:
        wait_until_ready(f"{web}/ready")
        yield Line(stack, settings, web, Registry(settings.registry, WORK / "schemas").register(TEMPERATURE))
        check_alive(process, log)


def main() -> None:
    """Run, keep the figures, and print the one line that matters."""
    with local_stack(WORK / "stack", "kafka", "registry", "mqtt") as stack, gateway(stack) as line:
        found = measure(line)
    report.keep("tenancy", found)
    print(" ".join(f"{name}={figure:.4g}" for name, figure in found.items() if not name.endswith("rounds")))


if __name__ == "__main__":
    main()
