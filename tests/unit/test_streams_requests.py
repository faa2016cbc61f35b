import base64
from types import SimpleNamespace

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from pydantic import ValidationError

from agents.gateway.message import Post
from streams.logins import Claim
from streams.requests import Item, Malformed, TooLarge, Unsupported, claim, enter, post, taken


def basic(text):
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, Claim()),
        ({"Authorization": "Bearer abc"}, Claim(token="abc")),
        ({"Authorization": "bearer  abc "}, Claim(token="abc")),
        (basic("acme/lamp-1:pass:word"), Claim(user="acme/lamp-1", password="pass:word")),
        (basic("lamp-1:pässwort"), Claim(user="lamp-1", password="pässwort")),
        ({"Authorization": "Basic !!"}, Claim()),
        ({"Authorization": "Basic /w=="}, Claim()),
        ({"Authorization": "Digest abc"}, Claim()),
        ({"Authorization": "Bearer tökén"}, Claim()),
        # a browser's WebSocket, which cannot set Authorization
        ({"Sec-WebSocket-Protocol": "headrace, headrace.token.abc"}, Claim(token="abc")),
        ({"Sec-WebSocket-Protocol": "headrace"}, Claim()),
        ({"Sec-WebSocket-Protocol": "headrace.token."}, Claim()),
        ({"Authorization": "Bearer abc", "Sec-WebSocket-Protocol": "headrace.token.other"}, Claim(token="abc")),
    ],
)
def test_who_a_request_says_it_is_from(headers, expected):
    assert claim(make_mocked_request("POST", "/messages", headers)) == expected


def test_data_is_any_json_and_its_type_is_said():
    assert Item(topic="a/b", data=None).post() == Post("a/b", b"null", 1, "application/json", {})
    assert orjson.loads(Item(topic="a/b", data={"value": 1.5}).post().payload) == {"value": 1.5}


def test_bytes_of_any_kind_come_in_base64():
    item = Item(topic="a/b", payload_base64="AP8=", content_type="application/avro", headers={"k": "v"})
    assert item.post() == Post("a/b", b"\x00\xff", 1, "application/avro", {"k": "v"})


DEEP = orjson.loads("[" * 300 + "]" * 300)


@pytest.mark.parametrize(
    "given", [{}, {"data": 1, "payload_base64": "AA=="}, {"payload_base64": "A"}, {"payload_base64": "ä"}, {"data": DEEP}]
)
def test_a_message_has_one_payload_that_can_be_read(given):
    with pytest.raises(Malformed):
        Item(topic="a/b", **given).post()


def test_what_nobody_reads_is_not_taken():
    with pytest.raises(ValidationError):
        Item(topic="a/b", data=1, qos=2)


def test_a_message_without_a_place_or_of_too_many_bytes_goes_no_further():
    with pytest.raises(Malformed, match="no topic"):
        post("a/#", b"", "", {})
    with pytest.raises(TooLarge):
        post("a/b", b"x" * 800_001, "", {})


def test_headers_are_text_and_not_long():
    with pytest.raises(Malformed, match="UTF-8"):
        post("a/b", b"", "", {"k": "\udcff"})
    with pytest.raises(TooLarge, match="headers"):
        post("a/b", b"", "", {"k": "x" * 16_384})


@pytest.mark.parametrize("content_type", ["image/png", "application/json; charset=utf-16", "application/cbor"])
def test_a_type_that_nobody_here_reads_is_said(content_type):
    with pytest.raises(Unsupported, match="is not read: send application/json"):
        post("a/b", b"1", content_type, {})


def test_each_item_is_a_message_or_what_is_wrong_with_it():
    good = {"topic": "a/b", "data": 1}
    assert taken(Item, good) == Post("a/b", b"1", 1, "application/json", {})
    assert "wildcards" in taken(Item, good | {"topic": "a/#"})
    assert "payload_base64" in taken(Item, {"topic": "a/b", "payload_base64": "!"})
    assert "image/png" in taken(Item, good | {"content_type": "image/png"})
    assert "topic: Field required" in taken(Item, {"data": 1})
    assert taken(Item, [])


class OpenDoor:
    """Lets in whoever comes."""

    async def enter(self, claim, address, *, local):
        return SimpleNamespace(claim=claim)


LOCAL = {"Host": "127.0.0.1:6080"}
SOCKET = {"Upgrade": "websocket"}
FOREIGN = {"Origin": "https://evil.example"}


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", LOCAL | FOREIGN),
        ("POST", LOCAL | FOREIGN | basic("lamp-1:secret")),  # which a browser sends by itself once it was typed in
        ("POST", LOCAL | {"Sec-Fetch-Site": "cross-site"}),
        ("POST", {"Host": "evil.example", "Origin": "http://evil.example"}),
        ("GET", LOCAL | FOREIGN | SOCKET),
        ("GET", {"Host": "evil.example"}),
    ],
)
async def test_a_page_of_another_site_publishes_nothing(method, headers):
    with pytest.raises(web.HTTPForbidden) as refused:
        await enter(OpenDoor(), make_mocked_request(method, "/messages", headers), local=True)
    assert "prove by a token who you are" in refused.value.text


@pytest.mark.parametrize(
    ("method", "headers", "local"),
    [
        ("POST", LOCAL, True),
        ("POST", {}, True),
        ("POST", LOCAL | FOREIGN | {"Authorization": "Bearer abc"}, True),
        ("GET", LOCAL | FOREIGN | SOCKET | {"Sec-WebSocket-Protocol": "headrace, headrace.token.abc"}, True),
        ("GET", LOCAL | SOCKET | {"Origin": "http://127.0.0.1:6080"}, True),
        ("POST", {"Host": "iot.example"} | basic("lamp-1:secret"), False),
    ],
)
async def test_devices_and_pages_with_a_token_come_in(method, headers, local):
    request = make_mocked_request(method, "/messages", headers)
    assert (await enter(OpenDoor(), request, local=local)).claim == claim(request)
