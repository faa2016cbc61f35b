"""`python -m bench.gateway`: one gateway process from MQTT into Kafka, beside a bare paho subscriber.

Generator, Mosquitto, gateway, Kafka and registry share this computer. Devices send numbered readings in JSON, QoS 1, to Mosquitto, which
hands them to one subscriber at a time: first to paho, which does nothing with them, then to the gateway, which maps each, leaves out what
came before, puts it into the standard envelope, and acknowledges what Kafka has.
"""

import multiprocessing
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

import numpy as np
import psutil
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from bench import report
from bench.jobs import BENCH, GATEWAY, OURS, delete_group, fresh
from bench.measure import BenchError, Lag, check_alive, running, usage, wait_until_ready
from bench.mqtt_load import CONNECTIONS, dial, publish, send
from bench.quota import NoQuota, held_to
from bench.run import WORK
from bench.stack import local_stack
from deploy.embedded.stack import LocalStack
from schemas.catalog import TEMPERATURE
from schemas.registry import Registry
from schemas.wire import decode
from streams.settings import Settings

BARE_MESSAGES: Final = 60_000
WARM_UP_MESSAGES: Final = 100_000
MESSAGES: Final = 600_000
PACED_SECONDS: Final = 30
ASKED_RATE: Final = 15_000
"""Messages a second one gateway is to carry at least."""
PACED_SHARE: Final = 0.5
"""Of that rate, and of the rate just measured: the loads at which latency is taken."""
WARM_UP_SECONDS: Final = 5
EACH_CORES: Final = 0.3
"""What of a core each gateway gets where one is held against two: two cores carry both and all else."""
EACH_MESSAGES: Final = 200_000
HELD: Final = 10_000
LEAD_SECONDS: Final = 4.0
"""From the start of the generator's process to its first message."""
PATIENCE_SECONDS: Final = 60.0


