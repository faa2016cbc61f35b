"""What CoAP requests have in common: who they come from."""

from typing import Final
from urllib.parse import unquote

from aiocoap import Message
from aiocoap.error import TooManyRequests, Unauthorized, UnparsableMessage
from aiocoap.optiontypes import StringOption

from streams.door import Door, Visitor
from streams.logins import Claim, Refused
from streams.worker.connections import speaks

TOKEN: Final = "token"
"""The Uri-Query a device proves itself by; the others become the message's headers."""


class TooManyTries(TooManyRequests):  # type: ignore[misc]
    """4.29, with how long to wait."""

    def __init__(self, seconds: int) -> None:
        super().__init__("too many tries")
        self._seconds = seconds

    def to_message(self) -> Message:
        """As it is answered."""
        message = super().to_message()
        message.opt.max_age = self._seconds
        return message


def refuse_what_is_no_text() -> None:
    """Have aiocoap pass over a message whose path or query is not UTF-8, as over any other that is none: its transport raises."""
    decode = StringOption.decode

    def strictly(option: StringOption, data: bytes) -> None:
        try:
            decode(option, data)
        except UnicodeDecodeError as error:
            raise UnparsableMessage(f"an option is not UTF-8: {error}") from error

    StringOption.decode = strictly


async def enter(door: Door, request: Message, *, local: bool) -> Visitor:
    """Who a request comes from, by its token. Raises the CoAP error that says what is missing."""
    token = next((unquote(query[len(TOKEN) + 1 :]) for query in request.opt.uri_query if query.startswith(f"{TOKEN}=")), "")
    try:
        visitor = await door.enter(Claim(token=token), request.remote.hostinfo.rpartition(":")[0], local=local)
    except Refused as refused:
        if refused.retry_seconds:
            raise TooManyTries(refused.retry_seconds) from refused
        raise Unauthorized(str(refused)) from refused
    # over UDP there is none
    speaks(getattr(request.remote, "_transport", None))
    return visitor
