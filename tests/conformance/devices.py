"""A device of each protocol: sends a message and says what became of it, in the gateway's words."""

import asyncio
import base64
import ssl
from itertools import count

import aiocoap
import aiohttp
from aiocoap.credentials import TLSCert
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from streams.mqtt import connect
from tests.integration.line import PATIENCE

REFUSED = {400: "malformed", 401: "unauthorised", 403: "forbidden", 413: "too-large", 429: "full"}


class Lost(Exception):
    """No answer came: the device is to send the message again."""


class Http:
    source = "http"
    confirms = True

    def __init__(self, settings, token="", tls=None, auth=""):
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://{settings.gateway_http}/messages"
        self.tls, self.authorization = tls, auth or f"Bearer {token}"

    async def __aenter__(self):
        connector = aiohttp.TCPConnector(ssl=self.tls.context) if self.tls else None
        headers = {"Authorization": self.authorization} if self.authorization != "Bearer " else {}
        self.client = aiohttp.ClientSession(connector=connector, headers=headers)
        return self

    async def __aexit__(self, *_):
        await self.client.close()

    async def send(self, topic, payload, *, message_id="", content_type="application/json", **properties):
        headers = {f"Headrace-{name}": text for name, text in properties.items()} | {"Content-Type": content_type}
        headers |= {"Idempotency-Key": message_id} if message_id else {}
        try:
            async with self.client.post(f"{self.url}/{topic}", data=payload, headers=headers) as answer:
                return (await answer.json())["verdict"] if answer.status == 202 else REFUSED[answer.status]
        except aiohttp.ClientError as error:
            raise Lost from error

    async def send_all(self, messages):
        return [await self.send(*message) for message in messages]


class WebSocket(Http):
    source = "websocket"

    def __init__(self, settings, token="", tls=None, auth=""):
        super().__init__(settings, token, tls, auth)
        self.url = f"{'wss' if tls else 'ws'}://{settings.gateway_websocket}/messages"

    async def __aenter__(self):
        await super().__aenter__()
        self.socket, self.numbers = None, count()
        return self

    async def send(self, topic, payload, *, message_id="", content_type="application/json", **properties):
        headers = properties | ({"message_id": message_id} if message_id else {})
        (answer,) = await self._exchange([self._frame(topic, payload, content_type, headers)])
        return answer

    async def send_all(self, messages):
        return await self._exchange([self._frame(topic, payload, "application/json", {}) for topic, payload in messages])

    def _frame(self, topic, payload, content_type, headers):
        given = {"topic": topic, "payload_base64": base64.b64encode(payload).decode(), "content_type": content_type}
        return given | {"headers": headers, "id": next(self.numbers)}

    async def _exchange(self, frames):
        try:
            if self.socket is None or self.socket.closed:
                self.socket = await self.client.ws_connect(self.url)
            sending = asyncio.create_task(self._write(frames))
            answers = []
            while len(answers) < len(frames):
                message = await self.socket.receive(PATIENCE)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    sending.cancel()
                    if message.data == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
                        return ["too-large"]
                    raise Lost
                answer = message.json()
                if "slow_down_seconds" in answer:
                    continue
                assert answer["id"] == frames[len(answers)]["id"]
                answers.append(answer.get("verdict") or "malformed")
        except aiohttp.WSServerHandshakeError as refusal:
            return [REFUSED[refusal.status]]
        except (aiohttp.ClientError, ConnectionError) as error:
            raise Lost from error
        return answers

    async def _write(self, frames):
        for frame in frames:
            await self.socket.send_json(frame)


class Coap:
    source = "coap"
    confirms = True

    def __init__(self, settings, token="", tls=None, auth=""):
        host, _, port = settings.gateway_coap.rpartition(":")
        self.url = f"coaps+tcp://{host}:{int(port) + 1}/messages" if tls else f"coap://{host}:{port}/messages"
        self.token, self.tls = token, tls

    async def __aenter__(self):
        self.client = await aiocoap.Context.create_client_context(transports=["tlsclient" if self.tls else "udp6"])
        if self.tls:
            self.client.client_credentials[self.url.removesuffix("messages") + "*"] = TLSCert(self.tls.authority)
        return self

    async def __aexit__(self, *_):
        await self.client.shutdown()

    async def send(self, topic, payload, *, message_id="", content_type="application/json", **properties):
        said = properties | ({"message_id": message_id} if message_id else {}) | ({"token": self.token} if self.token else {})
        query = "&".join(f"{name}={text}" for name, text in said.items())
        kind = aiocoap.ContentFormat.by_media_type(content_type)
        request = aiocoap.Message(code=aiocoap.POST, uri=f"{self.url}/{topic}?{query}", payload=payload, content_format=kind)
        try:
            answer = await self.client.request(request).response
        except aiocoap.error.Error as error:
            raise Lost from error
        refused = {"4.00": "malformed", "4.01": "unauthorised", "4.03": "forbidden", "4.13": "too-large", "5.03": "full"}
        return answer.payload.decode() if answer.code.is_successful() else refused[answer.code.dotted]

    async def send_all(self, messages):
        return [await self.send(*message) for message in messages]


class Mqtt:
    source = "mqtt"
    confirms = False
    """The broker does, before the gateway has the message: what it then becomes is seen in Kafka only."""

    def __init__(self, settings, token="", tls=None, auth=""):
        self.settings = settings

    async def __aenter__(self):
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        connect(self.client, self.settings.mqtt)
        async with asyncio.timeout(PATIENCE):
            while not self.client.is_connected():  # noqa: ASYNC110, the condition is another thread's
                await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()

    async def send(self, topic, payload, *, message_id="", content_type="application/json", **properties):
        told = Properties(PacketTypes.PUBLISH)
        told.ContentType = content_type
        said = properties | ({"message_id": message_id} if message_id else {})
        if said:
            told.UserProperty = list(said.items())
        sent = self.client.publish(topic, payload, qos=1, properties=told)
        await asyncio.to_thread(sent.wait_for_publish, PATIENCE)
        return "delivered"

    async def send_all(self, messages):
        return [await self.send(*message) for message in messages]


DEVICES = (Mqtt, Http, WebSocket, Coap)


class Trust:
    """TLS of a device that knows the gateway's authority and has, maybe, a certificate and its key."""

    def __init__(self, authority, certificate=None):
        self.authority = authority
        self.context = ssl.create_default_context(cafile=authority)
        if certificate:
            self.context.load_cert_chain(*certificate)
