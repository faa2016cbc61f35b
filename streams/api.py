"""Questions over HTTP: what may be asked is a model, so wrong questions get a clear 400, and `/openapi.json` describes them all."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, NamedTuple, cast

import orjson
from aiohttp import web
from faust.web.drivers.aiohttp import Web
from pydantic import BaseModel, ConfigDict, ValidationError

from streams.assembly import App
from streams.clickhouse import ClickHouseAway

DESCRIPTION: Final = "/openapi.json"


class Nothing(BaseModel):
    """A question that takes nothing."""

    model_config = ConfigDict(extra="forbid")


class Question(NamedTuple):
    """A path, what it takes in its query string, what it is for, and what answers it (in a thread)."""

    path: str
    model: type[BaseModel]
    summary: str
    answer: Callable[[Any], dict[str, Any]]


def mount(app: App, *questions: Question) -> None:
    """Have a worker answer them, and describe itself."""
    routes = cast(Web, app.web).web_app.router
    for question in questions:
        routes.add_get(question.path, _handler(question))
    description = _describe(app.conf.id, questions)
    routes.add_get(DESCRIPTION, _constant(description))


def _handler(question: Question) -> Callable[[web.Request], Any]:
    async def handle(request: web.Request) -> web.Response:
        try:
            asked = question.model.model_validate(dict(request.query))
        except ValidationError as error:
            problems = [{"field": ".".join(map(str, found["loc"])), "problem": found["msg"]} for found in error.errors()]
            return _json({"error": f"see {DESCRIPTION}", "problems": problems}, HTTPStatus.BAD_REQUEST)
        try:
            return _json(await asyncio.to_thread(question.answer, asked))
        except ClickHouseAway as away:
            return _json({"error": str(away)}, HTTPStatus.SERVICE_UNAVAILABLE)

    return handle


def _constant(body: dict[str, Any]) -> Callable[[web.Request], Any]:
    async def handle(_: web.Request) -> web.Response:
        return _json(body)

    return handle


def _json(body: Any, status: HTTPStatus = HTTPStatus.OK) -> web.Response:  # noqa: ANN401
    return web.Response(body=orjson.dumps(body, option=orjson.OPT_UTC_Z), status=status, content_type="application/json")


def _describe(name: str, questions: tuple[Question, ...]) -> dict[str, Any]:
    paths = {}
    for question in questions:
        schema = question.model.model_json_schema()
        parameters = [
            {
                "name": field,
                "in": "query",
                "required": field in schema.get("required", ()),
                "description": about.get("description", ""),
                "schema": {key: value for key, value in about.items() if key != "description"},
            }
            for field, about in schema.get("properties", {}).items()
        ]
        answers = {
            "200": {"description": "The answer.", "content": {"application/json": {}}},
            "400": {"description": "The question is wrong: which field, and why."},
            "503": {"description": "ClickHouse does not answer."},
        }
        paths[question.path] = {"get": {"summary": question.summary, "parameters": parameters, "responses": answers}}
    return {"openapi": "3.1.0", "info": {"title": f"Headrace, {name} worker", "version": "1"}, "paths": paths}
