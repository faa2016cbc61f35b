"""The same facts of every protocol that devices speak to the gateway."""

import asyncio
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from uuid import uuid4

import httpx
import orjson
import pytest
from confluent_kafka import Consumer, TopicPartition

from agents.gateway.identity import PUBLISH, Credential, Kind, digest
from agents.gateway.sparkplug.wire import PAYLOAD
from deploy.embedded.preflight import free_ports
from schemas.catalog import CREDENTIALS, TEMPERATURE
from schemas.registry import Registry
from schemas.wire import decode
from streams import operators
from tests.conformance.devices import DEVICES, Lost, Mqtt
from tests.integration.line import PATIENCE, Worker, headrace, http, wait


@pytest.fixture(scope="module")
def settings(stack, tmp_path_factory):
    """Of a gateway that speaks everything, and lets a device send 5 messages a second, and 50 at once."""
    http, websocket, coap, _ = free_ports(4)
    ports = {"gateway_http": http, "gateway_websocket": websocket, "gateway_coap": coap}
    return stack.settings.model_copy(update={name: f"127.0.0.1:{port}" for name, port in ports.items()} | {"gateway_device_rate": 5})


@pytest.fixture(scope="module")
def token(settings):
    """Of a device that may publish for all others, as a site's own hub does."""
    return made(settings, "hub", "#")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("gateway")


@pytest.fixture(scope="module")
def running(settings, folder, token):
    with started(settings, folder) as gateway:
        yield gateway


@pytest.fixture
def device():
    return f"d-{uuid4().hex[:12]}"


def made(settings, device, publish=PUBLISH):
    """A new token of the device, as headrace device token makes it."""
    token = secrets.token_urlsafe()
    about = {"kind": Kind.TOKEN, "name": f"token-{token[:8]}", "secret": digest(token), "publish": publish}
    credential = Credential(tenant=settings.tenant, device=device, **about)
    with ThreadPoolExecutor(1) as apart:  # from the loop of a test
        apart.submit(asyncio.run, operators.apply(settings, CREDENTIALS, f"{credential.tenant}/{device}", [credential])).result()
    return token


def let_in(settings, token, tls=None, *, status=202):
    """Wait until a running gateway has heard of a token, and of all credentials before it, or that it is revoked; the token."""
    url = f"{'https' if tls else 'http'}://{settings.gateway_http}/messages"
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(verify=tls.context if tls else True, headers=headers) as client:
        wait(lambda: client.post(url, json=[]).status_code == status, lambda: f"the token's status is not {status}")
    return token


def started(settings, folder):
    gateway = Worker(settings, folder, module="streams.gateway")
    wait(lambda: is_ready(gateway), lambda: f"not ready:\n{gateway.tail()}", worker=gateway)
    return gateway


def is_ready(gateway):
    try:
        return http.get(f"http://127.0.0.1:{gateway.port}/ready").status_code == 200 and "coap_listening" in gateway.log.read_text()
    except httpx.TransportError:
        return False


def records(settings, device, expected=0):
    """A device's temperatures in Kafka: envelope and headers, in order; for as many as are expected it waits."""
    registry = Registry(settings.registry, settings.data / "test-schemas")
    writers = {registry.register(TEMPERATURE): TEMPERATURE.codec}
    deadline = time.monotonic() + PATIENCE
    while True:
        found = [message for message in in_topic(settings) if message.key() == device.encode()]
        if len(found) >= expected:
            break
        assert time.monotonic() < deadline, f"{len(found)} of {expected} records"
        time.sleep(0.2)
    envelopes = decode([message.value() for message in found], TEMPERATURE.codec, writers).frame.to_dicts()
    return [(envelope, dict(message.headers() or ())) for envelope, message in zip(envelopes, found, strict=True)]


def in_topic(settings):
    with closing(Consumer({"bootstrap.servers": settings.kafka, "group.id": "conformance", "log_level": 0})) as consumer:
        partitions = [TopicPartition(TEMPERATURE.topic, number, 0) for number in range(TEMPERATURE.partitions)]
        ends = sum(consumer.get_watermark_offsets(partition, timeout=10)[1] for partition in partitions)
        consumer.assign(partitions)
        found = []
        while len(found) < ends:
            found += consumer.consume(10_000, timeout=0.2)
        return found


def topic(device):
    return f"sensors/{device}/temperature"


def reading(number):
    return orjson.dumps({"timestamp": int(time.time() * 1000), "sequence": number, "value": 20 + number})


def numbers(found):
    return [orjson.loads(envelope["data"])["sequence"] for envelope, _ in found]


every = pytest.mark.parametrize("protocol", DEVICES, ids=lambda protocol: protocol.source)
confirming = pytest.mark.parametrize("protocol", [each for each in DEVICES if each.confirms], ids=lambda protocol: protocol.source)
pytestmark = pytest.mark.usefixtures("running")


@every
async def test_a_message_is_in_its_topic_when_it_is_acknowledged(settings, token, device, protocol):
    before, payload = int(time.time() * 1000), reading(1)
    async with protocol(settings, token) as sender:
        assert await sender.send(topic(device), payload, message_id="m-1", firmware="2.1") == "delivered"
        ((envelope, headers),) = records(settings, device, expected=0 if sender.confirms else 1)
    assert (envelope["message_id"], envelope["device_id"], envelope["tenant_id"]) == ("m-1", device, settings.tenant)
    assert (envelope["source_protocol"], envelope["original_topic"]) == (protocol.source, topic(device))
    assert (envelope["data"], envelope["data_type"]) == (payload.decode(), "environment")
    assert envelope["metadata"] == {"qos": 1, "priority": "NORMAL", "gateway_node": "gateway-0"}
    assert before <= envelope["ingestion_time"] <= envelope["processing_time"] <= int(time.time() * 1000)
    expected = {"device_id": device.encode(), "tenant_id": settings.tenant.encode(), "priority": b"NORMAL", "firmware": b"2.1"}
    assert expected.items() <= headers.items()


