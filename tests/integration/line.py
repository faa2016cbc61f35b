"""The factory line as tests see it: worker processes, what is in a topic, and what an undisturbed run makes of the readings."""

import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson
import polars as pl
from confluent_kafka import Consumer, Producer, TopicPartition

from agents.factory.domain import FACTORY
from agents.letters import dead_letters, late_records
from agents.watch import Watch
from deploy.embedded.preflight import free_ports
from deploy.embedded.processes import marks
from deploy.embedded.service import LOCAL
from schemas.catalog import ALERTS, CHANGELOGS, DEAD_LETTERS, LATE, READINGS, WINDOWS, in_kafka
from schemas.registry import Registry
from schemas.wire import decode, encode
from streams.access import quiet
from streams.batches import Batch
from streams.kafka.coordinator import once_loaded

CHANGELOG = next(iter(CHANGELOGS))
PATIENCE = 240  # a busy machine may take three times as long as a quiet one
UNREGISTERED = 2**31 - 1  # the schema id of some of the simulator's garbage
WINDOW = ["device_id", "sensor_type", "window_seconds", "window_start"]
CHANGE = ["alert_id", "status", "changed_at"]
SOURCE = ["topic", "partition", "offset"]
http = LOCAL
ADDRESSES = {}  # folder, module and name of a static member → its port, where it comes back unless another is named


class Worker:
    """A worker process, started as a user starts it; its log goes to a file that failures quote."""

    def __init__(self, settings, folder: Path, *, instance="", module="streams.factory", port=None, cwd=None, level="info"):
        self.log = folder / f"worker-{instance or 'x'}-{time.monotonic_ns()}.log"
        self.port = port or ADDRESSES.get((folder, module, instance)) or free_ports(1)[0]
        if instance:
            ADDRESSES[folder, module, instance] = self.port
        faust = str(Path(sys.executable).with_name("faust"))
        command = [faust, "-A", module, "--datadir", str(folder / "faust"), "worker", "-l", level, "--web-port", str(self.port)]
        environment = settings.environment(HEADRACE_INSTANCE=instance, **marks(settings.data, f"test-{self.port}"))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.wait_for("worker_starting")  # before that nobody handles the signal
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)

    def wait_for(self, text, patience=PATIENCE):
        wait(lambda: text in self.log.read_text(errors="replace"), lambda: f"{text!r} is not in the log:\n{self.tail()}", patience, self)

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])


def is_ready(worker):
    """Whether a worker, anything that has the port of its pages, says that it does its work."""
    try:
        return http.get(f"http://127.0.0.1:{worker.port}/ready", timeout=30).status_code == 200
    except httpx.TransportError:
        return False


def wait(condition, otherwise, patience=PATIENCE, worker=None):
    deadline = time.monotonic() + patience
    while True:
        looked_at = time.monotonic()
        if condition():
            return
        assert worker is None or worker.process.poll() is None, f"the worker exited:\n{worker.tail()}"
        assert time.monotonic() < deadline, otherwise()
        time.sleep(max(0.1, 2 * (time.monotonic() - looked_at)))  # some look at a whole topic, and others work meanwhile


