"""Fuzzed messages over each protocol, and what the gateway said of each: a verdict, or why it was refused."""

import asyncio
import base64
import itertools
import socket
from collections import Counter

import aiocoap
import aiohttp
import orjson
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from streams.mqtt import connect

SECONDS = 120
"""Nothing the gateway is asked takes longer, however busy the machine is."""
REFUSALS = frozenset({400, 404, 405, 411, 413, 415, 431})
"""Statuses that say what is wrong with a request; 5xx says what is wrong with the gateway."""
VERDICTS = frozenset({"delivered", "spooled", "duplicate", "coalesced", "rejected"})
TOGETHER = 300
ENCODINGS = ("gzip", "deflate", "br", "snappy", "x-gzip", "identity", "")


class Tally:
    """What became of the messages of one protocol."""

    def __init__(self):
        self.sent = 0
        self.said = Counter()
        self.problems = []

    def note(self, sent, said):
        self.sent += len(sent)
        self.said.update(said)
        if len(said) != len(sent):
            self.problems.append(f"{len(said)} answers to {len(sent)} messages")

    @property
    def accepted(self):
        """Messages the gate took."""
        return sum(count for said, count in self.said.items() if said in VERDICTS)


async def http(settings, fuzz, tally, wanted, over):
    """Batches, and now and then a request by itself: its body may be of any type, and packed in any way."""
    timeout = aiohttp.ClientTimeout(SECONDS)
    async with aiohttp.ClientSession(f"http://{settings.gateway_http}", timeout=timeout) as client:
        while tally.sent < wanted and not over():
            if fuzz.chance.random() < 0.2:
                await asyncio.gather(*(_single(client, fuzz, tally) for _ in range(20)))
            else:
                await _batch(client, fuzz, tally)


async def _batch(client, fuzz, tally):
    items, size = [], 0
    while len(items) < TOGETHER and size < 1_000_000:
        items.append(item := _item(fuzz))
        size += len(item.get("payload_base64", "")) + 200
    async with client.post("/messages", data=orjson.dumps(items)) as answer:
        body = await answer.read()
        if answer.status == 202:
            told = orjson.loads(body)
            said = told["verdicts"]
            for wrong in told.get("errors", ()):  # at the door: the gate knows nothing of them
                said[wrong["index"]] = "refused"
            tally.note(items, said)
        else:
            _refused(tally, items, answer.status, body)


def _item(fuzz):
    sent = fuzz.one()
    item = {"topic": sent.topic, "content_type": sent.content_type, "headers": sent.headers}
    try:
        document = orjson.loads(sent.payload)
        assert fuzz.chance.random() < 0.5
        return item | {"data": orjson.loads(orjson.dumps(document))}
    except (ValueError, TypeError, AssertionError):
        return item | {"payload_base64": base64.b64encode(sent.payload).decode()}


async def _single(client, fuzz, tally):
    sent = fuzz.one()
    headers = {"Content-Type": sent.content_type} if sent.content_type else {}
    headers |= {f"Headrace-{name}": text for name, text in sent.headers.items() if name.isascii() and text.isascii()}
    if fuzz.chance.random() < 0.1:
        headers["Content-Encoding"] = fuzz.chance.choice(ENCODINGS)
    path = "/messages/" + "/".join(map(_quoted, sent.topic.split("/")))
    try:
        async with client.post(path, data=sent.payload, headers=headers) as answer:
            body = await answer.read()
            if answer.status == 202:
                tally.note([sent], [orjson.loads(body)["verdict"]])
            else:
                _refused(tally, [sent], answer.status, body)
    except aiohttp.ClientPayloadError:
        tally.note([sent], ["cut"])


def _quoted(level):
    return "".join(f"%{byte:02X}" for byte in level.encode())


def _refused(tally, sent, status, body):
    tally.note(sent, [f"refused {status}"] * len(sent))
    if status not in REFUSALS:
        tally.problems.append(f"HTTP {status}: {body[:300]!r}")


async def websocket(settings, fuzz, tally, wanted, over):
    """Frames by the hundred; some are no frames."""
    async with aiohttp.ClientSession() as client:
        while tally.sent < wanted and not over():
            async with client.ws_connect(f"ws://{settings.gateway_websocket}/messages", max_msg_size=0) as opened:
                await _exchange(opened, fuzz, tally)


