"""People tell devices to do things, over every protocol, through a real gateway that may be killed in between."""

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager, closing
from uuid import uuid4

import aiocoap
import aiohttp
import httpx
import orjson
import polars as pl
import pytest
from confluent_kafka.admin import AdminClient
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from agents.gateway.standing import ANSWER_MS
from bench.jobs import delete_group
from deploy.embedded.preflight import free_ports
from schemas.catalog import COMMAND_EVENTS, COMMANDS, DEAD_LETTERS
from streams.mqtt import connect
from tests.conformance.test_protocols import let_in, made
from tests.integration.line import PATIENCE, Topics, Worker, headrace, http, is_ready, produce, sample, wait

LIGHTS = 50
COAP_SECONDS = 15  # then a device asks anew: over UDP it does not hear that the gateway has forgotten it


@pytest.fixture(scope="module")
def settings(stack):
    ports = dict(zip(("gateway_http", "gateway_websocket", "gateway_coap"), free_ports(3), strict=True))
    return stack.settings.model_copy(update={name: f"127.0.0.1:{port}" for name, port in ports.items()})


class Gateway:
    """A gateway that can be killed and started again at the same place."""

    def __init__(self, settings, folder, instance=""):
        self.settings, self.folder, self.instance = settings, folder, instance
        self.port = free_ports(1)[0]
        self.start()

    def start(self):
        self.worker = Worker(self.settings, self.folder, instance=self.instance, module="streams.gateway", port=self.port)
        wait(self.is_ready, lambda: f"not ready:\n{self.worker.tail()}", worker=self.worker)

    def restart(self):
        self.worker.kill()
        self.start()

    def is_ready(self):
        return is_ready(self.worker) and "coap_listening" in self.worker.log.read_text()

    def ask(self, command, **request):
        answer = http.post(f"http://127.0.0.1:{self.port}/api/commands", json={"command": command, **request}, timeout=30)
        assert answer.is_success, answer.text
        return answer.json()["request_id"]

    def show(self, request):
        answer = http.get(f"http://127.0.0.1:{self.port}/api/commands", params={"request_id": request}, timeout=30)
        assert answer.is_success, f"{answer.text}\n{self.worker.tail()}"
        return answer.json()

    def counts(self, request):
        return self.show(request)["counts"]

    async def until(self, request, **counts):
        await until(lambda: self.counts(request) == counts, lambda: f"{self.counts(request)}\n{self.worker.tail()}")


@pytest.fixture(scope="module")
def gateway(settings, tmp_path_factory):
    delete_group(AdminClient({"bootstrap.servers": settings.kafka}), "gateway")
    running = Gateway(settings, tmp_path_factory.mktemp("gateway"))
    yield running
    running.worker.kill()


@pytest.fixture
def topics(settings):
    with closing(Topics(settings)) as topics:
        yield topics


def audit(topics, *, device):
    """What was told of a device's commands, in the order of its times."""
    return topics.frame(COMMAND_EVENTS).filter(device_id=device).sort("at", maintain_order=True)["status"].to_list()


async def until(condition, otherwise):
    deadline = time.monotonic() + PATIENCE
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, otherwise()
        await asyncio.sleep(0.1)


class Lamp:
    """A street light: notes what it is told, does each command once, and answers as it is set to."""

    def __init__(self, settings, name, token):
        self.settings, self.name, self.token = settings, name, token
        self.told, self.done = [], []
        self.answers = [{"delivered": True}, {"ok": True}]

    async def hear(self, command):
        self.told.append(command)
        if command["command_id"] not in self.done:
            self.done.append(command["command_id"])
        for answer in self.answers:
            await self.answer(command["command_id"], answer)

    async def come(self):
        self.listening = asyncio.create_task(self.listen())

    async def go(self):
        self.listening.cancel()
        (end,) = await asyncio.gather(self.listening, return_exceptions=True)
        if isinstance(end, Exception):
            raise end

    async def listen(self):
        while True:
            try:
                await self.connected()
            except TimeoutError:
                continue
            except (aiohttp.ClientError, ConnectionError, aiocoap.error.Error):
                await asyncio.sleep(0.2)  # the gateway is away


