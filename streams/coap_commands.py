"""Commands over CoAP: GET /commands, once or observed, gives those that wait for the device; POST /commands/<command_id> answers one.

A notification says all that waits, not only what is new: of two that follow one another CoAP may deliver only the later.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

import orjson
from aiocoap import ContentFormat, Message
from aiocoap.error import BadRequest, Forbidden, NotFound
from aiocoap.numbers.codes import CHANGED, CONTENT
from aiocoap.protocol import ServerObservation
from aiocoap.resource import ObservableResource, PathCapable, Resource
from pydantic import ValidationError

from agents.gateway.answers import Answer
from agents.gateway.commands import told
from agents.gateway.standing import Key, Order
from schemas import json_text
from streams.clock import now_ms
from streams.coap_requests import enter
from streams.door import Door
from streams.reaching import Reaching
from streams.requests import said

# Of a notification, which has to fit in a datagram; what does not comes when what did is answered.
MOST_BYTES: Final = 1_024


class Commands(ObservableResource):  # type: ignore[misc]
    """The resource devices observe."""

    def __init__(self, door: Door, reaching: Reaching, *, local: bool) -> None:
        super().__init__()
        self._door, self._reaching, self._local = door, reaching, local

    async def add_observation(self, request: Message, observation: ServerObservation) -> None:
        """A device wants to hear of its commands from now on."""
        device = await _device(self._door, request, local=self._local)
        line = ExitStack()
        line.enter_context(self._reaching.line(device, observation.trigger))
        observation.accept(line.close)

    async def render_get(self, request: Message) -> Message:
        """What waits for the device."""
        device = await _device(self._door, request, local=self._local)
        at = now_ms()
        told_of, payload = _fitting(self._reaching.standing.of_device(device, at))
        await self._reaching.sent([order for order in told_of if order.is_due(at)], at)
        return Message(code=CONTENT, payload=payload, content_format=ContentFormat.JSON)


class Answers(Resource, PathCapable):  # type: ignore[misc]
    """The resources devices answer at, one a command."""

    def __init__(self, door: Door, reaching: Reaching, *, local: bool) -> None:
        super().__init__()
        self._door, self._reaching, self._local = door, reaching, local

    async def render_post(self, request: Message) -> Message:
        """What came of a command."""
        device = await _device(self._door, request, local=self._local)
        try:
            given = json_text.loads(request.payload)
            command_id = "/".join(request.opt.uri_path)
            answer = Answer.model_validate({**given, "command_id": command_id} if isinstance(given, dict) else given)
        except ValidationError as error:
            raise BadRequest(said(error)) from error
        except ValueError as error:
            raise BadRequest(f"the payload is not JSON: {error}") from error
        if not await self._reaching.answer(device, answer):
            raise NotFound
        return Message(code=CHANGED, payload=answer.outcome.encode())


async def _device(door: Door, request: Message, *, local: bool) -> Key:
    device = door.commanded(await enter(door, request, local=local))
    if device is None:
        raise Forbidden("only a device that proves who it is has commands")
    return device


def _fitting(orders: Sequence[Order]) -> tuple[list[Order], bytes]:
    """The first of them, one at least, and what they are in a message."""
    fitting, payload = [*orders[:1]], orjson.dumps([told(order.command) for order in orders[:1]])
    for order in orders[1:]:
        more = orjson.dumps([told(each.command) for each in (*fitting, order)])
        if len(more) > MOST_BYTES:
            break
        fitting, payload = [*fitting, order], more
    return fitting, payload