class Topics:
    """Reads topics and a group's offsets without joining the group."""

    def __init__(self, settings, group="factory"):
        self.settings = settings
        group = in_kafka(settings.tenant, group)
        self.consumer = Consumer({**quiet(settings.kafka, settings), "group.id": group, "enable.auto.commit": False})

    def close(self):
        self.consumer.close()

    def ends(self, topic=READINGS.topic):
        topic = in_kafka(self.settings.tenant, topic)
        partitions = self.consumer.list_topics(topic, timeout=10).topics[topic].partitions
        return {p: self.consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions}

    @once_loaded(PATIENCE)
    def committed(self, topic=READINGS.topic):
        name = in_kafka(self.settings.tenant, topic)
        positions = self.consumer.committed([TopicPartition(name, p) for p in self.ends(topic)], timeout=10)
        return {p.partition: max(p.offset, 0) for p in positions}

    def wait_until_read(self, worker=None, topic=READINGS.topic, patience=PATIENCE):
        """Return when the group has committed everything that is in the topic."""
        ends = self.ends(topic)

        def report():
            return f"committed {self.committed(topic)} of {ends}\n{worker.tail() if worker else ''}"

        wait(lambda: all(self.committed(topic)[p] >= end for p, end in ends.items()), report, patience, worker)

    def read(self, topic):
        """Every record of a topic as batches, one per partition."""
        batches, ends, topic = {}, self.ends(topic), in_kafka(self.settings.tenant, topic)
        for partition, end in ends.items():
            batch = batches[partition] = Batch(topic, partition)
            self.consumer.assign([TopicPartition(topic, partition, 0)])
            position = 0
            while position < end:
                for message in self.consumer.consume(2_000, timeout=0.2):
                    assert message.error() is None, message.error()
                    position = message.offset() + 1
                    batch.keys.append(message.key())
                    batch.values.append(message.value())
                    batch.timestamps.append(message.timestamp()[1])
                    batch.offsets.append(message.offset())
                position = max(position, self.consumer.position([TopicPartition(topic, partition)])[0].offset)
        self.consumer.unassign()
        return batches

    def frame(self, contract):
        """A topic of ours as one frame, with the partition and offset of each record as `at`, in log order within a partition."""
        registry = Registry(self.settings.registry, self.settings.data / "test-schemas")
        writers = {registry.register(contract): contract.codec}
        frames = []
        for partition, batch in self.read(contract.topic).items():
            decoded = decode(batch.values, contract.codec, writers)
            assert not decoded.rejects
            assert not decoded.unknown
            frames.append(decoded.frame.with_columns(at=pl.lit(partition)))
        return pl.concat(frames)


@dataclass
class Outcome:
    """What a run leaves behind, whatever order and however often it was written."""

    windows: pl.DataFrame
    alerts: pl.DataFrame
    late: pl.DataFrame
    dead_letters: pl.DataFrame
    counts: dict[int, dict[str, int]] = field(default_factory=dict)


def undisturbed(settings, topics) -> Outcome:
    """What the watch makes of the readings in the log, in one process that nothing happens to."""
    registry = Registry(settings.registry, settings.data / "test-schemas")
    writers = {registry.register(READINGS): READINGS.codec}
    frames, counts = defaultdict(list), {}
    for partition, batch in topics.read(READINGS.topic).items():
        if not batch:
            continue
        watch = Watch(FACTORY, settings.tenant)
        while batch:
            head, batch = batch.split(20_000)
            observed = watch.observe(head, writers, {UNREGISTERED})
            assert not isinstance(observed, frozenset), observed
            frames["alerts"].append(observed.alerts)
            frames["late"].append(late_records(head, observed.late))
            frames["dead_letters"].append(dead_letters(head, observed.rejects))
            settled = watch.settle()
            frames["windows"].append(settled.windows)
            frames["alerts"].append(settled.alerts)
        counts[partition] = dict(watch.counts)
    # without rejects or late records some columns have no type
    return tidy({name: pl.concat(parts, how="vertical_relaxed") for name, parts in frames.items()}, counts)


def actual(settings, topics) -> Outcome:
    """What is in the output topics and the changelog."""
    frames = {
        name: topics.frame(c) for name, c in {"windows": WINDOWS, "alerts": ALERTS, "late": LATE, "dead_letters": DEAD_LETTERS}.items()
    }
    # the gateway's own are of messages that never were in the log
    frames["dead_letters"] = frames["dead_letters"].filter(pl.col("partition") >= 0)
    return tidy(frames, ledgers(topics, CHANGELOG))


def ledgers(topics, changelog):
    """Partition → counts of the latest checkpoint, of those that have one."""
    counts = {}
    for partition, batch in topics.read(changelog).items():
        there = dict(zip(batch.keys, batch.values, strict=True))  # the last value counts, none deletes
        manifests = [value for key, value in there.items() if key.startswith(b"manifest@") and value]
        if manifests:
            latest = max(map(orjson.loads, manifests), key=lambda manifest: manifest["fence"])
            counts[partition] = latest["facts"]["counts"]
    return counts