class HttpLamp(Lamp):
    @property
    def url(self):
        return f"http://{self.settings.gateway_http}/commands"

    async def connected(self):
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.token}"}) as self.client:
            while True:
                async with self.client.get(self.url, params={"wait": "30"}) as answer:
                    for command in (await answer.json())["commands"]:
                        await self.hear(command)

    async def answer(self, command_id, answer):
        async with self.client.post(f"{self.url}/{command_id}", json=answer) as taken:
            assert taken.status == 202


class WebSocketLamp(Lamp):
    async def connected(self):
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"ws://{self.settings.gateway_websocket}/messages"
        async with aiohttp.ClientSession(headers=headers) as client, client.ws_connect(url) as self.socket:
            async for frame in self.socket:
                document = frame.json()
                if "command" in document:
                    await self.hear(document["command"])
                else:
                    assert document["verdict"] == "delivered"
        await asyncio.sleep(0.2)

    async def answer(self, command_id, answer):
        await self.socket.send_json({"command_id": command_id, **answer})


class CoapLamp(Lamp):
    @property
    def url(self):
        return f"coap://{self.settings.gateway_coap}/commands"

    async def connected(self):
        self.client = await aiocoap.Context.create_client_context(transports=["udp6"])
        try:
            asked = self.client.request(aiocoap.Message(code=aiocoap.GET, uri=f"{self.url}?token={self.token}", observe=0))
            await self.take(await asked.response)
            async with asyncio.timeout(COAP_SECONDS):
                async for notification in asked.observation:
                    await self.take(notification)
        finally:
            await self.client.shutdown()

    async def take(self, notification):
        for command in orjson.loads(notification.payload):
            await self.hear(command)

    async def answer(self, command_id, answer):
        uri = f"{self.url}/{command_id}?token={self.token}"
        request = aiocoap.Message(code=aiocoap.POST, uri=uri, payload=orjson.dumps(answer))
        assert (await self.client.request(request).response).code == aiocoap.CHANGED


class MqttLamp(Lamp):
    async def come(self):
        loop = asyncio.get_running_loop()
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self.client.on_connect = lambda *_: self.client.subscribe(f"devices/{self.name}/command", qos=1)
        self.client.on_subscribe = lambda *_: self.report()
        self.client.on_message = lambda _client, _data, message: asyncio.run_coroutine_threadsafe(
            self.hear(orjson.loads(message.payload)), loop
        )
        connect(self.client, self.settings.mqtt)
        await until(self.client.is_connected, lambda: "no MQTT broker")

    def report(self):
        self.client.publish(f"lights/{self.name}/status", orjson.dumps({"timestamp": int(time.time() * 1000), "on": True}), qos=1)

    async def go(self):
        self.client.disconnect()
        self.client.loop_stop()

    async def answer(self, command_id, answer):
        self.client.publish(f"devices/{self.name}/command/ack", orjson.dumps({"command_id": command_id, **answer}), qos=1)


LAMPS = (MqttLamp, HttpLamp, WebSocketLamp, CoapLamp)


@pytest.fixture(params=LAMPS, ids=lambda lamp: lamp.__name__)
def lamp(request, settings, gateway):
    name = f"lamp-{uuid4().hex[:12]}"
    return request.param(settings, name, let_in(settings, made(settings, name)))


@asynccontextmanager
async def there(lamp):
    await lamp.come()
    try:
        yield lamp
    finally:
        await lamp.go()


async def test_a_device_that_is_there_is_told_with_parameters_and_its_success_is_shown(gateway, topics, lamp):
    async with there(lamp):
        request = gateway.ask("switch-on", device=lamp.name, parameters={"brightness": 80}, by="test")
        await gateway.until(request, ACKNOWLEDGED=1)
    (command,) = lamp.told
    assert (command["command"], command["parameters"]) == ("switch-on", {"brightness": 80})
    told = audit(topics, device=lamp.name)
    assert Counter(told) == dict.fromkeys(("QUEUED", "DISPATCHED", "DELIVERED", "ACKNOWLEDGED"), 1)
    assert topics.frame(DEAD_LETTERS).filter(topic=f"devices/{lamp.name}/command/ack").is_empty()


