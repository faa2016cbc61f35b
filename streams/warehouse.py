"""`faust -A streams.warehouse worker`: every topic into its ClickHouse table; `/warehouse/counts` tells what is there."""

import asyncio
from http import HTTPStatus
from typing import cast

from aiohttp import web
from faust.web.drivers.aiohttp import Web

from agents.factory.domain import FACTORY
from schemas.catalog import ALERTS, DEAD_LETTERS, LATE, READINGS, RULES, WINDOWS
from streams.assembly import App, NotReady
from streams.clickhouse import CannotOpen, ClickHouse, ClickHouseAway
from streams.settings import settings
from streams.sinking import Sinking
from streams.web import State

app = App("warehouse", web_port=6067, reads=[READINGS, WINDOWS, ALERTS, DEAD_LETTERS, LATE, RULES], writes=[])

clickhouse = ClickHouse(settings().clickhouse, settings().data / "clickhouse")

sinks = [Sinking(app, clickhouse, READINGS, FACTORY.prepare), *(Sinking(app, clickhouse, contract) for contract in app.reads[1:])]


async def counts(_: web.Request) -> web.Response:
    """Rows by table, and each sink's ledger since the start. The embedded engine answers only its own process, so this worker does."""
    try:
        rows = await asyncio.to_thread(clickhouse.counts)
    except ClickHouseAway as away:
        return web.json_response({"error": str(away)}, status=HTTPStatus.SERVICE_UNAVAILABLE)
    return web.json_response({"rows": rows, "ledger": {sink.contract.topic: sink.counts for sink in sinks}})


def reachable() -> State:
    """Whether ClickHouse takes what is to be stored."""
    return State(not any("clickhouse" in sink.away for sink in sinks), {"at": clickhouse.place})


def _open(*_: object, **__: object) -> None:
    try:
        clickhouse.open()
    except CannotOpen as problem:
        raise NotReady(str(problem)) from problem
    except ClickHouseAway as away:
        app.log.warning("clickhouse_awaited: %s", away)


cast(Web, app.web).web_app.router.add_get("/warehouse/counts", counts)
app.checks["clickhouse"] = reachable
app.on_worker_init.connect(_open)