def tidy(frames, counts) -> Outcome:
    windows = frames["windows"].filter(pl.col("closed_by") == "watermark").sort("revision").unique(WINDOW, keep="last").sort(WINDOW)
    return Outcome(
        windows.select(*WINDOW, "count", "mean", "min", "max", "stddev", "last", "last_at", "revision"),
        frames["alerts"]
        .unique(CHANGE)
        .sort(CHANGE)
        .select(*CHANGE, "device_id", "subject", "rule", "value", "raised_at", "historic", "confidence"),
        frames["late"].unique(SOURCE).sort(SOURCE).select(*SOURCE, "late_by_ms", "value"),
        frames["dead_letters"].unique(SOURCE).sort(SOURCE).select(*SOURCE, "reason", "value"),
        counts,
    )


def assert_equal(outcome: Outcome, expected: Outcome) -> None:
    for name in ("windows", "alerts", "late", "dead_letters"):
        ours, theirs = getattr(outcome, name), getattr(expected, name)
        assert ours.height == theirs.height, f"{name}: {ours.height} instead of {theirs.height}"
        assert ours.equals(theirs), f"{name} differ"
    nonzero = {p: {k: v for k, v in c.items() if v} for p, c in outcome.counts.items()}
    assert nonzero == {p: {k: v for k, v in c.items() if v} for p, c in expected.counts.items()}
    for counts in outcome.counts.values():
        assert counts["received"] == sum(count for outcome, count in counts.items() if outcome != "received")


def headrace(settings, *words):
    """Runs the command as a person does; its exit status and what it printed."""
    command = [str(Path(sys.executable).with_name("headrace")), *map(str, words)]
    done = subprocess.run(command, env=settings.environment(COLUMNS="200"), capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout + done.stderr


def simulate(settings, *options, to="kafka"):
    """A `headrace simulate factory` process."""
    headrace = str(Path(sys.executable).with_name("headrace"))
    command = [headrace, "simulate", "factory", "--to", to, *map(str, options)]
    return subprocess.Popen(command, env=settings.environment(**marks(settings.data, "test-simulator")), stderr=subprocess.DEVNULL)


@contextmanager
def under_load(settings, *options):
    """Devices that send until the block ends, and then what they have at hand."""
    load = simulate(settings, *options)
    try:
        yield
        load.terminate()
        assert load.wait(timeout=PATIENCE) == 0
    finally:
        load.kill()


def produce(kafka, contract, frame, *, values=None, key=None):
    """Write a topic as its producers do."""
    schema_id = Registry(kafka.registry, kafka.data / "test-schemas").register(contract)
    producer = Producer({**quiet(kafka.kafka, kafka), "partitioner": "murmur2_random", "compression.type": "snappy"})
    keys = frame[key or contract.key].cast(pl.Binary).to_list()
    topic, failed = in_kafka(kafka.tenant, contract.topic), []
    for key_, value in zip(keys, values or encode(contract.codec, schema_id, frame), strict=True):
        producer.produce(topic, value, key_, on_delivery=lambda error, _: failed.append(error) if error else None)
        if len(producer) > 50_000:
            producer.poll(0.1)
    assert producer.flush(PATIENCE) == 0
    assert not failed


def sample(contract, count, **fields):
    """Rows of a contract, told apart by their device, offset and event time."""
    now = int(time.time() * 1000)
    values = {pl.String: "x", pl.Binary: b"\x00\xff", pl.Float64: 0.5, pl.Boolean: False, pl.Int32: 60, pl.Int64: now}

    def of(dtype):
        if isinstance(dtype, pl.Map):
            return {"x": "x"}
        return {field.name: of(field.dtype) for field in dtype.fields} if isinstance(dtype, pl.Struct) else values.get(dtype)

    row = {name: of(dtype) for name, dtype in contract.codec.columns.items()} | fields
    own = {
        "device_id": "press-{}",
        "alert_id": "alert-{}",
        "rule_id": "rule-{}",
        "sensor_id": "sensor-{}",
        "message_id": "message-{}",
        "mapping_id": "mapping-{}",
    }
    numbers = pl.int_range(count, dtype=pl.Int64)
    told = {name: pl.format(own[name], numbers) for name in own.keys() & row.keys()} | ({"offset": numbers} if "offset" in row else {})
    return pl.DataFrame([row], contract.codec.columns).select(pl.all().repeat_by(count).explode()).with_columns(**told)
