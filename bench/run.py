"""`python -m bench.run [--quick]`: the factory job here, on stock Faust and on Quix Streams, same topic, same run; then latency and memory.

Prints as it goes and ends with one line of the figures that matter; the same and all the rest as JSON in `bench/results/`.
The full run also writes `bench/RESULTS.md` and its plots.
"""

import shutil
import sys
import time
from argparse import ArgumentParser
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from agents.factory.sensors import SENSORS
from bench import report
from bench.jobs import BENCH, OURS, QUIX, STOCK_FAUST, WAREHOUSE, Job, fresh
from bench.latency import latency
from bench.load import SEED, Loaded, load
from bench.machine import machine, versions
from bench.measure import BenchError, Lag, Sample, running, summary, watch
from bench.pace import Load
from bench.stack import local_stack
from schemas.catalog import DEAD_LETTERS, READINGS
from schemas.registry import Registry
from streams.settings import Settings
from tables.factory import WINDOWING

WORK: Final = BENCH / "work"
LEAD_SECONDS: Final = 6  # between the generator's start and its first record: imports, and the bodies encoded
SOAK_ALERTS_PER_SECOND: Final = 10
RETAINED_MINUTES: Final = WINDOWING.retention_ms // 60_000 + 1
console = Console(stderr=True)


@dataclass(frozen=True)
class Plan:
    """How much of everything. Peers get the topic's first `peer_seconds`, ours all of it: a rate is per second."""

    name: str
    records: int
    repetitions: int
    peer_seconds: float
    devices: tuple[int, ...]
    rates: tuple[int, ...]
    latency_seconds: int
    soak_seconds: int


QUICK: Final = Plan("quick", 3_000_000, 1, 20, (1_000,), (20_000,), 30, 0)
FULL: Final = Plan("full", 6_000_000, 2, 20, (1_000, 10_000), (10_000, 20_000, 30_000), 60, 600)


