"""`python -m bench.recovery`: how long a worker that was killed takes until it does its work again, by how much it remembers.

A key is a sensor of a device. Each has a reading in each of the last twelve minutes, so the windows of all keys are full; some have
episodes. The worker reads it all, is killed -9, and is started again as a supervisor starts it, under the same instance name. It has
recovered when the first checkpoint of every partition is committed, which writes all of the state anew under its own signature.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import orjson
from rich.console import Console

from agents.factory.sensors import SENSORS
from bench import report
from bench.jobs import OURS, fresh
from bench.load import load
from bench.measure import Lag, running
from deploy.embedded.stack import LocalStack, on_free_ports
from schemas.catalog import READINGS
from schemas.registry import Registry
from streams.settings import Settings

MINUTES: Final = 12
MINUTE_MS: Final = 60_000
DEVICES: Final = (1, 16_667, 33_334)
MARKS: Final = {
    "assigned": "Setting newly assigned partitions",
    "read": "Recovery complete",
    "rebuilt": "lane_opened",
}
"""Lines of the worker's log; the last of a kind counts."""


@dataclass(frozen=True)
class Recovery:
    """One recovery. Seconds from the start of the process to its partitions, to read the changelog, to build the state, to commit."""

    keys: int
    changelog_mb: float
    start_s: float
    read_s: float
    rebuild_s: float
    checkpoint_s: float
    total_s: float


def recover(settings: Settings, folder: Path, devices: int) -> Recovery:
    """Fill the state, kill the worker, start it again."""
    fresh(settings, OURS, keep_readings=False)
    schema_id = Registry(settings.registry, settings.data / "schemas").register(READINGS)
    end_ms = int(time.time() * 1000)
    load(settings.kafka, schema_id, devices=devices, records=devices * len(SENSORS) * MINUTES, period_ms=MINUTE_MS, end_ms=end_ms)
    lag = Lag(settings.kafka, OURS.group, READINGS.topic)
    command, environment = [*OURS.command(settings, folder), "-l", "info"], OURS.environment(settings, folder)
    with running(command, env=environment, cwd=folder, log=folder / "first.log") as worker:
        lag.wait(worker, folder / "first.log")
        worker.kill()
        worker.wait()
    segments = (settings.data / "kafka" / "log").glob(f"{READINGS.changelogs[0]}-*/*.log")
    size = sum(segment.stat().st_size for segment in segments)
    # something to checkpoint in every partition, of a time at which no window closes: that work is every minute's, not the recovery's
    load(settings.kafka, schema_id, devices=50, records=50 * len(SENSORS), end_ms=end_ms)
    started = time.time()
    with running(command, env=environment, cwd=folder, log=folder / "second.log") as worker:
        lag.wait(worker, folder / "second.log")
        committed = time.time()
    lag.close()
    at = marks(folder / "second.log")
    steps = [started, at["assigned"], at["read"], at["rebuilt"], committed]
    taken = [round(after - before, 2) for before, after in pairwise(steps)]
    return Recovery(devices * len(SENSORS), round(size / 1e6, 1), *taken, round(committed - started, 2))


def marks(log: Path) -> Mapping[str, float]:
    """When each of MARKS was last logged, in seconds since the epoch."""
    found = {}
    for line in log.read_text(errors="replace").splitlines():
        for name, text in MARKS.items():
            if text in line:
                found[name] = datetime.strptime(line[1:24], "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()
    return found


def per_million(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds per million keys of each step and in all: what the largest state takes longer than the smallest.

    The start is left out: it does not depend on the state.
    """
    least, most = rows[0], rows[-1]
    steps = {name: (most[name] - least[name]) / (most["keys"] - least["keys"]) * 1e6 for name in ("read_s", "rebuild_s", "checkpoint_s")}
    return steps | {"total_s": sum(steps.values())}


def main() -> None:
    """Run, keep the figures, and write them into `bench/RESULTS.md`."""
    with TemporaryDirectory() as data, LocalStack(on_free_ports(Path(data)), ("kafka", "registry")) as stack:
        settings = stack.settings.model_copy(update={"instance": "bench"})
        rows = []
        for devices in DEVICES:
            folder = Path(data) / f"worker-{devices}"
            folder.mkdir()
            rows.append(asdict(recover(settings, folder, devices)))
            Console(stderr=True).print(rows[-1])
    found = {"per_million_keys": per_million(rows), "rows": rows}
    report.RESULTS.mkdir(exist_ok=True)
    (report.RESULTS / "recovery.json").write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    report.rewrite()
    print(f"seconds_per_million_keys={found['per_million_keys']['total_s']:.3g}")


if __name__ == "__main__":
    main()
