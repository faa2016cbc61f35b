"""`python -m bench.idle`: processor time and memory of each worker of the whole line while little or nothing comes.

Factories and a city send so many messages a second each over MQTT; the gateway takes both, the warehouse stores both and what is made of
them. Measured from outside once the windows of the start are over, on a machine that does other things, too.
"""

import os
import shutil
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
from rich.console import Console

from bench import report
from bench.idle_report import shares
from bench.jobs import BENCH
from bench.measure import STALL_SECONDS, BenchError, Lag, check_alive, running, usage
from bench.stack import local_stack
from deploy.demo.simulators import CITY_SECONDS
from deploy.demo.workers import PORTS, Worker
from deploy.embedded.processes import marks
from schemas.catalog import MESSAGES, READINGS
from streams.settings import Settings

WORK: Final = BENCH / "work"
DEMO_RATES: Final = (450, 150)
"""Those of `headrace demo` by default."""
RATES: Final = ((0, 0), (50, 50), DEMO_RATES, (500, 500))
"""Readings a second from the factories, and messages a second from the city."""
SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 10.0
"""First windows, caches."""
SENSORS: Final = 6
"""Of a factory's machine, each with a reading a second."""
console = Console(stderr=True)


def measure(settings: Settings, seconds: float) -> list[dict[str, Any]]:
    """A row for each load and worker: `came` a second of both, the machine's load average `busy`, per cent of a core `cpu`, `rss_mb`."""
    rows = []
    with ExitStack() as held:
        workers = {name: Worker(settings, name) for name in PORTS}
        for worker in workers.values():
            held.callback(worker.stop)
            worker.start()
        for worker in workers.values():
            worker.wait()
        for rates in RATES:
            load = f"{rates[0]} + {rates[1]}"
            with _load(settings, *rates), console.status(f"{load} a second"):
                _await_flow(settings, sum(rates))
                time.sleep(SETTLE_SECONDS)
                sent = _ends(settings)
                before = {name: usage(worker.process)[0] for name, worker in workers.items() if worker.process}
                time.sleep(seconds)
                came, busy = (_ends(settings) - sent) / seconds, os.getloadavg()[0]
                console.print(f"{load} asked for, {came:.0f} a second came of both; load average {busy:.1f}")
                for name, worker in workers.items():
                    if worker.process:
                        check_alive(worker.process, worker.log)
                        cpu, rss = usage(worker.process)
                        share = 100 * (cpu - before[name]) / seconds
                        rows.append({"load": load, "came": came, "busy": busy, "worker": name, "cpu": share, "rss_mb": rss / 2**20})
                        console.print(f"{name:10} {load:9} a second {share:6.1f} % of a core {rss / 2**20:6.0f} MiB")
    return rows


def _ends(settings: Settings) -> int:
    """Readings of the factories and messages of the city that are in Kafka."""
    total = 0
    for contract in (READINGS, *MESSAGES):
        with closing(Lag(settings.kafka, "bench-idle", contract.topic)) as lag:
            total += lag.end()
    return total


def _await_flow(settings: Settings, rate: int) -> None:
    """Return when a second's worth has come. Raises BenchError where it does not."""
    first, deadline = _ends(settings), time.monotonic() + STALL_SECONDS
    while rate and _ends(settings) < first + rate:
        if time.monotonic() > deadline:
            raise BenchError(f"less than a second's worth of messages came in {STALL_SECONDS:.0f} s")
        time.sleep(1)


@contextmanager
def _load(settings: Settings, readings: int, messages: int) -> Iterator[None]:
    """Factories and a city that send so much a second until the block ends."""
    if not readings:
        yield
        return
    headrace = str(Path(sys.executable).with_name("headrace"))
    factory = [headrace, "simulate", "factory", "--devices", str(-(-readings // SENSORS)), "--rate", str(readings)]
    devices = str(int(messages * CITY_SECONDS))
    city = [headrace, "simulate", "city", "--devices", devices, "--rate", str(messages), "--protocols", "mqtt"]
    with ExitStack() as held:
        for name, command in (("factory", factory), ("city", city)):
            env = settings.environment(**marks(settings.data, f"bench-{name}"))
            held.enter_context(running(command, env=env, cwd=BENCH.parent, log=WORK / "logs" / f"simulate-{name}.log"))
        yield


def main() -> None:
    """Run, keep the figures, print them as a table and as one line."""
    parser = ArgumentParser(prog="python -m bench.idle", description=__doc__, allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long each rate is measured")
    seconds = parser.parse_args().seconds
    shutil.rmtree(WORK / "idle", ignore_errors=True)
    with local_stack(WORK / "idle", "kafka", "registry", "mqtt") as stack:
        rows = measure(stack.settings, seconds)
    report.keep("idle", {"seconds": seconds, "cores": psutil.cpu_count(), "rows": rows})
    print(shares(rows))


if __name__ == "__main__":
    main()
