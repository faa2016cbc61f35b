"""Rate, CPU and memory of a job seen from outside, ten times a second: its group's committed offsets and the table of processes."""

import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import httpx
import psutil
from confluent_kafka import Consumer, KafkaException, TopicPartition

POLL_SECONDS = 0.1
STALL_SECONDS = 90.0
STOP_SECONDS = 15.0


class BenchError(Exception):
    """The benchmark cannot go on; the message says what is missing or what stopped, and where its log is."""


@dataclass(frozen=True)
class Sample:
    """One look at a running job: seconds since its start, records committed, CPU-seconds spent, resident bytes; children included."""

    seconds: float
    records: int
    cpu_seconds: float
    rss_bytes: int


@dataclass(frozen=True)
class Run:
    """One measured run.

    `rate` (records/s) and `cpu_s_per_million` cover the time from the first commit seen to the last; `startup_s` is what came before it,
    `rate_with_startup` includes that. `peak_rss_mb` is in MiB, children included.
    """

    job: str
    devices: int
    records: int
    seconds: float
    rate: float
    cpu_s_per_million: float
    peak_rss_mb: float
    startup_s: float
    rate_with_startup: float


class Lag:
    """Committed offsets and end of one topic for one consumer group, read without joining the group."""

    def __init__(self, kafka: str, group: str, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": kafka, "group.id": group, "enable.auto.commit": False, "log_level": 0})
        metadata = self._consumer.list_topics(topic, timeout=10).topics[topic]
        self._partitions = [TopicPartition(topic, p) for p in metadata.partitions]
        self._low = {p.partition: self._watermarks(p)[0] for p in self._partitions}

    def end(self) -> int:
        """Records in the topic now."""
        return sum(self._watermarks(p)[1] for p in self._partitions) - sum(self._low.values())

    def committed(self) -> int:
        """Records of the topic below the group's committed offsets now; 0 before its first commit."""
        positions = self._consumer.committed(self._partitions, timeout=10)
        return sum(p.offset - self._low[p.partition] for p in positions if p.offset >= 0)

    def wait(self, process: psutil.Popen, log: Path) -> None:
        """Return once everything now in the topic is committed."""
        end, before, progressed = self.end(), -1, time.monotonic()
        while (committed := self.committed()) < end:
            check_alive(process, log)
            if committed > before:
                before, progressed = committed, time.monotonic()
            if time.monotonic() - progressed > STALL_SECONDS:
                raise BenchError(f"no record committed for {STALL_SECONDS:.0f} s at {committed} of {end}; log: {log}")
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def _watermarks(self, partition: TopicPartition) -> tuple[int, int]:
        deadline = time.monotonic() + STALL_SECONDS
        while True:
            try:
                low, high = self._consumer.get_watermark_offsets(partition, timeout=10)
            except KafkaException:
                # a topic just created has no leader yet
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)
            else:
                return low, high


@contextmanager
def running(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> Iterator[psutil.Popen]:
    """Run a command in its own session with its output in `log`; on the way out it and its children are stopped whatever happens."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = psutil.Popen(
            list(command), env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: psutil.Popen) -> None:
    """SIGTERM to the process, SIGKILL to what is left of it and its children after `STOP_SECONDS`."""
    if process.poll() is not None:
        return
    family = [*process.children(recursive=True), process]
    process.send_signal(signal.SIGTERM)
    _, left = psutil.wait_procs(family, timeout=STOP_SECONDS)
    for member in left:
        member.kill()
    psutil.wait_procs(left, timeout=STOP_SECONDS)


def check_alive(process: psutil.Popen, log: Path) -> None:
    """Raise BenchError with the end of its log if the process is gone."""
    if process.poll() is not None:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise BenchError(f"{' '.join(process.args)} exited with {process.returncode}:\n{tail}\nfull log: {log}")


def wait_until_ready(url: str) -> None:
    """Return when a worker's `/ready` says so."""
    deadline = time.monotonic() + STALL_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise BenchError(f"{url} does not say it is ready")


def usage(process: psutil.Process) -> tuple[float, int]:
    """CPU-seconds (user and system) and resident bytes of a process and its children."""
    cpu, rss = 0.0, 0
    for member in [process, *process.children(recursive=True)]:
        try:
            times = member.cpu_times()
            cpu += times.user + times.system
            rss += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return cpu, rss


def watch(process: psutil.Popen, lag: Lag, log: Path, *, records: int, seconds: float) -> list[Sample]:
    """Samples from now until `records` are committed or `seconds` have passed since the first commit."""
    start = progressed = time.monotonic()
    samples: list[Sample] = []
    first: float | None = None
    before = lag.committed()
    while True:
        check_alive(process, log)
        cpu, rss = usage(process)
        now = time.monotonic()
        samples.append(Sample(now - start, lag.committed() - before, cpu, rss))
        done = samples[-1].records
        if done and first is None:
            first = now
        if len(samples) > 1 and done > samples[-2].records:
            progressed = now
        if done >= records or (first is not None and now - first > seconds):
            return samples
        if now - progressed > STALL_SECONDS:
            raise BenchError(f"no record committed for {STALL_SECONDS:.0f} s at {done} of {records}; log: {log}")
        time.sleep(max(0.0, POLL_SECONDS - (time.monotonic() - now)))


def summary(job: str, devices: int, samples: Sequence[Sample]) -> Run:
    """The figures of a run, from the samples at which commits were seen."""
    commits = [now for was, now in pairwise(samples) if now.records > was.records]
    if len(commits) < 2:
        raise BenchError(f"{job}: {len(commits)} commits seen, two are needed for a rate: load more records")
    first, last = commits[0], commits[-1]
    records, seconds = last.records - first.records, last.seconds - first.seconds
    return Run(
        job=job,
        devices=devices,
        records=records,
        seconds=seconds,
        rate=records / seconds,
        cpu_s_per_million=(last.cpu_seconds - first.cpu_seconds) / records * 1e6,
        peak_rss_mb=max(s.rss_bytes for s in samples) / 2**20,
        startup_s=first.seconds,
        rate_with_startup=last.records / last.seconds,
    )
