"""What HTTP, WebSocket and CoAP each have of their own; what they have in common is in tests/conformance."""

import asyncio
import gzip
import resource
import socket
import zlib
from contextlib import ExitStack, asynccontextmanager, closing
from uuid import uuid4

import aiocoap
import aiohttp
import httpx
import orjson
import polars as pl
import pytest

from deploy.embedded.preflight import free_ports
from schemas.catalog import DEAD_LETTERS
from schemas.rejects import Reason
from tests.conformance.test_protocols import let_in, made, numbers, reading, records, topic
from tests.integration.line import PATIENCE, Topics, Worker, headrace, http, wait

RATE = 10  # messages a second, and a hundred at once


@pytest.fixture(scope="module")
def settings(stack):
    http, websocket, coap = free_ports(3)
    ports = {"gateway_http": http, "gateway_websocket": websocket, "gateway_coap": coap}
    return stack.settings.model_copy(update={name: f"127.0.0.1:{port}" for name, port in ports.items()} | {"gateway_device_rate": RATE})


@pytest.fixture(scope="module")
def running(settings, tmp_path_factory):
    with Worker(settings, tmp_path_factory.mktemp("gateway"), module="streams.gateway") as gateway:
        for protocol in ("http", "websocket", "coap"):
            gateway.wait_for(f"{protocol}_listening")
        yield gateway


@pytest.fixture
def device(running):
    return f"l-{uuid4().hex[:12]}"


@pytest.fixture
def client(settings, device):
    with httpx.Client(base_url=f"http://{settings.gateway_http}", headers=bearer(settings, device)) as client:
        yield client


def bearer(settings, device):
    return {"Authorization": f"Bearer {let_in(settings, made(settings, device))}"}


@asynccontextmanager
async def connected(settings, headers):
    async with aiohttp.ClientSession(headers=headers) as client, client.ws_connect(f"ws://{settings.gateway_websocket}/messages") as opened:
        yield opened


def metric(gateway, name):
    lines = http.get(f"http://127.0.0.1:{gateway.port}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_a_batch_over_http_has_a_verdict_for_each_message(settings, client, device):
    batch = [{"topic": topic(device), "data": orjson.loads(reading(n)), "headers": {"message_id": f"m-{n}"}} for n in (0, 1, 1, 2)]
    batch.insert(1, {"topic": topic("another"), "data": 1})
    answer = client.post("/messages", json=batch)
    assert answer.status_code == 202
    assert answer.json() == {"verdicts": ["delivered", "forbidden", "delivered", "duplicate", "delivered"]}
    assert numbers(records(settings, device)) == [0, 1, 2]
    assert client.post("/messages", json=[{"topic": topic("another"), "data": 1}]).status_code == 403
    assert client.post("/messages", json=[]).json() == {"verdicts": []}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"{}", 400),
        (b'[{"topic": "a/b"}]', 400),
        (b'[{"topic": "a/+", "data": 1}]', 400),
        (b'[{"topic": "a/b", "payload_base64": "!"}]', 400),
        (b"[" + b",".join([b'{"topic": "a/b", "data": 1}'] * 5_001) + b"]", 413),
        (b'"' + b"x" * (4 << 20) + b'"', 413),
    ],
)
def test_a_batch_that_cannot_be_read_is_refused_as_a_whole(client, body, status):
    assert client.post("/messages", content=body).status_code == status


def test_who_sends_more_than_it_may_over_http_is_told_when_to_come_again(settings, client, device):
    answer = client.post("/messages", json=[{"topic": topic(device), "data": {"value": n, "sequence": n}} for n in range(20 * RATE)])
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    verdicts = answer.json()["verdicts"]
    taken = verdicts.count("delivered")
    assert verdicts == ["delivered"] * taken + ["full"] * (20 * RATE - taken)
    assert 10 * RATE <= taken < 20 * RATE
    assert numbers(records(settings, device)) == list(range(taken))


def test_an_item_in_which_a_member_is_there_twice_costs_itself_alone(settings, client, device):
    good, twice = (f'{{"topic": "{topic(device)}", "data": {{"value": 1, "sequence": {number}}}}}' for number in ("1", '2, "value": 45'))
    answer = client.post("/messages", content=f"[{twice}, {good}, {twice}]")
    assert answer.status_code == 202
    assert answer.json()["verdicts"] == ["rejected", "delivered", "rejected"]
    assert answer.json()["errors"] == [{"index": at, "error": "member 'value' is there twice: name it once"} for at in (0, 2)]
    assert numbers(records(settings, device)) == [1]