async def test_what_a_device_could_not_do_is_shown_with_its_reason(gateway, lamp):
    lamp.answers = [{"ok": False, "detail": "no power"}]
    async with there(lamp):
        request = gateway.ask("switch-on", device=lamp.name)
        await gateway.until(request, FAILED=1)
    assert gateway.show(request)["commands"][0]["detail"] == "no power"


async def test_a_device_that_says_nothing_is_told_of_and_its_late_answer_counts(gateway, lamp):
    lamp.answers = [{"delivered": True}]
    async with there(lamp):
        request = gateway.ask("switch-on", device=lamp.name)
        await gateway.until(request, UNANSWERED=1)
        await lamp.answer(lamp.told[0]["command_id"], {"ok": True})
        await gateway.until(request, ACKNOWLEDGED=1)
    assert len(lamp.done) == 1


async def test_a_device_that_is_away_is_told_when_it_comes_and_not_after_the_command_expired(gateway, topics, lamp):
    expired = gateway.ask("switch-on", device=lamp.name, expires_seconds=1)
    waiting = gateway.ask("switch-off", device=lamp.name)
    await gateway.until(expired, EXPIRED=1)
    assert gateway.counts(waiting) == {"QUEUED": 1}
    gateway.restart()
    assert gateway.counts(waiting) == {"QUEUED": 1}
    async with there(lamp):
        await gateway.until(waiting, ACKNOWLEDGED=1)
    assert [command["command"] for command in lamp.told] == ["switch-off"]
    assert gateway.counts(expired) == {"EXPIRED": 1}


async def test_a_gateway_killed_while_the_device_is_at_it_loses_nothing_and_no_command_is_done_twice(gateway, topics, lamp):
    lamp.answers = []
    async with there(lamp):
        request = gateway.ask("switch-on", device=lamp.name)
        await until(lambda: lamp.told, gateway.worker.tail)
        gateway.worker.kill()
        lamp.answers = [{"ok": True}]
        await asyncio.to_thread(gateway.start)
        if isinstance(lamp, MqttLamp):  # of which the gateway knows that it is there when it says something
            await asyncio.sleep(ANSWER_MS / 1000)
            lamp.report()
        await gateway.until(request, ACKNOWLEDGED=1)
    assert len(lamp.done) == 1
    assert {command["command_id"] for command in lamp.told} == set(lamp.done)
    assert audit(topics, device=lamp.name).count("ACKNOWLEDGED") >= 1


async def test_one_request_switches_a_group_of_lights_and_says_of_each_what_became_of_it(gateway, settings):
    district = f"district-{uuid4().hex[:12]}"
    names = [f"lamp-{uuid4().hex[:12]}" for _ in range(LIGHTS)]
    status, said = await asyncio.to_thread(
        headrace, settings, "groups", "set", f"lights-{district}", *names, "--data-type", "lighting", "--district", district
    )
    assert status == 0, said
    lamps = [MqttLamp(settings, name, "") for name in names]
    lamps[0].answers = [{"ok": False}]
    lamps[1].answers = []
    try:
        for each in lamps:
            await each.come()
        asked = settings.model_copy(update={"gateway": f"http://127.0.0.1:{gateway.port}"})
        words = ["command", "send", "switch-on", "--data-type", "lighting", "--district", district, "--parameters", '{"brightness": 80}']
        status, said = await asyncio.to_thread(headrace, asked, *words)
        assert status == 0, said
        request = said.splitlines()[0]
        await gateway.until(request, ACKNOWLEDGED=LIGHTS - 2, FAILED=1, UNANSWERED=1)
        status, said = await asyncio.to_thread(headrace, asked, "command", "show", request, "--limit", 100)
    finally:
        for each in lamps:
            await each.go()
    assert status == 0, said
    assert said.count("ACKNOWLEDGED") == LIGHTS - 1
    assert all(lamp.told[0]["parameters"] == {"brightness": 80} for lamp in lamps)
    page = gateway.show(request)["commands"]
    assert [each["device_id"] for each in page] == sorted(names)


