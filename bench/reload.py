"""`python -m bench.reload`: how long after a rule was applied it is in force in both of two workers that are judging readings."""

import asyncio
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx
from rich.console import Console
from rich.progress import track

from agents.factory.domain import FACTORY
from agents.rulebook import Row
from agents.rules import Severity
from bench import report
from bench.jobs import BENCH, OURS, fresh
from bench.measure import BenchError, running
from bench.stack import local_stack
from deploy.embedded.processes import marks
from schemas.catalog import RULES
from streams.operators import apply
from streams.settings import Settings

WORK: Final = BENCH / "work"
APPLIES: Final = 20
WORKERS: Final = 2
READINGS_PER_SECOND: Final = 5_000
# What is looked at is looked at so often; it is part of what is measured.
LOOK_SECONDS: Final = 0.002
PATIENCE_SECONDS: Final = 90
HEADRACE: Final = str(Path(sys.executable).with_name("headrace"))
NAME: Final = "reloaded"


def rule(number: int) -> Row:
    """A version of the rule; it raises nothing."""
    conditions = {"raises": f"value > {100_000 + number}", "clears": "value < 0", "threshold": "1"}
    return Row(name=NAME, severity=Severity.INFO, message=NAME, **conditions)


def seen(urls: list[str], number: int) -> float:
    """When the last of the workers told that it judges by this version."""
    deadline, waiting = time.monotonic() + PATIENCE_SECONDS, list(urls)
    while waiting:
        rules = {found["name"]: found for found in httpx.get(waiting[0], timeout=5).json()["rules"]}
        if rules.get(NAME, {}).get("raises") == rule(number).raises:
            waiting.pop(0)
        elif time.monotonic() > deadline:
            raise BenchError(f"{waiting[0]} does not show version {number}")
        else:
            time.sleep(LOOK_SECONDS)
    return time.perf_counter()


@contextmanager
def workers(settings: Settings) -> Iterator[list[str]]:
    """Where two workers show their rules, once both have partitions."""
    urls = []
    with ExitStack() as started:
        for number in range(WORKERS):
            folder = WORK / f"reload-{number}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            command = OURS.command(settings, folder)
            started.enter_context(running(command, env=OURS.environment(settings, folder), cwd=BENCH.parent, log=folder / "log"))
            urls.append(f"http://127.0.0.1:{command[-1]}")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not all(map(_is_at_work, urls)):
            if time.monotonic() > deadline:
                raise BenchError(f"the workers do not start; logs: {WORK}/reload-*/log")
            time.sleep(0.2)
        yield [f"{url}/rules" for url in urls]


def _is_at_work(url: str) -> bool:
    try:
        checks = httpx.get(f"{url}/ready", timeout=2).json()["checks"]
    except httpx.TransportError:
        return False
    return bool(checks["assignment"]["ok"] and checks["assignment"]["detail"]["partitions"])


def measure(settings: Settings) -> dict[str, Any]:
    """Milliseconds from when Kafka had a rule to when the slower worker tells that it judges by it."""
    fresh(settings, OURS, keep_readings=False)
    simulate = [HEADRACE, "simulate", "factory", "--to", "kafka", "--devices", "500", "--rate", str(READINGS_PER_SECOND)]
    load = running(simulate, env=settings.environment(**marks(settings.data, "bench-load")), cwd=BENCH.parent, log=WORK / "reload-load.log")
    with workers(settings) as urls, load:
        took = []
        for number in track(range(APPLIES), "applying rules", console=Console(stderr=True)):
            asyncio.run(apply(settings, RULES, FACTORY.name, [rule(number)]))
            applied_at = time.perf_counter()
            took.append((seen(urls, number) - applied_at) * 1000)
    return {"applies": APPLIES, "workers": WORKERS, "rate": READINGS_PER_SECOND, "median_ms": median(took), "max_ms": max(took)}


def main() -> None:
    """Run, keep the figures, and write them into `bench/RESULTS.md`."""
    with local_stack(WORK / "stack", "kafka", "registry") as stack:
        found = measure(stack.settings)
    report.keep("reload", found)
    print(f"a rule is in force in {WORKERS} workers after: median {found['median_ms']:.0f} ms, max {found['max_ms']:.0f} ms")


if __name__ == "__main__":
    main()