def packets(messages: int, start: float, rate: float) -> list[list[bytes]]:
    """Numbered readings in JSON, a list for each connection; each has the time it is due at this rate as its timestamp."""
    made = []
    for connection in range(CONNECTIONS):
        topic = f"sensors/station-{connection:04}/temperature"
        dues = (start + number * CONNECTIONS / rate for number in range(messages // CONNECTIONS))
        made.append(
            [
                publish(topic, b'{"value":20.5,"timestamp":%d,"sequence":%d}' % (due * 1000, number), 1 + number % 65_535)
                for number, due in enumerate(dues)
            ]
        )
    return made


@contextmanager
def sending(settings: Settings, messages: int, rate: float = 0) -> Iterator[None]:
    """Devices at work in a process of their own; `rate` 0: as fast as the broker takes it."""
    load = multiprocessing.get_context("spawn").Process(target=_send, args=(settings.mqtt, messages, time.time() + LEAD_SECONDS, rate))
    load.start()
    yield
    load.join(PATIENCE_SECONDS)
    if load.exitcode != 0:
        load.kill()
        raise BenchError(f"the generator ended with {load.exitcode}")


def _send(url: str, messages: int, start: float, rate: float) -> None:
    send(url, packets(messages, start, rate or 20_000), start, rate)


def bare_paho(settings: Settings) -> float:
    """CPU-seconds a message costs a subscriber of paho's that does nothing."""
    command = [sys.executable, "-m", "bench.bare_paho", str(BARE_MESSAGES)]
    with subprocess.Popen(command, env=settings.environment(), cwd=BENCH.parent, stdout=subprocess.PIPE, text=True) as paho:
        assert paho.stdout is not None
        if paho.stdout.readline().strip() != "subscribed":
            raise BenchError("paho did not subscribe")
        with sending(settings, BARE_MESSAGES):
            pass
        return float(paho.stdout.readline())


def throughput(settings: Settings, gateways: Sequence[psutil.Popen], topic: Lag, messages: int = MESSAGES) -> dict[str, float]:
    """Messages a second in Kafka and CPU-seconds a message of all gateways, from the first tenth to the last."""
    before, samples = topic.end(), []
    with sending(settings, messages):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not samples or samples[-1][1] < messages:
            if time.monotonic() > deadline:
                raise BenchError(f"{samples[-1][1] if samples else 0} of {messages} messages came in {PATIENCE_SECONDS:.0f} s")
            samples.append((time.monotonic(), topic.end() - before, sum(usage(gateway)[0] for gateway in gateways)))
            time.sleep(0.1)
    _settle(topic, before + messages)
    middle = [sample for sample in samples if 0.1 * messages <= sample[1] <= 0.95 * messages]
    (began, first, cpu), (ended, last, spent) = middle[0], middle[-1]
    return {"rate": (last - first) / (ended - began), "cpu_us": (spent - cpu) / (last - first) * 1e6}


def held_rate(settings: Settings, gateways: Sequence[psutil.Popen], topic: Lag) -> float | None:
    """Messages a second in Kafka while each gateway has but a share of a core, so that all else has enough; None where that cannot be."""
    try:
        with held_to(EACH_CORES, gateways):
            return throughput(settings, gateways, topic, EACH_MESSAGES * len(gateways))["rate"]
    except NoQuota:
        return None


def latency(settings: Settings, schema_id: int, rate: float) -> dict[str, float]:
    """Milliseconds from the time a message was due to leave its device until Kafka had it, which stamps it itself, after warm-up."""
    admin = AdminClient({"bootstrap.servers": settings.kafka, "log_level": 0})
    stamped = ConfigEntry("message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ResourceType.TOPIC, TEMPERATURE.topic, incremental_configs=[stamped])
    admin.incremental_alter_configs([changed])[changed].result()
    expected = int(rate * PACED_SECONDS) // CONNECTIONS * CONNECTIONS
    consumer = Consumer({"bootstrap.servers": settings.kafka, "group.id": "bench-gateway", "enable.auto.commit": False, "log_level": 0})
    with closing(consumer):
        places = [TopicPartition(TEMPERATURE.topic, partition) for partition in range(TEMPERATURE.partitions)]
        ends = [consumer.get_watermark_offsets(place)[1] for place in places]
        with sending(settings, expected, rate):
            pass
        consumer.assign([TopicPartition(place.topic, place.partition, end) for place, end in zip(places, ends, strict=True)])
        heard: list[Message] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(heard) < expected and time.monotonic() < deadline:
            heard += [message for message in consumer.consume(10_000, 1.0) if message.error() is None]
    values = [message.value() or b"" for message in heard]
    sent = decode(values, TEMPERATURE.codec, {schema_id: TEMPERATURE.codec}, frozenset()).frame["data"]
    due = sent.str.json_path_match("$.timestamp").cast(int).to_numpy()
    ages = np.array([message.timestamp()[1] for message in heard]) - due
    p50, p99 = np.percentile(ages[due >= due.min() + WARM_UP_SECONDS * 1000], [50, 99], method="higher")
    return {"offered": rate, "p50_ms": p50, "p99_ms": p99, "max_ms": ages.max(), "missing": expected - len(heard)}


def held(stack: LocalStack) -> dict[str, float]:
    """So many devices connected at once, one after another, and what of the MQTT broker's and the kernel's memory each takes, in KiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < HELD + 1_000:
        raise BenchError(f"This user may have {hard} files open, {HELD} connections take as many: raise the limit (ulimit -Hn).")
    broker = psutil.Process(stack.mqtt.process.pid)
    before, kernel, began = broker.memory_info().rss, psutil.virtual_memory().slab, time.monotonic()
    connections = [dial(stack.settings.mqtt, f"held-{number}", keepalive_seconds=600) for number in range(HELD)]
    seconds, grown = time.monotonic() - began, broker.memory_info().rss - before
    slab = psutil.virtual_memory().slab - kernel
    for connection in connections:
        connection.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return {
        "connections": len(connections),
        "kb_per_connection": grown / 1024 / HELD,
        "kernel_kb_per_connection": slab / 1024 / HELD / 2,  # both ends are on this machine
        "connects_per_second": HELD / seconds,
    }


def measure(stack: LocalStack) -> dict[str, Any]:
    """All of it."""
    settings = stack.settings
    connected = held(stack)  # first: memory that Mosquitto once had it keeps
    schema_id = Registry(settings.registry, WORK / "schemas").register(TEMPERATURE)
    fresh(settings, OURS, keep_readings=False)
    delete_group(AdminClient({"bootstrap.servers": settings.kafka, "log_level": 0}), GATEWAY.group)
    paho = bare_paho(settings)
    folder, log = WORK / GATEWAY.name, WORK / "logs" / f"{GATEWAY.name}.log"
    folder.mkdir(parents=True, exist_ok=True)
    # a gateway without a name shares its subscription with nobody: both would take all
    command, environment = GATEWAY.command(settings, folder), GATEWAY.environment(settings, folder) | {"HEADRACE_INSTANCE": "1"}
    with (
        running(command, env=environment, cwd=BENCH.parent, log=log) as gateway,
        closing(Lag(settings.kafka, GATEWAY.group, TEMPERATURE.topic)) as topic,
    ):
        wait_until_ready(f"http://127.0.0.1:{command[-1]}/ready")
        warm = topic.end() + WARM_UP_MESSAGES
        with sending(settings, WARM_UP_MESSAGES):
            pass
        _settle(topic, warm)
        ours = throughput(settings, [gateway], topic)
        on_its_way = [latency(settings, schema_id, rate * PACED_SHARE) for rate in (ASKED_RATE, ours["rate"])]
        alone = held_rate(settings, [gateway], topic)
        second, second_log = GATEWAY.command(settings, folder), log.with_stem("gateway-2")
        with running(second, env=environment | {"HEADRACE_INSTANCE": "2"}, cwd=BENCH.parent, log=second_log) as other:
            wait_until_ready(f"http://127.0.0.1:{second[-1]}/ready")
            both = throughput(settings, [gateway, other], topic)
            held_both = held_rate(settings, [gateway, other], topic)
            check_alive(other, second_log)
        check_alive(gateway, log)
    two = both | {"cores": EACH_CORES, "held_alone": alone, "held_rate": held_both}
    return {"paho_cpu_us": paho * 1e6, "ratio_paho": paho * 1e6 / ours["cpu_us"], **ours, "latency": on_its_way, "two": two, **connected}


def _settle(topic: Lag, expected: int) -> None:
    """Return when nothing more comes; BenchError unless each message came once."""
    before = -1
    while (end := topic.end()) > before:
        before = end
        time.sleep(1)
    if end != expected:
        raise BenchError(f"{end} messages are in Kafka, not {expected}: some came twice, or not at all")


def main() -> None:
    """Run, keep the figures, write them into `bench/RESULTS.md`, and print the one line that matters."""
    with local_stack(WORK / "stack", "kafka", "registry", "mqtt") as stack:
        found = measure(stack)
    report.keep("gateway", found)
    figures = {name: found[name] for name in ("rate", "ratio_paho")} | {"p99_ms": found["latency"][0]["p99_ms"]}
    figures |= {name: found[name] for name in ("connections", "kb_per_connection")}
    print(" ".join(f"{name}={figure:.6g}" for name, figure in figures.items()))


if __name__ == "__main__":
    main()