async def _exchange(opened, fuzz, tally):
    frames = []
    for number in range(TOGETHER):
        text = orjson.dumps(_item(fuzz) | {"id": number})
        if fuzz.chance.random() < 0.05:
            text = text[: fuzz.chance.randrange(len(text))]
        frames.append(text)

    async def write():
        for frame in frames:
            await opened.send_str(frame.decode("utf-8", "replace"))

    writing, answers = asyncio.create_task(write()), []
    while len(answers) < len(frames):
        message = await opened.receive(SECONDS)
        if message.type is not aiohttp.WSMsgType.TEXT:
            tally.problems.append(f"WebSocket closed: {message.type} {message.data} after {len(answers)} of {len(frames)} answers")
            break
        answer = message.json()
        if "slow_down_seconds" not in answer:
            answers.append(answer.get("verdict", "refused"))
    writing.cancel()
    tally.note(frames, answers)


async def coap(settings, fuzz, tally, wanted, over):
    """Requests with Content-Formats of any number, and datagrams of noise between them."""
    client = await aiocoap.Context.create_client_context(transports=["udp6"])
    host, _, port = settings.gateway_coap.rpartition(":")
    noise = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        while tally.sent < wanted and not over():
            for _ in range(3):
                noise.sendto(fuzz.chance.randbytes(fuzz.chance.randrange(60)), (host, int(port)))
            await asyncio.gather(*(_request(client, settings, fuzz, tally) for _ in range(16)))
    finally:
        noise.close()
        await client.shutdown()


async def _request(client, settings, fuzz, tally):
    sent = fuzz.one()
    request = aiocoap.Message(code=aiocoap.POST, uri=f"coap://{settings.gateway_coap}/messages", payload=sent.payload[:60_000])
    request.opt.uri_path = ("messages", *(level[:200] for level in sent.topic.split("/")[:40]))
    request.opt.content_format = fuzz.chance.choice((None, 0, 42, 50, 60, 110, 112, 11_050, 65_000))
    request.opt.uri_query = tuple(f"{name}={text}"[:200] for name, text in sent.headers.items())
    try:
        answer = await asyncio.wait_for(client.request(request).response, SECONDS)
    except (aiocoap.error.Error, TimeoutError) as error:
        tally.note([sent], ["lost"])
        tally.problems.append(f"CoAP: {error!r}")
        return
    said = answer.payload.decode("utf-8", "replace")
    tally.note([sent], [said if answer.code.is_successful() or said in VERDICTS else f"refused {answer.code.dotted}"])
    if answer.code.class_ == 5:
        tally.problems.append(f"CoAP {answer.code}: {answer.payload[:200]!r}")


async def mqtt(settings, fuzz, tally, wanted, over):
    """What a broker passes on, which answers for the gateway: what becomes of it is seen in the ledger."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.max_inflight_messages_set(1_000)
    connect(client, settings.mqtt)
    while not client.is_connected():  # noqa: ASYNC110, the condition is another thread's
        await asyncio.sleep(0.01)
    try:
        while tally.sent < wanted and not over():
            published = [each for each in (_publish(client, fuzz) for _ in range(TOGETHER)) if each]
            for each in published:
                await asyncio.to_thread(each.wait_for_publish, SECONDS)
                if not each.is_published():
                    tally.problems.append("MQTT: the broker takes nothing")
                    return
            tally.note(published, ["published"] * len(published))
    finally:
        client.disconnect()
        client.loop_stop()


def _publish(client, fuzz):
    sent = fuzz.one()
    if len(sent.topic.encode()) > 60_000 or not sent.payload:  # an empty one is the broker's housekeeping
        return None
    told = Properties(PacketTypes.PUBLISH)
    if sent.content_type:
        told.ContentType = sent.content_type
    if sent.headers:
        told.UserProperty = list(itertools.chain.from_iterable([pair] * fuzz.chance.choice((1, 2, 30)) for pair in sent.headers.items()))
    return client.publish(sent.topic, sent.payload, qos=fuzz.chance.choice((1, 1, 2)), properties=told)


SENDERS = {http: 0.45, websocket: 0.25, mqtt: 0.27, coap: 0.03}
"""Each protocol's part of the messages: CoAP has one request in a datagram."""
