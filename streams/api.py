"""Questions over HTTP: what may be asked is a model, so wrong questions get a clear 400, and `/openapi.json` describes them all.

A question may be for another worker of the group: whichever is asked, it answers.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, NamedTuple, cast

import orjson
from aiohttp import web
from faust.web.drivers.aiohttp import Web
from pydantic import BaseModel, ConfigDict, ValidationError

from streams.assembly import App
from streams.clickhouse import ClickHouseAway, TooMuch
from streams.openapi import page
from streams.peers import RETRY_SECONDS, ByAll, ByKey, NoAnswer, forward, forward_to_others, is_from_peer, owner

DESCRIPTION: Final = "/openapi.json"
PAGE: Final = "/api"


class Unknown(Exception):
    """What is asked for is not there."""


class Nothing(BaseModel):
    """A question that takes nothing."""

    model_config = ConfigDict(extra="forbid")


class Question(NamedTuple):
    """A path, what it takes there and in its query string, what it is for, and what answers it (in a thread)."""

    path: str
    """`{name}` stands for a field of the model."""
    model: type[BaseModel]
    summary: str
    answer: Callable[[Any], dict[str, Any]]
    """May raise `Unknown`, `NoAnswer` and `ClickHouseAway`."""
    whose: ByKey | ByAll | None = None
    """Which workers of the group have the answer, if not every one."""


def mount(app: App, *questions: Question) -> None:
    """Have a worker answer them, and describe itself."""
    routes = cast(Web, app.web).web_app.router
    for question in questions:
        routes.add_get(question.path, _handler(app, question))
    description = _describe(app.conf.id, questions)
    routes.add_get(DESCRIPTION, _constant(description))
    routes.add_get(PAGE, _page(page(description)))


def _handler(app: App, question: Question) -> Callable[[web.Request], Any]:
    async def handle(request: web.Request) -> web.Response:
        try:
            asked = question.model.model_validate({**request.query, **request.match_info})
        except ValidationError as error:
            found = (problem for problem in error.errors() if problem["type"] != "default_factory_not_called")  # for another's sake
            problems = [{"field": ".".join(map(str, problem["loc"])), "problem": problem["msg"]} for problem in found]
            return _json({"error": f"see {DESCRIPTION}", "problems": problems}, HTTPStatus.BAD_REQUEST)
        try:
            return await _answer(app, question, request, asked)
        except TooMuch as much:
            return _json({"error": str(much)}, HTTPStatus.BAD_REQUEST)
        except Unknown as unknown:
            return _json({"error": str(unknown)}, HTTPStatus.NOT_FOUND)
        except (ClickHouseAway, NoAnswer) as away:
            return _json({"error": f"{away}; ask again"}, HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": str(RETRY_SECONDS)})

    return handle


async def _answer(app: App, question: Question, request: web.Request, asked: BaseModel) -> web.Response:
    whose = question.whose
    if isinstance(whose, ByKey) and (address := owner(app, whose.contract, whose.key(asked))):
        return await forward(app, request, address)
    answer = await asyncio.to_thread(question.answer, asked)
    if isinstance(whose, ByAll) and not is_from_peer(request):
        answer = whose.merge(asked, [answer, *await forward_to_others(app, request, whose.contract)])
    return _json(answer)


def _constant(body: dict[str, Any]) -> Callable[[web.Request], Any]:
    async def handle(_: web.Request) -> web.Response:
        return _json(body)

    return handle


def _page(text: str) -> Callable[[web.Request], Any]:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/html")

    return handle


def _json(body: Any, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None) -> web.Response:  # noqa: ANN401
    text = orjson.dumps(body, option=orjson.OPT_UTC_Z)
    return web.Response(body=text, status=status, content_type="application/json", headers=headers)


def _describe(name: str, questions: tuple[Question, ...]) -> dict[str, Any]:
    paths = {}
    for question in questions:
        schema = question.model.model_json_schema()
        parameters = [
            {
                "name": field,
                "in": "path" if f"{{{field}}}" in question.path else "query",
                "required": field in schema.get("required", ()),
                "description": about.get("description", ""),
                "schema": {key: value for key, value in about.items() if key != "description"},
            }
            for field, about in schema.get("properties", {}).items()
        ]
        answers = {
            "200": {"description": "The answer.", "content": {"application/json": {}}},
            "400": {"description": "The question is wrong: which field, and why."},
            "503": {"description": "What would know does not answer now: `error` says what. Ask again after `Retry-After` seconds."},
        }
        if "{" in question.path:
            answers["404"] = {"description": "There is nothing of this name."}
        paths[question.path] = {"get": {"summary": question.summary, "parameters": parameters, "responses": answers}}
    return {"openapi": "3.1.0", "info": {"title": f"Headrace, {name} worker", "version": "1"}, "paths": paths}
