"""What workers say of themselves on /ready and /live while what they depend on dies and comes back, and whether it was true."""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass

import httpx
from confluent_kafka import KafkaException

from streams.watchdog import Limits
from streams.web import SILENT_SECONDS, STALLED_SECONDS

# Two pages a second and worker cost nothing, and an outage of a second is seen.
POLL_SECONDS = 0.4
# What a loaded machine may add to any of the times below.
SLACK_SECONDS = 10
NOTICED_SECONDS = {"kafka": SILENT_SECONDS + SLACK_SECONDS, "mqtt": SLACK_SECONDS}
"""Dependency, which is also the name of its check → how long after its death a worker may still say ready."""
DEPENDENTS = {"kafka": ("factory", "warehouse", "gateway"), "mqtt": ("gateway",)}
READY_SECONDS = 180
"""How long after all it depends on is there a worker may take to be ready: start, session, state."""
STUCK_SECONDS = STALLED_SECONDS + Limits().tick_seconds + SLACK_SECONDS
"""A worker whose group got no further for so long, with records to read, must not say ready."""


@dataclass(frozen=True)
class Said:
    """One look at a worker; times on the monotonic clock. None where it does not answer."""

    at: float
    worker: str
    process: int
    live: bool | None
    ready: bool | None
    failing: frozenset[str]


class Probe(threading.Thread):
    """Asks all workers all the time, and how far their groups are."""

    def __init__(self, workers, groups):
        """`workers`: services by name; `groups`: `line.Topics` by worker, this thread's own."""
        super().__init__(daemon=True)
        self.workers, self.groups = workers, groups
        self.said: list[Said] = []
        self.behind: dict[str, list[tuple[float, int, int]]] = {name: [] for name in groups}
        """When, records committed, records to go."""
        self._over = threading.Event()

    def run(self):
        with httpx.Client(timeout=5) as client:
            while not self._over.wait(POLL_SECONDS):
                for name, worker in self.workers.items():
                    if worker.running:
                        self.said.append(self._ask(client, name, worker))
                for name, topics in self.groups.items():
                    with suppress(KafkaException):
                        committed, end = sum(topics.committed().values()), sum(topics.ends().values())
                        self.behind[name].append((time.monotonic(), committed, end - committed))

    def stop(self):
        self._over.set()
        self.join()

    def _ask(self, client, name, worker):
        at, process = time.monotonic(), worker.process.pid
        live = ready = None
        failing = frozenset()
        with suppress(httpx.HTTPError):
            live = client.get(worker.url("/live")).is_success
            answer = client.get(worker.url("/ready"))
            ready = answer.is_success
            failing = frozenset(check for check, state in answer.json()["checks"].items() if not state["ok"])
        return Said(at, name, process, live, ready, failing)


def lies(probe, outages, started):
    """What was not true, in words.

    `outages`: by service, when it was killed and when it answered again; `started`: by worker, when its processes were.
    """
    return [
        *_unnoticed(probe.said, outages),
        *_dead(probe.said),
        *_never_ready_again(probe.said, outages, started),
        *_stuck(probe.said, probe.behind),
    ]


def _unnoticed(said, outages):
    """Workers that said ready, or named another reason, long after a dependency had died."""
    for dependency, workers in DEPENDENTS.items():
        for killed, back in outages[dependency]:
            for one in said:
                due = one.worker in workers and killed + NOTICED_SECONDS[dependency] < one.at < back
                if due and one.ready is not None and dependency not in one.failing:
                    yield f"{one.worker} named {set(one.failing)} {one.at - killed:.0f} s after {dependency} had died"


def _dead(said):
    """Workers that answered once and then said they are not live, or nothing for as long as their watchdog bears."""
    answered: dict[int, float] = {}
    for one in said:
        if one.live is False:
            yield f"{one.worker} said it is not live"
        elif one.live:
            answered[one.process] = one.at
        elif one.at - answered.get(one.process, one.at) > Limits().blocked_seconds:
            yield f"{one.worker} has not answered for {one.at - answered[one.process]:.0f} s"


def _never_ready_again(said, outages, started):
    """Workers that were not ready although nothing had been away for long."""
    for worker, starts in started.items():
        ups = sorted([*starts, *(back for spans in (outages[name] for name in outages if name not in started) for _, back in spans)])
        downs = sorted(killed for spans in outages.values() for killed, _ in spans)
        for up in ups:
            until = up + READY_SECONDS + SLACK_SECONDS
            if any(up < other <= until for other in [*ups, *downs]):
                continue
            of_worker = [one for one in said if one.worker == worker and up < one.at <= until]
            if of_worker and of_worker[-1].at > until - SLACK_SECONDS and not any(one.ready for one in of_worker):
                yield f"{worker} was not ready {READY_SECONDS} s after everything was there: {set(of_worker[-1].failing)}"


def _stuck(said, behind):
    """Workers that said ready while their group stood still before records to read."""
    for worker, looks in behind.items():
        since, where = 0.0, -1
        for at, committed, lag in looks:
            if committed != where or lag == 0:
                since, where = at, committed
            elif at - since > STUCK_SECONDS:
                pretending = [one for one in said if one.worker == worker and since + STUCK_SECONDS < one.at <= at and one.ready]
                if pretending:
                    yield f"{worker} said ready with {lag} records to read and no progress for {at - since:.0f} s"
                    break
