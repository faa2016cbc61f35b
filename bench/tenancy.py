"""`python -m bench.tenancy`: what one tenant's flood does to another one's latency, through one gateway, one Kafka and two cores.

The quiet tenant, b, sends over MQTT at a steady rate: alone, then while another one sends twenty times as much over MQTT, every
tenth message of it garbage, and a third one batches over HTTP as fast as it is answered, Avro of schemas that are in no registry.
"""

import base64
import contextlib
import multiprocessing
import secrets
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.context import SpawnProcess
from typing import Any, Final

import httpx
import numpy as np
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from bench import report
from bench.jobs import BENCH, GATEWAY
from bench.measure import BenchError, check_alive, running, wait_until_ready
from bench.mqtt_load import CONNECTIONS, publish, send
from bench.run import WORK
from bench.stack import local_stack
from deploy.embedded.preflight import free_ports
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
ROUNDS: Final = 2
"""Of both, in turn: what the machine does meanwhile is in all."""
HTTP_MESSAGES: Final = 50
PATIENCE_SECONDS: Final = 60.0


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
    send(url, packets("a", RATE * FLOOD, start, garbage=10), start, RATE * FLOOD, "flood")


def _unknown_schemas(address: str, end: float) -> None:
    with httpx.Client(base_url=f"http://{address}", timeout=PATIENCE_SECONDS) as client:
        while time.time() < end:
            avro = [base64.b64encode(b"\0" + secrets.token_bytes(40)).decode() for _ in range(HTTP_MESSAGES)]
            batch = [{"topic": "sensors/a_h_1/temperature", "payload_base64": value, "content_type": "application/avro"} for value in avro]
            with contextlib.suppress(httpx.HTTPError):
                client.post("/messages", json=batch)


@contextmanager
def load(settings: Settings, *, flooded: bool) -> Iterator[None]:
    """Devices at work, in processes of their own."""
    spawn, start = multiprocessing.get_context("spawn"), time.time() + LEAD_SECONDS
    wanted: list[SpawnProcess] = [spawn.Process(target=_quiet, args=(settings.mqtt, start))]
    if flooded:
        wanted.append(spawn.Process(target=_flood, args=(settings.mqtt, start)))
        wanted.append(spawn.Process(target=_unknown_schemas, args=(settings.gateway_http, start + SECONDS)))
    for process in wanted:
        process.start()
    yield
    for process in wanted:
        process.join(SECONDS + PATIENCE_SECONDS)
        if process.exitcode != 0:
            process.kill()
            raise BenchError(f"a generator ended with {process.exitcode}")


def ages(settings: Settings, schema_id: int, *, flooded: bool) -> np.ndarray[Any, Any]:
    """Milliseconds from when each of the quiet tenant's messages was due to when Kafka had it, which stamps it itself; after warm-up."""
    expected = RATE * SECONDS // CONNECTIONS * CONNECTIONS
    with closing(Consumer({"bootstrap.servers": settings.kafka, "group.id": "bench-tenancy", "enable.auto.commit": False})) as consumer:
        places = [TopicPartition(TOPIC, partition) for partition in range(TEMPERATURE.partitions)]
        consumer.assign([TopicPartition(TOPIC, place.partition, consumer.get_watermark_offsets(place)[1]) for place in places])
        heard, deadline = [], time.monotonic() + SECONDS + PATIENCE_SECONDS
        with load(settings, flooded=flooded):
            while len(heard) < expected and time.monotonic() < deadline:
                heard += [message for message in consumer.consume(10_000, 1.0) if message.error() is None]
    if len(heard) < expected:
        raise BenchError(f"{len(heard)} of {expected} messages of the quiet tenant came")
    values = [message.value() or b"" for message in heard]
    sent = decode(values, TEMPERATURE.codec, {schema_id: TEMPERATURE.codec}, frozenset()).frame["data"]
    due = sent.str.json_path_match("$.timestamp").cast(int).to_numpy()
    found: np.ndarray[Any, Any] = np.array([message.timestamp()[1] for message in heard]) - due
    return found[due >= due.min() + WARM_UP_SECONDS * 1000]


def measure(settings: Settings) -> dict[str, float]:
    """The quiet tenant's percentiles, alone and beside the flood."""
    ensure_topics(settings.kafka, settings, tenant=TENANT)
    stamped = ConfigEntry("message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ResourceType.TOPIC, TOPIC, incremental_configs=[stamped])
    admin = AdminClient({"bootstrap.servers": settings.kafka, "log_level": 0})
    admin.incremental_alter_configs([changed])[changed].result()
    schema_id = Registry(settings.registry, WORK / "schemas").register(TEMPERATURE)
    folder, log = WORK / "tenancy", WORK / "logs" / "tenancy.log"
    folder.mkdir(parents=True, exist_ok=True)
    command = GATEWAY.command(settings, folder)
    found: dict[bool, list[np.ndarray[Any, Any]]] = {False: [], True: []}
    with running(command, env=GATEWAY.environment(settings, folder), cwd=BENCH.parent, log=log) as gateway:
        wait_until_ready(f"http://127.0.0.1:{command[-1]}/ready")
        for flooded in (False, True) * ROUNDS:
            found[flooded].append(ages(settings, schema_id, flooded=flooded))
        check_alive(gateway, log)
    (p50, p99), (flooded_p50, flooded_p99) = (
        np.percentile(np.concatenate(found[flooded]), [50, 99], method="higher").tolist() for flooded in (False, True)
    )
    moved = 100 * (flooded_p99 / p99 - 1)
    return {"p50_ms": p50, "p99_ms": p99, "flooded_p50_ms": flooded_p50, "flooded_p99_ms": flooded_p99, "moved_percent": moved}


def main() -> None:
    """Run, keep the figures, and print the one line that matters."""
    with local_stack(WORK / "stack", "kafka", "registry", "mqtt") as stack:
        (port,) = free_ports(1)
        found = measure(stack.settings.model_copy(update={"tenants": f"a,{TENANT}", "gateway_http": f"127.0.0.1:{port}"}))
    report.keep("tenancy", found)
    print(" ".join(f"{name}={figure:.4g}" for name, figure in found.items()))


if __name__ == "__main__":
    main()
