"""Questions over HTTP: what may be asked is a model, so wrong questions get a clear 400, and `/openapi.json` describes them all.

A question may be for another worker of the group: whichever is asked, it answers.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from inspect import iscoroutinefunction
from typing import Any, Final, Literal, NamedTuple, cast

import orjson
from aiohttp import web
from faust.web.drivers.aiohttp import Web
from pydantic import BaseModel, ConfigDict, ValidationError

from schemas import json_text
from streams.assembly import App
from streams.clickhouse_errors import ClickHouseAway, TooMuch
from streams.openapi import page
from streams.peers import RETRY_SECONDS, ByAll, ByKey, NoAnswer, forward, forward_to_others, is_from_peer, owner
from streams.web import asks_for
from streams.worker.bodies import Unreadable, received
from streams.worker.threads import Busy, Threads

DESCRIPTION: Final = "/openapi.json"
PAGE: Final = "/api"
# Of questions that are answered in threads; ClickHouse gives each 10 s at most, and who asks waits no longer than a minute.
QUESTIONS: Final = Threads("questions", 6, most=36)


class Unknown(Exception):
    """What is asked for is not there."""


class Conflict(Exception):
    """What is asked cannot be done as things stand."""


class Forbidden(Exception):
    """It is not for who asks."""


class Nothing(BaseModel):
    """A question that takes nothing."""

    model_config = ConfigDict(extra="forbid")


class Question(NamedTuple):
    """A path, what it takes there and in its query string (a POST: in its JSON body), what it is for, and what answers it."""

    path: str
    """`{name}` stands for a field of the model."""
    model: type[BaseModel]
    summary: str
    answer: Callable[[Any], dict[str, Any] | Awaitable[dict[str, Any]]]
    """A function, called in a thread, or a coroutine. May raise `Unknown`, `Conflict`, `NoAnswer` and `ClickHouseAway`."""
    whose: ByKey | ByAll | None = None
    """Which workers of the group have the answer, if not every one."""
    method: Literal["GET", "POST", "DELETE"] = "GET"
    tenant: str = ""
    """The model's field that says whose devices it is about; without one it is not answered to tenants."""


_OF_FORMS: Final = frozenset({"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})
_BLANK_ZONE: Final = re.compile(r"^(\d{4}-\d\d-\d\d[T ][\d:.]+) (\d\d:?\d\d)$")


def mount(app: App, *questions: Question) -> None:
    """Have a worker answer them, and describe itself."""
    routes = cast(Web, app.web).web_app.router
    for question in questions:
        routes.add_route(question.method, question.path, _handler(app, question))
    description = _describe(app.conf.id, questions)
    routes.add_get(DESCRIPTION, _constant(description))
    routes.add_get(PAGE, _page(page(description)))


def _handler(app: App, question: Question) -> Callable[[web.Request], Any]:
    async def handle(request: web.Request) -> web.Response:
        try:
            asked = question.model.model_validate(_within(asks_for(request), question, await _given(request)))
        except Forbidden as forbidden:
            return _json({"error": str(forbidden)}, HTTPStatus.FORBIDDEN)
        except Unreadable as error:
            return _json({"error": str(error)}, error.status)
        except ValidationError as error:
            found = (problem for problem in error.errors() if problem["type"] != "default_factory_not_called")  # for another's sake
            problems = [{"field": ".".join(map(str, each["loc"])), "problem": each["msg"].removeprefix("Value error, ")} for each in found]
            return _json({"error": _told(problems), "problems": problems, "see": DESCRIPTION}, HTTPStatus.BAD_REQUEST)
        except ValueError as error:
            return _json({"error": f"the body is not JSON: {error}"}, HTTPStatus.BAD_REQUEST)
        try:
            return await _answer(app, question, request, asked)
        except TooMuch as much:
            return _json({"error": str(much)}, HTTPStatus.BAD_REQUEST)
        except Unknown as unknown:
            return _json({"error": str(unknown)}, HTTPStatus.NOT_FOUND)
        except Conflict as conflict:
            return _json({"error": str(conflict)}, HTTPStatus.CONFLICT)
        except (ClickHouseAway, NoAnswer, Busy) as away:
            return _json({"error": f"{away}; ask again"}, HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": str(RETRY_SECONDS)})

    return handle


def _told(problems: Sequence[dict[str, str]]) -> str:
    return "; ".join(f"{each['field']}: {each['problem']}".removeprefix(": ") for each in problems)


async def _given(request: web.Request) -> object:
    """Raises Unreadable, of a type that forms of any site's page can send unasked (Fetch, section 2.2.2)."""
    if request.method == "POST" and request.content_type in _OF_FORMS and "Content-Type" in request.headers:
        problem = f"a body of {request.content_type} is not read: send JSON as Content-Type: application/json"
        raise Unreadable(problem, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    if request.method == "POST":
        given = json_text.loads(await received(request))
    else:
        given = {name: _zoned(text) for name, text in request.query.items()}
    return {**given, **request.match_info} if isinstance(given, dict) else given


def _zoned(text: str) -> str:
    """A time whose offset's + was not written as %2B, and so has come as a blank."""
    return _BLANK_ZONE.sub(r"\1+\2", text)


def _within(tenant: str, question: Question, given: object) -> object:
    """What is asked, by who may ask for a tenant alone: for that one. Raises Forbidden."""
    if not tenant or not isinstance(given, dict):
        return given
    if not question.tenant or given.get(question.tenant, tenant) != tenant:
        raise Forbidden(f"this token is for what is {tenant}'s")
    return {**given, question.tenant: tenant}


async def _answer(app: App, question: Question, request: web.Request, asked: BaseModel) -> web.Response:
    whose = question.whose
    if isinstance(whose, ByKey) and (address := owner(app, whose.contract, whose.key(asked))):
        return await forward(app, request, address)
    answer: Any = await (question.answer(asked) if iscoroutinefunction(question.answer) else QUESTIONS.run(question.answer, asked))
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
    paths: dict[str, dict[str, Any]] = {}
    for question in questions:
        schema = question.model.model_json_schema()
        in_path = set(re.findall(r"{(\w+)}", question.path))
        properties = schema.get("properties", {})
        in_body = set(properties) - in_path if question.method == "POST" else set()
        parameters = [
            {
                "name": field,
                "in": "path" if field in in_path else "query",
                "required": field in schema.get("required", ()),
                "description": about.get("description", ""),
                "schema": {key: value for key, value in about.items() if key != "description"},
            }
            for field, about in properties.items()
            if field not in in_body
        ]
        answers = {
            "200": {"description": "The answer.", "content": {"application/json": {}}},
            "400": {"description": "The question is wrong: which field, and why."},
            "403": {"description": "It is not for the tenant whose token came with it."},
            "503": {"description": "What would know does not answer now: `error` says what. Ask again after `Retry-After` seconds."},
        }
        if in_path:
            answers["404"] = {"description": "There is nothing of this name."}
        operation = {"summary": question.summary, "parameters": parameters, "responses": answers}
        if question.method != "GET":
            answers["409"] = {"description": "That cannot be done as things stand."}
        if question.method == "POST":
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _without(schema, in_path)}}}
        paths.setdefault(question.path, {})[question.method.lower()] = operation
    return {"openapi": "3.1.0", "info": {"title": f"Headrace, {name} worker", "version": "1"}, "paths": paths}


def _without(schema: dict[str, Any], fields: set[str]) -> dict[str, Any]:
    properties = {field: about for field, about in schema["properties"].items() if field not in fields}
    return {**schema, "properties": properties, "required": [field for field in schema.get("required", ()) if field not in fields]}