def test_an_item_that_is_no_message_costs_itself_alone(settings, client, device):
    good = {"topic": topic(device), "data": {"value": 1, "sequence": 1}}
    bad = [
        {"topic": "a/+", "data": 1},
        {"topic": topic(device), "payload_base64": "!"},
        {"topic": topic(device), "data": 1, "content_type": "image/png"},
    ]
    answer = client.post("/messages", json=[bad[0], good, *bad[1:], "x"])
    assert answer.status_code == 202
    assert answer.json()["verdicts"] == ["rejected", "delivered", "rejected", "rejected", "rejected"]
    assert [each["index"] for each in answer.json()["errors"]] == [0, 2, 3, 4]
    assert numbers(records(settings, device)) == [1]


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Encoding": "gzip"}, b'{"value": 1}', 400),
        ({"Content-Encoding": "deflate"}, b'{"value": 1}', 400),
        ({"Content-Encoding": "snappy"}, b'{"value": 1}', 415),
        ({"Content-Encoding": "x-gzip"}, b'{"value": 1}', 415),
        ({"Content-Encoding": "gzip"}, gzip.compress(b'{"value": 1}', mtime=0), 202),
        ({"Content-Encoding": "GZIP"}, gzip.compress(b"21.5", mtime=0)[:13], 400),
        ({"Content-Encoding": "gzip"}, gzip.compress(bytes(5 << 20), mtime=0), 413),
        ({"Content-Encoding": "deflate"}, zlib.compress(b'{"value": 1}'), 202),
        ({"Content-Type": "application/senml+json"}, b'{"value": 1}', 202),
        ({"Content-Type": "application/json; charset=utf-16"}, '{"value": 1}'.encode("utf-16"), 415),
        ({"Content-Type": "image/png"}, b'{"value": 1}', 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b'{"value": 1}', 202),
    ],
)
def test_a_body_that_is_not_what_its_headers_say_or_that_nobody_here_reads_is_refused(client, device, headers, body, status):
    assert client.post(f"/messages/{topic(device)}", content=body, headers=headers).status_code == status