async def test_a_device_is_told_and_heard_for_itself_only(gateway, settings, lamp):
    other = f"lamp-{uuid4().hex[:12]}"
    token = let_in(settings, made(settings, other))
    request = gateway.ask("switch-on", device=lamp.name)
    (command,) = gateway.show(request)["commands"]
    async with httpx.AsyncClient(base_url=f"http://{settings.gateway_http}", headers={"Authorization": f"Bearer {token}"}) as client:
        assert (await client.get("/commands")).json() == {"commands": []}
        assert (await client.post(f"/commands/{command['command_id']}", json={"ok": True})).status_code == 404
        assert (await client.post("/commands/7", json={"ok": True})).status_code == 400
        assert (await client.get("/commands", headers={"Authorization": ""})).status_code == 401
    assert gateway.counts(request) == {"QUEUED": 1}


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"command": "on"}, 400),
        ({"command": "On!", "device": "lamp-1"}, 400),
        ({"command": "on", "device": "a/b"}, 400),
        ({"command": "on", "device": "lamp-1", "parameters": []}, 400),
        ({"command": "on", "device": "lamp-1", "parameters": {"x": "y" * 9_000}}, 400),
        ({"command": "on", "device": "lamp-1", "expires_seconds": 1e9}, 400),
        ({"command": "on", "group": {"name": "nobody"}}, 404),
    ],
)
def test_what_cannot_be_asked_is_refused(gateway, request_, status):
    assert http.post(f"http://127.0.0.1:{gateway.port}/api/commands", json=request_).status_code == status


async def test_a_request_that_is_made_again_under_its_id_is_one(gateway, lamp):
    async with there(lamp):
        request = gateway.ask("switch-on", device=lamp.name, request_id=uuid4().hex)
        assert gateway.ask("switch-on", device=lamp.name, request_id=request) == request
        await gateway.until(request, ACKNOWLEDGED=1)
    assert len(lamp.done) == 1


async def test_what_a_rule_tells_a_device_reaches_it_too(gateway, settings, topics):
    lamp = MqttLamp(settings, f"lamp-{uuid4().hex[:12]}", "")
    now = int(time.time() * 1000)
    row = sample(COMMANDS, 1, command_id=uuid4().hex, tenant="default", domain="city", plant="", command="switch-off")
    row = row.with_columns(rule=pl.lit("light-faulty"), parameters=pl.lit("{}"), request_id=pl.lit(""), expires_at=pl.lit(now + 65_000))
    row = row.with_columns(device_id=pl.lit(lamp.name))
    async with there(lamp):
        await asyncio.to_thread(produce, settings, COMMANDS, row)
        await until(lambda: "ACKNOWLEDGED" in audit(topics, device=lamp.name), gateway.worker.tail)
    assert [(command["command"], command["rule"]) for command in lamp.told] == [("switch-off", "light-faulty")]


async def test_a_device_at_another_gateway_is_told_by_that_one(gateway, settings, tmp_path):
    places = dict(zip(("gateway_http", "gateway_websocket", "gateway_coap"), free_ports(3), strict=True))
    there_too = settings.model_copy(update={name: f"127.0.0.1:{port}" for name, port in places.items()})
    name = f"lamp-{uuid4().hex[:12]}"
    token = let_in(settings, made(settings, name))
    second = Gateway(there_too, tmp_path, instance="others")
    try:
        for kind in (HttpLamp, WebSocketLamp, CoapLamp):
            lamp = kind(there_too, name, let_in(there_too, token))
            async with there(lamp):
                request = gateway.ask("switch-on", device=name)
                await gateway.until(request, ACKNOWLEDGED=1)
                assert second.counts(request) == {"ACKNOWLEDGED": 1}
            assert len(lamp.done) == 1
    finally:
        second.worker.kill()
