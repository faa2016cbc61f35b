"""Devices and the gateway over TLS: who each is, and certificates that are renewed."""

import asyncio
import ssl
from base64 import b64encode
from uuid import uuid4

import pytest

from deploy.embedded.preflight import free_ports
from tests.conformance.authority import Authority
from tests.conformance.devices import Coap, Http, Lost, Trust, WebSocket
from tests.conformance.test_protocols import let_in, made, reading, records, topic
from tests.integration.line import PATIENCE, Worker, headrace

PROTOCOLS = (Http, WebSocket, Coap)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def settings(stack, authority):
    http, websocket, coap = free_ports(3)
    ports = {"gateway_http": http, "gateway_websocket": websocket, "gateway_coap": coap}
    certificate, key = map(str, authority.issue("gateway"))
    tls = {"gateway_certificate": certificate, "gateway_key": key, "gateway_client_ca": str(authority.path)}
    return stack.settings.model_copy(update={name: f"127.0.0.1:{port}" for name, port in ports.items()} | tls)


@pytest.fixture(scope="module", autouse=True)
def running(settings, tmp_path_factory):
    with Worker(settings, tmp_path_factory.mktemp("gateway"), module="streams.gateway") as gateway:
        for protocol in ("http", "websocket", "coap"):
            gateway.wait_for(f"{protocol}_listening")
        yield gateway


@pytest.fixture
def device():
    return f"t-{uuid4().hex[:12]}"


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.source)
async def test_a_device_with_a_token_publishes_over_tls(settings, authority, device, protocol):
    token = let_in(settings, made(settings, device), Trust(authority.path))
    async with protocol(settings, token, Trust(authority.path)) as sender:
        assert await sender.send(topic(device), reading(1)) == "delivered"
    ((envelope, _),) = records(settings, device)
    assert envelope["source_protocol"] == protocol.source


@pytest.mark.parametrize("protocol", [Http, WebSocket], ids=lambda protocol: protocol.source)
async def test_a_device_is_known_by_its_certificate(settings, authority, device, protocol):
    own = Trust(authority.path, authority.issue(device))
    async with protocol(settings, "", own) as sender:
        assert await sender.send(topic(device), reading(1)) == "unauthorised"
        status, said = headrace(settings, "device", "certificate", device, "--subject", f"CN={device}")
        assert status == 0, said
        let_in(settings, made(settings, device), Trust(authority.path))
        assert await sender.send(topic(device), reading(2)) == "delivered"
        assert await sender.send(topic("another"), reading(2)) == "forbidden"


async def test_a_certificate_of_an_authority_that_is_not_trusted_opens_nothing(settings, authority, device, tmp_path):
    stranger = Authority(tmp_path, "stranger")
    status, said = headrace(settings, "device", "certificate", device, "--subject", f"CN={device}")
    assert status == 0, said
    let_in(settings, made(settings, device), Trust(authority.path))
    async with Http(settings, "", Trust(authority.path, stranger.issue(device))) as sender:
        with pytest.raises(Lost):
            await sender.send(topic(device), reading(1))


async def test_where_there_is_a_certificate_nothing_is_said_in_plain_text(settings, device):
    async with Http(settings, "") as sender:
        with pytest.raises(Lost):
            await sender.send(topic(device), reading(1))


async def test_a_password_opens_the_door_and_a_wrong_one_only_so_often(settings, authority, device):
    status, said = headrace(settings, "device", "passwd", device, "--password", "hunter2")
    assert status == 0, said
    let_in(settings, made(settings, device), Trust(authority.path))

    def login(password):
        return Http(settings, tls=Trust(authority.path), auth=f"Basic {b64encode(f'{device}:{password}'.encode()).decode()}")

    async with login("hunter2") as right, login("hunter3") as wrong:
        assert await right.send(topic(device), reading(1)) == "delivered"
        assert [await wrong.send(topic(device), reading(2)) for _ in range(7)] == ["unauthorised"] * 5 + ["full"] * 2
        # what proved right lately is not asked again
        assert await right.send(topic(device), reading(3)) == "delivered"


async def test_a_renewed_certificate_is_shown_without_a_restart(settings, authority):
    host, _, port = settings.gateway_http.partition(":")

    async def shown():
        _, writer = await asyncio.open_connection(host, int(port), ssl=Trust(authority.path).context)
        number = writer.get_extra_info("peercert")["serialNumber"]
        writer.close()
        return number

    before = await shown()
    authority.issue("gateway")
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                if await shown() != before:
                    break
            except ssl.SSLError:
                pass
            await asyncio.sleep(0.5)
