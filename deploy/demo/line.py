"""The demo's line while it runs: shown, then without devices, then until what they sent has gone all the way."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Final

import polars as pl
from rich.console import Console
from rich.live import Live

from deploy.demo.feed import Feed
from deploy.demo.figures import Figures, Reader
from deploy.demo.pace import Moment, Pace
from deploy.demo.screen import Screen, line
from deploy.demo.simulators import CitySimulator, FactorySimulator, Simulator
from deploy.demo.verdict import unaccounted, unaccounted_in_city
from deploy.demo.workers import Worker
from deploy.embedded.errors import StackError
from deploy.patience import Patience
from schemas.catalog import CITY_WINDOWS, WINDOWS
from streams.clock import now_ms

REFRESH_SECONDS: Final = 1.0
LINE_SECONDS: Final = 10.0
MOST_SECONDS_MORE: Final = 180.0
"""By the devices' clock, until windows have closed and alerts were raised: thrice a window of a minute."""
STILL_SECONDS: Final = 180.0
"""Nothing moves for so long: what is not there then does not come."""

Say = Callable[[str], None]


@dataclass
class Line:
    """Workers and simulators on a stack that runs."""

    workers: Sequence[Worker]
    factory: FactorySimulator
    city: CitySimulator
    reader: Reader
    feed: Feed
    say: Say
    begin: Figures = field(init=False)
    started_ms: int = field(default_factory=now_ms)
    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        self.begin = self.reader.read()
        self._began = time.monotonic()

    @property
    def simulators(self) -> Sequence[Simulator]:
        """Both."""
        return self.factory, self.city

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    def show(self, seconds: float | None, console: Console) -> None:
        """Figures, until the time is over, windows have closed and alerts were raised; for ever without one."""
        screen = Screen(self.begin, {worker.name: worker.port for worker in self.workers})
        before, next_line, behind = self.begin, LINE_SECONDS, ""
        patience = Patience(STILL_SECONDS)
        with Live(console=console, auto_refresh=False, screen=True) if console.is_terminal else nullcontext() as live:
            while True:
                self._step([*self.workers, *self.simulators])
                figures = self.reader.read()
                was_behind, behind = behind, self._behind(figures)
                if seconds is not None and self.seconds > seconds and self._is_over(seconds, figures, patience):
                    return
                if live is not None:
                    live.update(screen.render(figures, self.feed, self.seconds, behind, console.size), refresh=True)
                    continue
                if bool(behind) != bool(was_behind):
                    self.say(behind or "the machine keeps up again")
                if self.seconds > next_line:
                    next_line += LINE_SECONDS
                    self.say(line(figures, self.begin, before, self.feed) + self._waited_for(seconds, figures))
                    before = figures

    def silence(self) -> None:
        """No more is sent; return when what was is answered for."""
        self.say("the devices stop; waiting until what they sent is acknowledged")
        for simulator in self.simulators:
            simulator.end()
        next_line = self.seconds + LINE_SECONDS
        while waiting := [simulator for simulator in self.simulators if simulator.is_ending()]:
            self._step(self.workers)
            if self.seconds > next_line:
                next_line += LINE_SECONDS
                self.say(f"waiting {', and '.join(each.awaited for each in waiting)}")

    def settled(self, factory: pl.DataFrame, city: pl.DataFrame) -> tuple[Figures, Sequence[str]]:
        """Figures when everything sent has gone all the way, and what does not add up if that is not to be."""
        patience, next_line = Patience(STILL_SECONDS), self.seconds + LINE_SECONDS
        self.say("waiting until everything is in Kafka, watched and in ClickHouse")
        while True:
            self._step(self.workers)
            figures = self.reader.read()
            wrong = [*unaccounted(self.begin, figures, factory), *unaccounted_in_city(self.begin, figures, city)]
            if not wrong or not patience.lasts(figures.moving):
                return figures, wrong
            if self.seconds > next_line:
                next_line += LINE_SECONDS
                still = f"; nothing has moved for {patience.still:.0f} of {STILL_SECONDS:.0f} s" if patience.still > LINE_SECONDS else ""
                self.say(f"not yet: {'; '.join(wrong)}{still}")

    def _step(self, services: Sequence[Worker | Simulator]) -> None:
        self.feed.poll(REFRESH_SECONDS)
        for service in services:
            if not service.running:
                raise StackError(service.ended())

    def _behind(self, figures: Figures) -> str:
        # one that has not begun is starting
        clocks = [until for simulator in self.simulators if (until := simulator.status.sent_until_ms)]
        behind_ms = now_ms() - min(clocks) if clocks else 0
        return self.pace.look(Moment(figures.at, behind_ms / 1000, figures.waiting, figures.came))

    def _is_over(self, seconds: float, figures: Figures, patience: Patience) -> bool:
        statuses = tuple(simulator.status for simulator in self.simulators)
        simulated = (min(status.sent_until_ms for status in statuses) - self.started_ms) / 1000
        return not self._lacks(figures) or simulated > seconds + MOST_SECONDS_MORE or not patience.lasts(statuses)

    def _lacks(self, figures: Figures) -> Sequence[str]:
        windows = {"factory": WINDOWS.topic, "city": CITY_WINDOWS.topic}
        lacks = [f"a window of the {domain}" for domain, topic in windows.items() if figures.ends[topic] == self.begin.ends[topic]]
        return lacks + [f"an alert of the {domain}" for domain in windows if not self.feed.raised(domain)]

    def _waited_for(self, seconds: float | None, figures: Figures) -> str:
        if starting := [simulator.name for simulator in self.simulators if not simulator.status.sent]:
            return f"; waiting for the first message of {' and '.join(starting)}"
        over = self.seconds - (seconds or self.seconds)
        return f"; {over:.0f} s over the time, waiting for {', '.join(self._lacks(figures))}" if over > 0 else ""
