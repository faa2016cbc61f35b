"""The other workers of the group: which of them has a key, and how to put a question to it, or to all of them."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import orjson
from aiohttp import ClientError, ClientTimeout, web
from aiokafka.partitioner import murmur2
from faust.assignor.partition_assignor import PartitionAssignor
from faust.types import TP
from faust.types.assignor import HostToPartitionMap
from yarl import URL

from schemas.catalog import Contract
from streams.access import named
from streams.settings import settings

if TYPE_CHECKING:
    from streams.assembly import App

# A worker that has no answer by then is gone or hangs, and somebody waits for it.
TIMEOUT: Final = ClientTimeout(total=2)
# A rebalance takes one or two seconds; a killed worker's partitions move on after its session of 10 s.
RETRY_SECONDS: Final = 2
# Names the worker that asks for somebody: who is asked so asks nobody else.
ASKED_BY: Final = "Headrace-Asked-By"


class NoAnswer(Exception):
    """The worker that would know does not answer now. Ask again."""


class ByKey(NamedTuple):
    """A question for the worker that has the partition of a key."""

    contract: Contract
    key: Callable[[Any], str]
    """What was asked → the key."""


class ByAll(NamedTuple):
    """A question for every worker that has a partition of the topic, of which each answers for its own."""

    contract: Contract
    merge: Callable[[Any, list[Any]], Any]
    """What was asked, and every worker's answer → the answer. May raise `NoAnswer`."""


def partition_of(contract: Contract, key: str) -> int:
    """The partition the key's records are in: murmur2, as Kafka's own clients and our producer have it."""
    return cast(int, (murmur2(key.encode()) & 0x7FFF_FFFF) % contract.partitions)


def owner(app: "App", contract: Contract, key: str) -> URL | None:
    """Address of the worker that has the key's partition; None if it is this one. Raises `NoAnswer`."""
    tp = TP(named(contract.topic), partition_of(contract, key))
    if app.assignor.is_active(tp):
        return None
    for address, topics in _assignments(app).items():
        if tp.partition in topics.get(tp.topic, ()):
            return URL(address)
    raise NoAnswer(f"no worker has partition {tp.partition} of {tp.topic}")


def others(app: "App", contract: Contract) -> list[URL]:
    """Addresses of the other workers that have partitions of the topic."""
    having = {URL(address) for address, topics in _assignments(app).items() if topics.get(named(contract.topic))}
    return sorted(having - {app.conf.canonical_url})


def _assignments(app: "App") -> HostToPartitionMap:
    """Address → topic → partitions, as of the latest rebalance; changelogs are not among them."""
    return cast(PartitionAssignor, app.assignor).external_topics_metadata()


def is_from_peer(request: web.Request) -> bool:
    """Whether another worker asks, which wants what this one knows and no more."""
    return ASKED_BY in request.headers


async def forward(app: "App", request: web.Request, address: URL) -> web.Response:
    """What the worker at that address answers to the same request. Raises `NoAnswer`."""
    if is_from_peer(request):
        raise NoAnswer(f"the worker at {request.headers[ASKED_BY]} asks here for what the one at {address} has")
    headers = {ASKED_BY: str(app.conf.canonical_url), "Content-Type": request.content_type}
    if token := settings().web_token.get_secret_value():
        headers["Authorization"] = f"Bearer {token}"
    there = URL(f"{address.origin()}{request.rel_url.raw_path_qs}", encoded=True)
    try:
        asking = app.http_client.request(request.method, there, headers=headers, data=await request.read(), timeout=TIMEOUT)
        async with asking as answer:
            if answer.status == HTTPStatus.UNAUTHORIZED:
                raise NoAnswer(f"the worker at {address} has another HEADRACE_WEB_TOKEN")
            retry = {name: value for name, value in answer.headers.items() if name == "Retry-After"}
            return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type, headers=retry)
    except (ClientError, TimeoutError) as error:
        raise NoAnswer(f"the worker at {address} does not answer: {error!r}") from error


async def forward_to_others(app: "App", request: web.Request, contract: Contract) -> list[Any]:
    """What the other workers that have partitions of the topic answer, of JSON. Raises `NoAnswer` if one of them has no answer."""
    answers = await asyncio.gather(*(forward(app, request, address) for address in others(app, contract)))
    for answer in answers:
        if answer.status != HTTPStatus.OK:
            raise NoAnswer(f"another worker answers {answer.status}: {cast(bytes, answer.body).decode()}")
    return [orjson.loads(cast(bytes, answer.body)) for answer in answers]
