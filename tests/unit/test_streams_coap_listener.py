"""What a device that speaks CoAP is answered."""

from types import SimpleNamespace

import aiocoap
import pytest
from aiocoap.error import RenderableError

from agents.gateway.message import Verdict
from streams.coap_listener import Messages

CODES = {
    Verdict.DELIVERED: "2.04",
    Verdict.SPOOLED: "2.04",
    Verdict.DUPLICATE: "2.04",
    Verdict.COALESCED: "2.04",
    Verdict.REJECTED: "4.00",
    Verdict.FORBIDDEN: "4.03",
    Verdict.FULL: "5.03",
}


async def answered(verdict, *path, payload=b"1", number=None):
    """Code and payload of the answer where the gate says that of each message."""

    async def enter(*_, **__):
        return None

    async def accept(_, __, messages):
        return [verdict] * len(messages)

    request = aiocoap.Message(code=aiocoap.POST, uri_path=path, payload=payload, content_format=number)
    request.remote = SimpleNamespace(hostinfo="127.0.0.1:1")
    try:
        answer = await Messages(SimpleNamespace(enter=enter, accept=accept), local=True).render_post(request)
    except RenderableError as error:
        answer = error.to_message()
    return answer.code.dotted, answer.payload.decode()


@pytest.mark.parametrize("verdict", Verdict)
async def test_what_was_not_taken_is_no_success(verdict):
    code, payload = await answered(verdict, "sensors", "", "air")
    assert code == CODES[verdict]
    expected = {Verdict.FORBIDDEN: "this credential may not publish there: headrace device credentials says where it may", Verdict.FULL: ""}
    assert payload == expected.get(verdict, verdict)


@pytest.mark.parametrize(
    ("path", "payload", "number", "code"),
    [
        ((), b"1", None, "4.00"),
        (("a", "+"), b"1", None, "4.00"),
        (("a", "b"), b"1", 60, "4.15"),
        (("a", "b"), b"1", 65_000, "4.15"),
        (("a", "b"), b"x" * (1 << 20), None, "4.13"),
        (("a", "b"), b"1", 50, "2.04"),
        (("a", "b"), b"1", 0, "2.04"),
    ],
)
async def test_what_is_no_message_or_is_not_read_is_told_by_its_code(path, payload, number, code):
    assert (await answered(Verdict.DELIVERED, *path, payload=payload, number=number))[0] == code
