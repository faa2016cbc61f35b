"""The gateway's devices: it follows what is known of them, and reports what it sees of them."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from itertools import islice
from typing import Any, Final

import polars as pl
from mode import Service

from agents.gateway.fleet import GATEWAY_MS, Fleet
from agents.gateway.place import Place
from agents.gateway.presence import Status
from agents.gateway.terms import Terms
from schemas.catalog import DEVICES, PRESENCE, Contract
from schemas.rejects import Reject
from streams.assembly import App
from streams.clock import now_ms
from streams.exposition import Sample
from streams.following import Following
from streams.settings import settings

logger = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 1.0
# A look takes 1 µs and a report 10 µs: a message waits for 5 ms at most, and looking takes 2 % of a core however many devices there are;
# all of a hundred thousand are looked at in five seconds, and their reports take 2 % more.
SLICE: Final = 500
SLICES_A_SECOND: Final = 40


def fleet(node: str) -> Fleet:
    """That of a gateway, on the terms of the settings."""
    return Fleet(node, Terms.of(settings().unknown_devices, settings().silence_seconds))


class Reporting(Service):
    """Every gateway holds all devices and needs no other: what it knows is in the two topics, and what came here since."""

    def __init__(self, app: App, place: Place, hears: Callable[[], Set[str]]) -> None:
        """Run with `app`, before it takes anything. `hears`: the protocols over which devices reach this gateway now."""
        super().__init__()
        self.app, self.fleet = app, place.fleet
        self.unfit = 0
        self.news = asyncio.Event()
        """Set when devices were registered; then there is another."""
        self._place, self._hears = place, hears
        self._counts: Counter[tuple[str, str]] = Counter()
        self._repeating: Counter[str] = Counter()
        self._said_at = 0
        Following(app, DEVICES, self._register)
        Following(app, PRESENCE, self._hear)
        app.writes += [DEVICES, PRESENCE]
        app.services.append(self)
        app.metrics.sources.append(self._samples)

    async def send(self, contract: Contract, rows: Sequence[dict[str, Any]]) -> None:
        """Queue records of one of the topics."""
        await self.app.send_frame(contract, pl.DataFrame(rows, schema=contract.codec.columns))

    async def on_start(self) -> None:
        """Both topics are read to where they were."""
        self.fleet.started = True

    async def on_stop(self) -> None:
        """Say so, or the others would have to find out."""
        now = now_ms()
        await self.send(PRESENCE, [*self.fleet.due([*self.fleet.devices.values()], now), self.fleet.listen(set(), now)])

    def _register(self, records: pl.DataFrame, rejects: Sequence[Reject]) -> None:
        problems = [f"{reject.reason}: {reject.detail}" for reject in rejects]
        problems += self.fleet.register(records.iter_rows(named=True))
        self._complain(problems)
        if self.fleet.outdated:
            self.fleet.outdated = False
            self._place.adopt(self._place.routes)
        self.news.set()
        self.news = asyncio.Event()

    def _hear(self, records: pl.DataFrame, rejects: Sequence[Reject]) -> None:
        self._complain([f"{reject.reason}: {reject.detail}" for reject in rejects])
        self.fleet.hear(records.iter_rows(named=True))

    def _complain(self, problems: Sequence[str]) -> None:
        self.unfit += len(problems)
        for problem in problems:
            logger.error("device_unfit %s", problem)

    @Service.timer(1.0)
    async def _listen(self) -> None:
        now = now_ms()
        ours = self.fleet.listen(self._hears(), now)
        if now - self._said_at >= GATEWAY_MS // 3:
            self._said_at = now
            await self.send(PRESENCE, [ours])

    @Service.task
    async def _report(self) -> None:
        while not self.should_stop:
            await self._sweep()

    async def _sweep(self) -> None:
        """Look at every device once, and report what the topic does not know."""
        counts, repeating = Counter[tuple[str, str]](), Counter[str]()
        everything = iter([*self.fleet.devices.values()])
        left = SLICES_A_SECOND
        while some := [*islice(everything, SLICE)]:
            now = now_ms()
            if rows := self.fleet.due(some, now):
                await self.send(PRESENCE, rows)
            counts.update((each.tenant, each.status) for each in some if each.barred is None)
            repeating.update(each.tenant for each in some if each.repeats_only)
            left -= 1
            await self.sleep(SWEEP_SECONDS / SLICES_A_SECOND)
        self._counts, self._repeating = counts, repeating
        await self.sleep(max(0, left) * SWEEP_SECONDS / SLICES_A_SECOND)

    def _samples(self) -> Iterator[Sample]:
        none = {(settings().tenant, str(status)): 0 for status in Status}
        for labels, devices in (none | self._counts).items():
            yield Sample("headrace_devices", labels, devices)
        for tenant, devices in ({settings().tenant: 0} | self._repeating).items():
            yield Sample("headrace_repeating_devices", (tenant,), devices)
        yield Sample("headrace_unfit_devices_total", (), self.unfit)