class Bench:
    """One run of a plan against a running stack; `results` fills up."""

    def __init__(self, plan: Plan, settings: Settings) -> None:
        self.plan, self.settings = plan, settings
        self.schema_id = Registry(settings.registry, WORK / "schemas").register(READINGS)
        self.results: dict[str, Any] = {
            "plan": asdict(plan),
            "seed": SEED,
            "loaded": [],
            "runs": [],
            "latency": [],
        }

    def run(self) -> None:
        """Everything in order."""
        for devices in self.plan.devices:
            fresh(self.settings, OURS, keep_readings=False)
            loaded = load(self.settings.kafka, self.schema_id, devices=devices, records=self.plan.records)
            self.results["loaded"].append(asdict(loaded))
            # the peers are compared once, at the lower number of devices, in turns with ours: a machine's pace drifts
            for job in (
                (OURS, STOCK_FAUST, QUIX) * self.plan.repetitions if devices == self.plan.devices[0] else (OURS,) * self.plan.repetitions
            ):
                self.throughput(job, loaded)
            if devices == self.plan.devices[0]:
                self.throughput(WAREHOUSE, loaded)
        self.latencies()
        if self.plan.soak_seconds:
            self.soak()

    def throughput(self, job: Job, loaded: Loaded) -> None:
        """One run of one contestant over the loaded topic."""
        fresh(self.settings, job, keep_readings=True)
        folder, log = self.folder(job)
        seconds = self.plan.peer_seconds if job in (STOCK_FAUST, QUIX) else float("inf")
        command = job.command(self.settings, folder)
        with (
            closing(Lag(self.settings.kafka, job.group, READINGS.topic)) as lag,
            console.status(f"{job.name}, {loaded.devices:,} devices"),
            running(command, env=job.environment(self.settings, folder), cwd=BENCH.parent, log=log) as process,
        ):
            run = summary(job.name, loaded.devices, watch(process, lag, log, records=lag.end(), seconds=seconds))
            if job is OURS:
                self.require_dead_letters(loaded)
        self.results["runs"].append(asdict(run))
        console.print(
            f"{job.name:14} {loaded.devices:6,} devices {run.rate:10,.0f} records/s {run.cpu_s_per_million:7.2f} CPU-s per million "
            f"{run.peak_rss_mb:6.0f} MiB, started in {run.startup_s:.1f} s",
            soft_wrap=True,
        )

    def require_dead_letters(self, loaded: Loaded) -> None:
        """BenchError unless every invalid reading was dead-lettered: a rate counts only if the work was done."""
        with closing(Lag(self.settings.kafka, OURS.group, DEAD_LETTERS.topic)) as dead_letters:
            if dead_letters.end() < loaded.invalid:
                raise BenchError(f"{loaded.invalid} readings are invalid, but only {dead_letters.end()} dead letters were written")

    def latencies(self) -> None:
        """Our worker under paced load, at each rate in turn."""
        fresh(self.settings, OURS, keep_readings=False)
        load(self.settings.kafka, self.schema_id, devices=1, records=6)
        self.pace([Load(self.settings.kafka, self.schema_id, rate, self.plan.latency_seconds, 0) for rate in self.plan.rates])

    def soak(self) -> None:
        """Our worker for long at one rate, from the moment on at which its windows hold as much as they ever will."""
        fresh(self.settings, OURS, keep_readings=False)
        devices = self.plan.devices[-1]
        rate = devices * len(SENSORS)
        load(self.settings.kafka, self.schema_id, devices=devices, records=RETAINED_MINUTES * rate, period_ms=60_000)
        soak = Load(self.settings.kafka, self.schema_id, rate, self.plan.soak_seconds, 0, SOAK_ALERTS_PER_SECOND)
        self.results["soak"] = [asdict(sample) for sample in self.pace([soak])]

    def pace(self, loads: list[Load]) -> list[Sample]:
        """Give a new worker the backlog that is there, then the loads, each from some seconds from now on; samples of the last."""
        folder, log = self.folder(OURS)
        env = OURS.environment(self.settings, folder)
        samples: list[Sample] = []
        with (
            closing(Lag(self.settings.kafka, OURS.group, READINGS.topic)) as lag,
            running(OURS.command(self.settings, folder), env=env, cwd=BENCH.parent, log=log) as worker,
        ):
            lag.wait(worker, log)
            for waiting in loads:
                paced = replace(waiting, start=time.time() + LEAD_SECONDS)
                generator = [sys.executable, "-m", "bench.pace"]
                with console.status(f"{paced.rate:,} readings/s for {paced.seconds} s"):
                    figures, samples = latency(worker, log, load=paced, command=generator, env=env, work=WORK)
                lag.wait(worker, log)
                self.results["latency"].append(asdict(figures))
                console.print(
                    f"latency {paced.rate:10,} readings/s   p50 {figures.p50_ms:.1f}  p99 {figures.p99_ms:.1f}  "
                    f"p99.9 {figures.p999_ms:.1f} ms, {figures.missing} of {figures.alerts} alerts missing, "
                    f"generator late by up to {figures.behind_ms:.1f} ms",
                    soft_wrap=True,
                )
        return samples

    def folder(self, job: Job) -> tuple[Path, Path]:
        """An empty folder for a job's process, and its log."""
        folder = WORK / job.name.replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder, WORK / "logs" / f"{folder.name}.log"


def main() -> None:
    """Run, report, print the last line."""
    parser = ArgumentParser(prog="python -m bench.run", description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="one repetition, one latency rate, no soak: under five minutes")
    plan = QUICK if parser.parse_args().quick else FULL
    started, before = time.strftime("%Y-%m-%d %H:%M"), machine()
    with local_stack(WORK / "stack", "kafka", "registry") as stack:
        bench = Bench(plan, stack.settings)
        bench.run()
    results = {"started": started, "machine": before, "versions": versions(), **bench.results}
    print(report.publish(results))


if __name__ == "__main__":
    main()