@pytest.mark.parametrize("path", ["/messages", "/messages/a/b", "/commands/c-1", "/nowhere"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_that_cannot_be_unpacked_is_the_clients_fault_wherever_it_goes(running, client, path, encoding):
    headers = {"Content-Encoding": encoding, "Connection": "close"}
    assert 400 <= client.post(path, content=b"x" * 100, headers=headers).status_code < 500
    assert "Traceback" not in running.log.read_text()


def test_a_body_of_a_question_that_cannot_be_unpacked_is_refused(running):
    answer = http.post(f"http://127.0.0.1:{running.port}/api/devices", content=b"x" * 100, headers={"Content-Encoding": "gzip"})
    assert 400 <= answer.status_code < 500
    assert "Traceback" not in running.log.read_text()


@pytest.mark.parametrize("authorization", [b"Bearer \xff", b"Basic \xff", b"\xff"])
def test_credentials_that_are_no_text_let_nobody_in(settings, running, authorization):
    async def status():
        host, _, port = settings.gateway_http.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /messages HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nAuthorization: " + authorization + b"\r\n\r\n")
        return int((await reader.readline()).split()[1])

    assert asyncio.run(status()) in (400, 401)


@pytest.mark.parametrize(
    ("number", "code"), [(50, "2.04"), (110, "2.04"), (0, "2.04"), (42, "2.04"), (60, "4.15"), (112, "4.15"), (65_000, "4.15")]
)
async def test_a_content_format_that_nobody_here_reads_is_refused_over_coap(settings, device, number, code):
    token = bearer(settings, device)["Authorization"].split()[1]
    client = await aiocoap.Context.create_client_context(transports=["udp6"])
    uri = f"coap://{settings.gateway_coap}/messages/{topic(device)}?token={token}"
    request = aiocoap.Message(code=aiocoap.POST, uri=uri, payload=b'{"value": 1}', content_format=number)
    assert (await client.request(request).response).code.dotted == code
    await client.shutdown()


def test_a_thousand_connections_that_say_nothing_hold_up_nobody_and_are_closed(settings, running, client, device):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    size = running.log.stat().st_size
    with ExitStack() as held:
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        idle = []
        for place in (settings.gateway_http, settings.gateway_websocket, f"127.0.0.1:{running.port}"):
            host, _, port = place.rpartition(":")
            for _ in range(400):
                idle.append(held.enter_context(socket.create_connection((host, int(port)))))
                idle[-1].sendall(b"POST /messages HTTP/1.1\r\nHo")
        assert client.post(f"/messages/{topic(device)}", json={"value": 1}).status_code == 202
        assert http.get(f"http://127.0.0.1:{running.port}/live", timeout=10).status_code == 200
        for each in idle:
            each.settimeout(PATIENCE)
            assert each.recv(1) == b""
    assert running.log.stat().st_size - size < 100_000


async def test_a_browser_names_its_token_as_a_subprotocol_of_websocket(settings, device):
    token = bearer(settings, device)["Authorization"].split()[1]
    url = f"ws://{settings.gateway_websocket}/messages"
    async with aiohttp.ClientSession(headers={"Origin": "https://dashboard.example"}) as client:
        async with client.ws_connect(url, protocols=("headrace", f"headrace.token.{token}")) as opened:
            # a browser ends a connection whose server names none of its protocols, or another one
            assert opened.protocol == "headrace"
            await opened.send_json({"id": 1, "topic": topic(device), "data": {"value": 1, "sequence": 1}})
            assert await opened.receive_json() == {"id": 1, "verdict": "delivered"}
            await opened.send_str(f'{{"id": 2, "topic": "{topic(device)}", "data": {{"value": 4, "value": 45}}}}')
            assert "member 'value' is there twice" in (await opened.receive_json())["error"]
        for offered in (("headrace",), ("headrace", "headrace.token.wrong")):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.ws_connect(url, protocols=offered)
            assert refused.value.status == 401
    assert numbers(records(settings, device)) == [1]


async def test_who_sends_more_than_it_may_over_websocket_is_told_to_slow_down(settings, device):
    async with connected(settings, bearer(settings, device)) as opened:
        for number in range(20 * RATE):
            await opened.send_json({"id": number, "topic": topic(device), "data": {"value": 1, "sequence": number}})
        answers = []
        while "slow_down_seconds" not in (answer := await opened.receive_json()):
            answers.append(answer)
    assert answer["slow_down_seconds"] > 0
    assert [each["id"] for each in answers] == list(range(len(answers)))
    assert answers[-1]["verdict"] == "full"


async def test_a_frame_that_is_no_message_is_answered_in_its_turn_and_ends_nothing(settings, device):
    async with connected(settings, bearer(settings, device)) as opened:
        for frame in ('{"id": 1', '{"id": 2, "topic": "a/b"}', '{"id": "3"}', "[]", '{"id": [4], "topic": "a/b", "data": 1}'):
            await opened.send_str(frame)
        await opened.send_json({"id": 5, "topic": topic(device), "data": {"value": 1}})
        answers = [await opened.receive_json() for _ in range(6)]
    assert [answer["id"] for answer in answers] == [None, 2, "3", None, None, 5]
    assert all(answer["error"] for answer in answers[:5])
    assert answers[5]["verdict"] == "delivered"


async def test_coap_that_asks_for_no_confirmation_has_quality_of_service_0(settings, device):
    token = bearer(settings, device)["Authorization"].split()[1]
    client = await aiocoap.Context.create_client_context(transports=["udp6"])
    uri = f"coap://{settings.gateway_coap}/messages/{topic(device)}?token={token}"
    request = aiocoap.Message(code=aiocoap.PUT, uri=uri, payload=reading(1), transport_tuning=aiocoap.Unreliable)
    assert (await client.request(request).response).code == aiocoap.CHANGED
    await client.shutdown()
    ((envelope, _),) = records(settings, device)
    assert envelope["metadata"]["qos"] == 0


def test_what_is_for_a_topic_that_kafka_will_not_have_is_a_dead_letter_and_holds_up_nobody(settings, client, device, tmp_path):
    rows = tmp_path / "rows.yaml"
    rows.write_text("mappings: [{pattern: odd/+/+, topic: 'odd.{2}', data_type: odd}]")
    assert headrace(settings, "map", "apply", rows)[0] == 0

    def verdicts(topics, number):
        batch = [{"topic": topic, "data": {"sequence": number}} for topic in topics]
        return client.post("/messages", json=batch, timeout=PATIENCE).json()["verdicts"]

    too_long = f"odd/{device}/{'x' * 250}"
    wait(lambda: verdicts([too_long], 0) == ["rejected"], lambda: "no such row")
    assert verdicts([topic(device), too_long, topic(device)], 1) == ["delivered", "rejected", "duplicate"]
    assert numbers(records(settings, device)) == [1]
    with closing(Topics(settings)) as topics:
        letters = topics.frame(DEAD_LETTERS).filter(pl.col("key") == device.encode())
    assert set(letters["reason"]) == {Reason.KAFKA_REFUSED}
    assert set(letters["topic"]) == {f"odd.{'x' * 250}"}
    rows.write_text("mappings: [{pattern: odd/+/+, topic: '..', data_type: odd}]")
    status, said = headrace(settings, "map", "apply", rows)
    assert (status, "Kafka will not have the topic .." in said) == (1, True)


def test_nobody_but_the_gateway_says_whose_a_message_is(settings, client, device):
    forged = {"Headrace-Tenant_Id": "another", "Headrace-Device_Id": "another", "Headrace-Firmware": "2.1"}
    assert client.post(f"/messages/{topic(device)}", content=reading(1), headers=forged).status_code == 202
    ((envelope, headers),) = records(settings, device)
    assert (envelope["tenant_id"], headers["tenant_id"], headers["device_id"]) == (
        settings.tenant,
        settings.tenant.encode(),
        device.encode(),
    )
    assert headers["firmware"] == b"2.1"


def test_logins_and_what_is_turned_away_are_counted(settings, running, client, device):
    refused, away = metric(running, "headrace_gateway_logins_total"), metric(running, "headrace_turned_away_messages_total")
    assert client.post(f"/messages/{topic('another')}", content=b"1").status_code == 403
    assert client.post(f"/messages/{topic(device)}", content=b"1", headers={"Authorization": "Bearer x"}).status_code == 401
    assert metric(running, "headrace_gateway_logins_total") - refused == 2
    assert metric(running, "headrace_turned_away_messages_total") - away == 1


def test_credentials_are_listed_without_their_secrets_until_they_are_revoked(settings, device):
    token = made(settings, device, "a/#")
    _, listed = headrace(settings, "device", "credentials", device)
    assert "token-" in listed
    assert "a/#" in listed
    assert token not in listed
    assert headrace(settings, "device", "revoke", device)[0] == 0
    assert "token-" not in headrace(settings, "device", "credentials", device)[1]
    assert headrace(settings, "device", "revoke", device)[0] == 1


async def test_a_gateway_that_stops_answers_what_is_in_its_hands(settings, tmp_path, device):
    http, websocket, coap = free_ports(3)
    ports = {"gateway_http": http, "gateway_websocket": websocket, "gateway_coap": coap}
    own = settings.model_copy(update={name: f"127.0.0.1:{port}" for name, port in ports.items()} | {"gateway_device_rate": 0})
    authorization = bearer(settings, device)
    with Worker(own, tmp_path, instance="stopping", module="streams.gateway") as gateway:
        gateway.wait_for("coap_listening")
        async with connected(own, authorization) as opened:
            sent, delivered = 0, []
            stopping = None
            while True:
                for _ in range(50):
                    if not opened.closed:
                        await opened.send_json({"id": sent, "topic": topic(device), "data": {"sequence": sent}})
                        sent += 1
                message = await opened.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                delivered.append(message.json()["id"])
                if len(delivered) == 200:
                    stopping = asyncio.create_task(asyncio.to_thread(gateway.stop))
        assert message.data == aiohttp.WSCloseCode.GOING_AWAY
        assert await stopping == 0
    assert numbers(records(settings, device)) == delivered


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gateway_http": "0.0.0.0:18090"}, "HEADRACE_GATEWAY_CERTIFICATE and HEADRACE_GATEWAY_KEY"),
        ({"gateway_http": "127.0.0.1:18090", "gateway_certificate": "nowhere.pem"}, "TLS of the gateway"),
    ],
    ids=["plain-text", "no-certificate"],
)
def test_a_gateway_that_could_not_listen_safely_does_not_start(stack, tmp_path, changes, said):
    own = stack.settings.model_copy(update=changes)
    with Worker(own, tmp_path, instance="unsafe", module="streams.gateway") as gateway:
        assert gateway.process.wait(timeout=PATIENCE) == 1
    assert said in gateway.log.read_text()


@pytest.mark.parametrize(("protocol", "kind"), [("http", socket.SOCK_STREAM), ("coap", socket.SOCK_DGRAM)])
def test_a_gateway_whose_port_is_taken_says_which_and_does_not_start(stack, tmp_path, protocol, kind):
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        own = stack.settings.model_copy(update={f"gateway_{protocol}": address})
        with Worker(own, tmp_path, instance="late", module="streams.gateway") as gateway:
            assert gateway.process.wait(timeout=PATIENCE) == 1
    said = gateway.log.read_text()
    assert f"cannot listen on {address}" in said
    assert f"HEADRACE_GATEWAY_{protocol.upper()}" in said
    assert "Traceback" not in said
