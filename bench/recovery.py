"""`python -m bench.recovery`: how long a worker that was killed takes until it does its work again, by how much it remembers.

A key is a sensor of a device. Each has a reading in each of the last twelve minutes, so the windows of all keys are full; some have
episodes. The worker reads it all, is killed -9, and is started again as a supervisor starts it, under the same instance name. It has
recovered when the first checkpoint of every partition is committed, which writes all of the state anew under its own signature.
"""

import time
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from rich.console import Console

from agents.factory.sensors import SENSORS
from bench import report
from bench.jobs import OURS, fresh
from bench.load import load
from bench.measure import Lag, running
from bench.stack import local_stack
from schemas.catalog import READINGS
from schemas.registry import Registry
from streams.settings import Settings

MINUTES: Final = 12
DEVICES: Final = (1, 16_667, 33_334)
# Lines of the worker's log; the last of a kind counts.
MARKS: Final = {"assigned": "Setting newly assigned partitions", "read": "Recovery complete", "rebuilt": "lane_opened"}


def recover(settings: Settings, folder: Path, devices: int) -> dict[str, float]:
    """Fill the state, kill the worker, start it again: seconds to its partitions, to read the changelog, to build the state, to commit."""
    fresh(settings, OURS, keep_readings=False)
    schema_id = Registry(settings.registry, settings.data / "schemas").register(READINGS)
    end_ms, keys = int(time.time() * 1000), devices * len(SENSORS)
    load(settings.kafka, schema_id, devices=devices, records=keys * MINUTES, period_ms=60_000, end_ms=end_ms)
    lag = Lag(settings.kafka, OURS.group, READINGS.topic)
    command, environment = [*OURS.command(settings, folder), "-l", "info"], OURS.environment(settings, folder)
    with running(command, env=environment, cwd=folder, log=folder / "first.log") as worker:
        lag.wait(worker, folder / "first.log")
        worker.kill()
        worker.wait()
    size = sum(segment.stat().st_size for segment in (settings.data / "kafka" / "log").glob(f"{READINGS.changelogs[0]}-*/*.log"))
    # something to checkpoint in every partition, of a time at which no window closes: that work is every minute's, not the recovery's
    load(settings.kafka, schema_id, devices=50, records=50 * len(SENSORS), end_ms=end_ms)
    started = time.time()
    with running(command, env=environment, cwd=folder, log=folder / "second.log") as worker:
        lag.wait(worker, folder / "second.log")
        committed = time.time()
    lag.close()
    at = marks(folder / "second.log")
    steps = pairwise([started, at["assigned"], at["read"], at["rebuilt"], committed])
    taken = dict(zip(("start_s", *report.RECOVERY_STEPS), (round(after - before, 2) for before, after in steps), strict=True))
    return {"keys": keys, "changelog_mb": round(size / 1e6, 1), **taken, "total_s": round(committed - started, 2)}


def marks(log: Path) -> Mapping[str, float]:
    """When each of MARKS was last logged, in seconds since the epoch."""
    lines = log.read_text(errors="replace").splitlines()
    last = {name: [line for line in lines if text in line][-1] for name, text in MARKS.items()}
    return {name: datetime.strptime(line[1:24], "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp() for name, line in last.items()}


def main() -> None:
    """Run, keep the figures, and write them into `bench/RESULTS.md`."""
    with TemporaryDirectory() as data, local_stack(Path(data), "kafka", "registry") as stack:
        settings = stack.settings.model_copy(update={"instance": "bench"})
        rows = []
        for devices in DEVICES:
            folder = Path(data) / f"worker-{devices}"
            folder.mkdir()
            rows.append(recover(settings, folder, devices))
            Console(stderr=True).print(rows[-1])
    report.keep("recovery", rows)
    print(" ".join(f"{step}_per_million_keys={seconds:.3g}" for step, seconds in report.per_million(rows).items()))


if __name__ == "__main__":
    main()
