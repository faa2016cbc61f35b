"""Operators' sensor types in a running worker, whichever domains' readings it judges."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import polars as pl
from aiohttp import web
from faust.web.drivers.aiohttp import Web

from agents.limits import Limits, refused
from agents.reading import Domain
from schemas.catalog import SENSORS
from schemas.rejects import Reject
from streams.assembly import App
from streams.exposition import Sample
from streams.following import Following

logger = logging.getLogger(__name__)


class SensorTypes:
    """Gives domains the sensor types of the topic. What does not fit is logged and counted, and what was before it stays."""

    def __init__(self, app: App, domains: Iterable[Domain], adopt: Callable[[Domain], None]) -> None:
        """Run with `app`, before it reads anything else. `adopt` is called with each of the domains at every change."""
        self._domains = {domain.name: domain for domain in domains}
        self._adopt = adopt
        self._applied: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self.refused = 0
        Following(app, SENSORS, self._take)
        app.metrics.sources.append(self._samples)
        cast(Web, app.web).web_app.router.add_get("/sensors", self.page)

    def limits(self, domain: str) -> Limits:
        """Those of a domain that has any, as of now."""
        return cast(Limits, self._domains[domain].limits)

    def _take(self, records: pl.DataFrame, rejects: Sequence[Reject]) -> None:
        for reject in rejects:
            self._refuse("", f"{reject.reason}: {reject.detail}")
        for record in records.iter_rows(named=True):
            if problem := refused(record):
                self._refuse(record["name"], problem)
            else:
                self._applied[record["domain"]].append(record)
                logger.info("sensor_applied name=%s retired=%s by=%s", record["name"], record["retired"], record["applied_by"])
        for name, domain in self._domains.items():
            if domain.limits:
                self._domains[name] = replace(domain, limits=Limits(domain.limits.sensors, self._applied[name]))
                self._adopt(self._domains[name])

    def _refuse(self, name: str, problem: str) -> None:
        self.refused += 1
        logger.error("sensor_refused name=%s: %s", name, problem)

    def _samples(self) -> Iterator[Sample]:
        yield Sample("headrace_refused_sensors_total", (), self.refused)

    async def page(self, _: web.Request) -> web.Response:
        """Sensor types by domain, those of the code and those applied."""
        types = {name: domain.limits.rows for name, domain in self._domains.items() if domain.limits}
        return web.json_response({"domains": types, "refused": self.refused})
