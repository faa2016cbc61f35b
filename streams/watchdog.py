"""Ends a worker that hangs: a dump of all stacks, then exit code 75 (EX_TEMPFAIL), for the supervisor to start it again.

Faust only logs that nothing moves. What counts as a hang, each for a bounded time: an event loop that does not answer; a partition
with records to read or to acknowledge whose committed offset stands; a recovery or a shutdown that gets no further. What does not,
as a restart would not help: Kafka away, a partition that waits for something else that is away (`App.waits`: the registry, the
warehouse), a process that was suspended. A broker that answers but takes no records looks like a hang; the restarts do no harm.
"""

import asyncio
import faulthandler
import logging
import os
import threading
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from faust.types import TP
from mode import Service

from streams.lag import TIMEOUT_SECONDS, LogEnds, consumption, recovery_of, waiting
from streams.settings import settings
from streams.stacks import STDERR, dump, end_after
from streams.stalls import Awake, Stalls
from streams.worker.kafka_away import KafkaAway

if TYPE_CHECKING:
    from streams.assembly import App

logger = logging.getLogger(__name__)

# How long writing the stacks may take: a full pipe or a lock that the hung thread holds must not keep the worker alive.
DUMP_SECONDS: Final = 10.0

SHUTDOWN: Final = "shutdown"
RECOVERY: Final = "recovery"


@dataclass(frozen=True)
class Limits:
    """When the watchdog looks, and what it bears."""

    tick_seconds: float = 5
    blocked_seconds: float = 60
    """Of the event loop. The longest thing it does, a checkpoint of 60,000 sensors, takes a second; the group's heartbeats come from
    another thread, so nobody else takes the partitions over while it is blocked."""
    stalled_seconds: float = 300
    """Of a partition, a recovery or a shutdown. Commits come every second, and a rebalance waits a minute for its members at most."""


class Watchdog(Service):
    """Watches a worker from a thread of its own, from before its consumer starts until all else has stopped."""

    def __init__(self, app: "App", limits: Limits | None = None) -> None:
        super().__init__()
        self.limits = limits or Limits()
        self.log_ends = LogEnds(settings().kafka)
        self._kafka = KafkaAway(settings().kafka)
        self.stalled: Mapping[str, float] = {}
        """Seconds without progress, by what is due; see `Stalls`."""
        self.standing: Mapping[str, float] = {}
        """Seconds for which a partition's committed offset has stood while records wait; a rebalance in between changes nothing."""
        self.loop_delay_seconds = 0.0
        """How long the event loop last took to answer."""
        self._app = app
        self._over = threading.Event()
        self._due: Mapping[str, Hashable] = {}
        self._answered = True

    @property
    def alive(self) -> bool:
        """Whether it watches."""
        return self._thread.is_alive()

    async def on_start(self) -> None:
        """Start watching."""
        self._watched = asyncio.get_running_loop()
        self.log_ends.connect(self._app.reads or self._app.writes)
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    async def on_stop(self) -> None:
        """Stop watching."""
        self._over.set()

    def _watch(self) -> None:
        limits, stalls, offsets = self.limits, Stalls(), Stalls()
        awake = Awake(2 * (limits.tick_seconds + TIMEOUT_SECONDS), time.monotonic())
        asked = 0.0
        while not self._over.wait(limits.tick_seconds):
            # For code that holds the interpreter lock and so stops this thread too.
            end_after(2 * limits.blocked_seconds)
            now = awake.step(time.monotonic())
            if self._answered:
                answer, asked, self._answered = self._due, now, False
                self._watched.call_soon_threadsafe(self._answer, time.monotonic())
                self._judge(answer, stalls, now)
                self.standing = offsets.observe(_offsets(answer), now)
            elif now - asked > limits.blocked_seconds:
                self._exit(f"the event loop has not answered for {now - asked:.0f} s")
        end_after(0)

    def _judge(self, due: Mapping[str, Hashable], stalls: Stalls, now: float) -> None:
        answered = self.log_ends.ask()
        self._kafka.note(answered, time.time())
        if not answered:
            due = {name: at for name, at in due.items() if name == SHUTDOWN}
        self.stalled = stalls.observe(due, now)
        for name, seconds in self.stalled.items():
            if seconds > self.limits.stalled_seconds:
                self._exit(f"{name} has got no further for {seconds:.0f} s; it is at {due[name]}")

    def _answer(self, asked: float) -> None:
        """Runs in the event loop, where the app's state may be read."""
        self._answered = True
        self.loop_delay_seconds = time.monotonic() - asked
        self._due = due(self._app, self.log_ends.ends)

    def _exit(self, reason: str) -> None:
        faulthandler.dump_traceback_later(DUMP_SECONDS, exit=True, file=STDERR)
        with open(STDERR, "w", encoding="utf-8", closefd=False) as stderr:
            print(f"watchdog: {reason}. All stacks follow, then exit code {os.EX_TEMPFAIL}.", file=stderr, flush=True)
            dump(self._watched, stderr)
        logger.critical("watchdog_exit reason=%r code=%d", reason, os.EX_TEMPFAIL)
        # Nothing is acknowledged, closed or flushed on the way out: whoever comes next goes on at the committed offsets.
        os._exit(os.EX_TEMPFAIL)


def _offsets(due: Mapping[str, Hashable]) -> Mapping[str, Hashable] | None:
    """What is due of partitions; None while they are recovered, as it is not known then."""
    return None if RECOVERY in due else {name: at for name, at in due.items() if name != SHUTDOWN}


def due(app: "App", ends: Mapping[TP, int]) -> dict[str, Hashable]:
    """What the worker has to get done now, and how far it is with each."""
    if app.should_stop:
        return {SHUTDOWN: None}
    if app.producer_only:
        return {}
    if not app.tables.actives_ready:
        return {RECOVERY: (app.rebalancing_count, sum(offset or 0 for offset in recovery_of(app).active_offsets.values()))}
    away = waiting(app)
    partitions = (row for row in consumption(app, ends) if not row.drained and row.tp not in away)
    return {f"{row.tp.topic}/{row.tp.partition}": row.committed for row in partitions}
