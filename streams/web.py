"""What a worker answers over HTTP: `/live` and `/ready` for its supervisor, `/metrics` for Prometheus.

`/live` answers as long as the event loop does: restart a worker that does not. `/ready` says whether it does its work, and what it
depends on: leave a worker alone that is not, its dependency has to come back.
"""

import math
import time
from collections.abc import Callable
from functools import partial
from hmac import compare_digest
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from faust.web.base import BlueprintManager
from faust.web.drivers.aiohttp import Web
from prometheus_client.aiohttp import make_aiohttp_handler

from streams.lag import consumption, recovery_of, waiting
from streams.openapi import home
from streams.settings import settings
from streams.worker.browsers import refusal
from streams.worker.connections import Listening, speaks
from streams.worker.loopback import is_loopback

if TYPE_CHECKING:
    from streams.assembly import App

# Two rounds of the question the watchdog asks.
SILENT_SECONDS: Final = 15.0
# A fifth of what the watchdog bears.
STALLED_SECONDS: Final = 60.0
_TENANT: Final = web.RequestKey("tenant", str)
_FOR_TENANTS: Final = ("/api", "/openapi.json", "/live")
"""What paths begin with that tenants may ask for."""


class State(NamedTuple):
    """A dependency's or a part's state; `detail` is for people, and fit for JSON."""

    ok: bool
    detail: Any


Check = Callable[[], State]


def mount(app: "App") -> None:
    """Give the app its pages, its own checks first; others add theirs to `App.checks`."""
    server = cast(Web, app.web)
    # Faust's own show every table to whoever asks, and at "/" say OK whatever happens.
    server.blueprints = BlueprintManager()
    server.web_app.middlewares.append(guard(app))
    server._create_site = lambda: web.SockSite(server._runner, Listening.at(app.conf.web_bind, app.conf.web_port))  # type: ignore[method-assign]  # noqa: SLF001
    routes = server.web_app.router
    for path, answer in (("/", _home), ("/live", _live), ("/ready", _ready)):
        routes.add_get(path, partial(answer, app))
    routes.add_get("/metrics", make_aiohttp_handler(app.metrics.registry))
    app.checks |= {check.__name__: partial(check, app) for check in (kafka, delivery, assignment, recovery, lag, schemas)}


def guard(app: "App") -> Middleware:
    """A token that is set is asked for, wherever a worker listens; `/live` says nothing, and is asked by supervisors that have none.

    Who comes with a tenant's token asks for that tenant: see `asks_for`. Without any token set a worker is for its machine alone, and
    for no page of another site that somebody opens there.
    """
    of_tenants = [pair.partition("=") for pair in settings().tenant_tokens.get_secret_value().split(",") if pair]

    @web.middleware
    async def asks_for_token(request: web.Request, handler: Handler) -> web.StreamResponse:
        speaks(request.transport)
        token = settings().web_token.get_secret_value()
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        for tenant, _, own in of_tenants:
            if compare_digest(given, f"Bearer {own}".encode()):
                request[_TENANT] = tenant
                if not request.path.startswith(_FOR_TENANTS):
                    return web.json_response({"error": f"a tenant's token is for {_FOR_TENANTS[0]} alone"}, status=HTTPStatus.FORBIDDEN)
                return await handler(request)
        if request.path == "/live" or (token and compare_digest(given, f"Bearer {token}".encode())):
            return await handler(request)
        # Faust's own --web-bind may have changed what the settings say.
        if token or of_tenants or not is_loopback(app.conf.web_bind):
            body = {"error": "a token is needed: Authorization: Bearer <HEADRACE_WEB_TOKEN>"}
            return web.json_response(body, status=HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})
        if foreign := refusal(request, local=True):
            return web.json_response({"error": foreign}, status=HTTPStatus.FORBIDDEN)
        return await handler(request)

    return asks_for_token


def asks_for(request: web.Request) -> str:
    """The tenant whose token a request came with; empty: it may ask for all."""
    return cast(str, request.get(_TENANT, ""))


async def _home(app: "App", request: web.Request) -> web.Response:
    """Links to all that can be asked for by its address alone."""
    found = {route.resource.canonical for route in request.app.router.routes() if route.method == "GET" and route.resource}
    return web.Response(text=home(f"Headrace, {app.conf.id} worker", sorted(found - {"/"})), content_type="text/html")


async def _live(app: "App", _: web.Request) -> web.Response:
    watchdog = app.watchdog
    body = {"live": watchdog.alive, "loop_delay_seconds": watchdog.loop_delay_seconds, "stalled_seconds": dict(watchdog.stalled)}
    return web.json_response(body, status=HTTPStatus.OK if watchdog.alive else HTTPStatus.SERVICE_UNAVAILABLE)


async def _ready(app: "App", _: web.Request) -> web.Response:
    states = {name: check() for name, check in app.checks.items()}
    ready = all(state.ok for state in states.values())
    body = {"ready": ready, "checks": {name: state._asdict() for name, state in states.items()}}
    return web.json_response(body, status=HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)


def kafka(app: "App") -> State:
    """Whether Kafka answered lately."""
    silent = time.monotonic() - app.watchdog.log_ends.answered_at
    return State(silent < SILENT_SECONDS, {"silent_seconds": round(silent, 1) if math.isfinite(silent) else None})


def delivery(app: "App") -> State:
    """Whether Kafka takes what is sent: it may answer and take nothing, with too few replicas in sync for instance."""
    silent, failed = app.bulk.silent_seconds, app.bulk.failures
    found = {"outstanding_records": app.bulk.outstanding, "silent_seconds": round(silent, 1), "failed_records": failed}
    return State(silent < SILENT_SECONDS and not failed, found)


def assignment(app: "App") -> State:
    """Whether the group gave this worker its partitions; none is an answer too, with more workers than partitions."""
    if app.producer_only:
        return State(True, "reads nothing from Kafka")
    partitions = [f"{tp.topic}/{tp.partition}" for tp in sorted(app.assignor.assigned_actives())]
    return State(app.rebalancing_count > 0 and not app.rebalancing, {"partitions": partitions, "rebalancing": app.rebalancing})


def recovery(app: "App") -> State:
    """Whether the state is as the changelogs have it."""
    if app.producer_only:
        return State(True, "keeps no state")
    return State(app.tables.actives_ready, {"remaining_records": recovery_of(app).active_remaining_total()})


def lag(app: "App") -> State:
    """Whether what is behind gets on: how far it is behind is no reason to send it nothing, a committed offset that stands is."""
    rows = {f"{row.tp.topic}/{row.tp.partition}": row.lag for row in consumption(app, app.watchdog.log_ends.ends)}
    stalled = {name: round(seconds) for name, seconds in {**app.watchdog.stalled, **app.watchdog.standing}.items()}
    return State(all(seconds < STALLED_SECONDS for seconds in stalled.values()), {"records": rows, "stalled_seconds": stalled})


def schemas(app: "App") -> State:
    """Whether every schema met is known; with what is cached a worker goes on without the registry."""
    waits = {f"{tp.topic}/{tp.partition}": what for tp, what in waiting(app).items()}
    return State(not waits, {"known": len(app.writers.known), "waiting": waits})