@every
async def test_messages_of_one_device_stay_in_their_order(settings, device, protocol):
    own = let_in(settings, made(settings, device))
    async with protocol(settings, own) as sender:
        verdicts = await sender.send_all([(topic(device), reading(number)) for number in range(40)])
    assert set(verdicts) == {"delivered"}
    assert numbers(records(settings, device, expected=40)) == list(range(40))


@every
async def test_what_cannot_be_decoded_goes_on_as_raw_hexadecimal(settings, token, device, protocol):
    garbage = b"\xff\x00{not json"
    async with protocol(settings, token) as sender:
        assert await sender.send(topic(device), garbage) == "delivered"
    ((envelope, _),) = records(settings, device, expected=1)
    assert (envelope["data"], envelope["data_type"]) == (garbage.hex(), "raw")


@every
async def test_a_message_that_came_before_is_acknowledged_and_not_written_again(settings, token, device, protocol):
    async with protocol(settings, token) as sender:
        verdicts = [await sender.send(topic(device), reading(n), message_id=f"m-{n}") for n in (1, 1, 2)]
    assert verdicts == (["delivered", "duplicate", "delivered"] if protocol.confirms else ["delivered"] * 3)
    assert numbers(records(settings, device, expected=2)) == [1, 2]


@every
async def test_a_message_that_is_too_large_is_refused_and_holds_up_nobody(settings, token, device, protocol):
    async with protocol(settings, token) as sender, protocol(settings, token) as other:
        verdict, *others = await asyncio.gather(
            sender.send(topic(device), b"x" * 2_000_000), *(other.send(topic(device), reading(n)) for n in range(1))
        )
        assert verdict in (("delivered",) if protocol is Mqtt else ("too-large", "malformed"))
        assert others == ["delivered"]
        assert await sender.send(topic(device), reading(1)) == "delivered"
    assert sorted(numbers(records(settings, device, expected=2))) == [0, 1]


@every
async def test_nothing_that_was_acknowledged_is_lost_with_the_gateway(settings, token, folder, running, device, protocol):
    acknowledged, sent = [], 0
    async with protocol(settings, token) as sender:

        async def flow():
            nonlocal sent
            while True:
                sent += 1
                assert await sender.send(topic(device), reading(sent), message_id=f"m-{sent}") == "delivered"
                acknowledged.append(sent)

        flowing = asyncio.create_task(flow())
        while len(acknowledged) < 20:  # noqa: ASYNC110, the gateway answers in its own time
            await asyncio.sleep(0.01)
        running.kill()
        await asyncio.sleep(0.2)
        flowing.cancel()
        with pytest.raises((asyncio.CancelledError, Lost)):
            await flowing
        again = await asyncio.to_thread(started, settings, folder)
        running.process, running.log, running.port = again.process, again.log, again.port
        assert await sender.send(topic(device), reading(sent), message_id=f"m-{sent}") in ("delivered", "duplicate")
    assert {*acknowledged, sent} <= {*numbers(records(settings, device, expected=len(acknowledged)))}


@confirming
async def test_who_cannot_say_who_it_is_publishes_nothing(settings, device, protocol):
    for credential in ("", "not-a-token"):
        async with protocol(settings, credential) as sender:
            assert await sender.send(topic(device), reading(1)) == "unauthorised"
    assert records(settings, device) == []


@confirming
async def test_a_device_publishes_for_itself_and_for_no_other_until_its_token_is_revoked(settings, device, protocol):
    own = let_in(settings, made(settings, device))
    async with protocol(settings, own) as sender:
        assert await sender.send(topic(device), reading(1)) == "delivered"
        assert await sender.send(topic(f"{device}-2"), reading(1)) == "forbidden"
        status, said = headrace(settings, "device", "revoke", device)
        assert status == 0, said
        let_in(settings, own, status=401)
        assert await sender.send(topic(device), reading(2)) in ("unauthorised", "forbidden")
    assert numbers(records(settings, device)) == [1]
    assert records(settings, f"{device}-2") == []


@confirming
async def test_an_edge_node_of_sparkplug_speaks_for_the_devices_under_it_and_for_no_others(settings, device, protocol):
    own, data = (
        let_in(settings, made(settings, f"{device}~edge")),
        PAYLOAD(metrics=[{"name": b"t", "double_value": 1.0}]).SerializeToString(),
    )
    async with protocol(settings, own) as sender:
        said = [
            await sender.send(f"spBv1.0/{place}", data) for place in (f"{device}/DDATA/edge/d", f"{device}/DDATA/other/d", "g/NDATA/edge")
        ]
    assert said == ["delivered", "forbidden", "forbidden"]


@confirming
async def test_what_names_no_topic_is_refused(settings, token, protocol):
    async with protocol(settings, token) as sender:
        assert await sender.send("sensors/+/temperature", b"{}") == "malformed"


@confirming
async def test_who_sends_more_than_it_may_is_told_so_and_keeps_what_was_not_taken(settings, device, protocol):
    own = let_in(settings, made(settings, device))
    async with protocol(settings, own) as sender:
        verdicts = await sender.send_all([(topic(device), reading(number)) for number in range(150)])
    assert set(verdicts) == {"delivered", "full"}
    assert verdicts.index("full") >= 50
    assert numbers(records(settings, device)) == [number for number, verdict in enumerate(verdicts) if verdict == "delivered"]
