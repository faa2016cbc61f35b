"""The gateway's devices: who is let in, whether each is there, and what people register, ask and retire."""

import re
import time
from contextlib import closing, contextmanager, suppress
from uuid import uuid4

import httpx
import orjson
import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from schemas.catalog import DEAD_LETTERS, PRESENCE, TEMPERATURE
from schemas.registry import Registry
from schemas.wire import decode
from streams.mqtt import connect
from tests.integration.line import PATIENCE, Topics, Worker, headrace, http, wait


@pytest.fixture(scope="module")
def settings(stack):
    """Tenant acme's unknown devices are quarantined, beta's rejected; a parking sensor is silent after three seconds."""
    terms = {"tenants": "acme,beta", "unknown_devices": "accept,acme=quarantine,beta=reject", "silence_seconds": "900,parking_sensor=3"}
    # a filter of its own: a group shares what matches one filter with all its sessions, those of other tests, too
    return stack.settings.model_copy(update={**terms, "mqtt_topics": "+/+/+"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("gateway")


@pytest.fixture(scope="module")
def gateway(settings, folder):
    with started(settings, folder) as gateway:
        yield gateway


@pytest.fixture
def device(gateway):
    return f"d-{uuid4().hex[:12]}"


@pytest.fixture
def mqtt(settings):
    with connected(settings) as client:
        yield client


@pytest.fixture
def web(gateway):
    with httpx.Client(base_url=f"http://127.0.0.1:{gateway.port}", timeout=60) as web:
        yield web


def started(settings, folder):
    # a session of its own: the subscription is another one than other tests' gateways have
    gateway = Worker(settings, folder, instance="registry", module="streams.gateway")
    gateway.wait_for("mqtt_subscribed")
    return gateway


@contextmanager
def connected(settings, will=""):
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    if will:
        client.will_set(f"devices/{will}/presence", "offline", qos=1)
    connect(client, settings.mqtt)
    wait(client.is_connected, lambda: "no MQTT connection")
    yield client
    client.disconnect()
    client.loop_stop()


def send(client, topic, payload=None):
    client.publish(topic, orjson.dumps({"value": 20.5}) if payload is None else payload, qos=1).wait_for_publish(PATIENCE)


def until(web, device, tenant="default", **expected):
    """The device, when its fields are as expected."""
    found = {}

    def fits():
        found.clear()
        found.update(web.get(f"/api/devices/{tenant}/{device}").json())
        return all(found.get(name) == value for name, value in expected.items())

    wait(fits, lambda: f"{expected} was expected, not {found}")
    return dict(found)


def ledger(gateway, tenant):
    lines = http.get(f"http://127.0.0.1:{gateway.port}/metrics").text.splitlines()
    ours = [
        line for line in lines if line.startswith(("headrace_device_messages_total", "headrace_spooled_messages")) and f'"{tenant}"' in line
    ]
    outcomes = {line.partition('outcome="')[2].partition('"')[0] or "spooled": int(float(line.rpartition(" ")[2])) for line in ours}
    assert outcomes["accepted"] == sum(outcomes.get(each, 0) for each in ("delivered", "spooled", "rejected", "duplicate", "coalesced"))
    return outcomes


def in_kafka(settings, topic, device):
    """A device's messages in a topic, however many are there now."""
    with closing(Consumer({"bootstrap.servers": settings.kafka, "group.id": "registry", "log_level": 0})) as consumer:
        there = consumer.list_topics(timeout=10).topics
        if topic not in there:
            return []
        partitions = [TopicPartition(topic, number, 0) for number in there[topic].partitions]
        end = sum(consumer.get_watermark_offsets(partition, timeout=10)[1] for partition in partitions)
        consumer.assign(partitions)
        found = []
        while len(found) < end:
            found += consumer.consume(10_000, timeout=0.2)
    registry = Registry(settings.registry, settings.data / "test-schemas")
    values = [message.value() for message in found if message.key() == device.encode()]
    return decode(values, TEMPERATURE.codec, {registry.register(TEMPERATURE): TEMPERATURE.codec}).frame.to_dicts()


def arrive(settings, topic, device):
    """Wait for the device's one message in a topic, which may be on the point of being made."""

    def there():
        with suppress(KafkaException):
            return in_kafka(settings, topic, device)

    wait(there, lambda: f"nothing of {device} is in {topic}")
    assert len(in_kafka(settings, topic, device)) == 1


def dead(settings, topic, reason, count=1):
    """Wait for so many dead letters of an MQTT topic, all for the same reason."""
    with closing(Topics(settings)) as topics:

        def found():
            return topics.frame(DEAD_LETTERS).filter(topic=topic)["reason"].to_list()

        wait(lambda: len(found()) >= count, lambda: f"{found()} instead of {count}")
        assert found() == [reason] * count


def test_a_device_that_nobody_registered_is_by_its_first_message(web, mqtt, device):
    send(mqtt, f"sensors/{device}/temperature")
    found = until(web, device, status="online")
    assert (found["device_type"], found["protocol"], found["registered"]) == ("environment_sensor", "mqtt", False)
    assert found["registered_at"] == found["last_seen"] > time.time() * 1000 - PATIENCE * 1000


def test_a_last_will_tells_that_a_device_is_offline_and_its_next_heartbeat_that_it_is_back(settings, web, mqtt, device):
    with connected(settings, will=device) as own:
        send(own, f"lights/{device}/status", b'{"on": true}')
        assert until(web, device, status="online")["device_type"] == "street_light"
        own._sock_close()  # the power is cut: no DISCONNECT, so the broker speaks for it
        own.loop_stop()
        until(web, device, status="offline", reason="it said so, or its last will did")
    send(mqtt, f"devices/{device}/heartbeat", b"")
    until(web, device, status="online")
    send(mqtt, f"devices/{device}/presence", b'{"state": "Offline"}')
    until(web, device, status="offline")


def test_a_device_that_says_nothing_for_longer_than_its_type_may_is_silent_until_it_speaks(settings, web, mqtt, device):
    send(mqtt, f"parking/{device}/occupancy", b'{"occupied": true}')
    silent = until(web, device, status="silent")
    send(mqtt, f"parking/{device}/occupancy", b'{"occupied": false}')
    assert until(web, device, status="online")["last_seen"] > silent["last_seen"]
    with closing(Topics(settings)) as topics:
        reports = topics.frame(PRESENCE).filter(device_id=device)
    assert reports["status"].to_list()[:2] == ["online", "silent"]


def test_heartbeats_are_counted_and_reported_once_and_go_to_no_topic(settings, gateway, web, mqtt, device):
    before = ledger(gateway, "default").get("coalesced", 0)
    for _ in range(200):
        mqtt.publish(f"devices/{device}/heartbeat", b"", qos=1)
    send(mqtt, f"sensors/{device}/temperature")
    until(web, device, status="online")
    wait(lambda: ledger(gateway, "default").get("coalesced", 0) == before + 200, lambda: str(ledger(gateway, "default")))
    assert len(in_kafka(settings, TEMPERATURE.topic, device)) == 1
    with closing(Topics(settings)) as topics:

        def reports():
            return topics.frame(PRESENCE).filter(device_id=device).height

        wait(reports, lambda: "the device is not reported", worker=gateway)
        assert reports() == 1
        assert not topics.frame(DEAD_LETTERS).filter(topic=f"devices/{device}/heartbeat").height


def test_a_presence_message_that_says_neither_is_a_dead_letter(settings, mqtt, device):
    send(mqtt, f"devices/{device}/presence", b"perhaps")
    dead(settings, f"devices/{device}/presence", "undecodable")


def test_an_unknown_device_of_a_tenant_that_quarantines_is_kept_apart_until_it_is_registered(settings, gateway, web, mqtt, device):
    device = f"acme_{device}"
    send(mqtt, f"sensors/{device}/temperature")
    arrive(settings, "acme.iot.quarantine", device)
    assert in_kafka(settings, f"acme.{TEMPERATURE.topic}", device) == []
    assert web.get(f"/api/devices/acme/{device}").status_code == 404
    assert headrace(settings, "device", "add", device, "--tenant", "acme", "--type", "environment_sensor")[0] == 0
    until(web, device, "acme", status="unseen", registered=True)
    send(mqtt, f"sensors/{device}/temperature")
    arrive(settings, f"acme.{TEMPERATURE.topic}", device)
    assert len(in_kafka(settings, "acme.iot.quarantine", device)) == 1
    until(web, device, "acme", status="online")
    assert ledger(gateway, "acme")["delivered"] == 2


def test_an_unknown_device_of_a_tenant_that_rejects_leaves_dead_letters_until_it_is_registered(settings, gateway, web, mqtt, device):
    device = f"beta_{device}"
    topic = f"sensors/{device}/temperature"
    send(mqtt, topic)
    dead(settings, topic, "unknown-device")
    assert ledger(gateway, "beta")["rejected"] == 1
    new = {"tenant_id": "beta", "device_id": device, "device_type": "environment_sensor"}
    assert web.post("/api/devices", json=new).status_code == 200
    send(mqtt, topic)
    arrive(settings, f"beta.{TEMPERATURE.topic}", device)
    assert web.delete(f"/api/devices/beta/{device}").json()["retired"]
    send(mqtt, topic)
    dead(settings, topic, "unknown-device", 2)
    assert ledger(gateway, "beta")["delivered"] == 1


def test_a_device_is_registered_found_changed_and_retired_over_http(web, device):
    new = {"tenant_id": "default", "device_id": device, "device_type": "street_light", "district": "riverside"}
    new |= {"latitude": 30.5, "longitude": 114.3, "metadata": {"pole": device[::-1]}}
    first = web.post("/api/devices", json=new).raise_for_status().json()
    assert {name: first[name] for name in new} == new
    assert (first["status"], first["last_seen"], first["registered"]) == ("unseen", None, True)
    changed = web.post("/api/devices", json=new | {"firmware": "2.1"}).raise_for_status().json()
    assert (changed["firmware"], changed["registered_at"]) == ("2.1", first["registered_at"])
    asked = {"type": "street_light", "district": "riverside", "status": "unseen", "tenant": "default"}
    assert web.get("/api/devices", params=asked | {"text": device[::-1].upper()}).json()["devices"] == [changed]
    assert web.get("/api/devices", params={"text": device, "district": "harbour"}).json()["count"] == 0
    assert web.delete(f"/api/devices/default/{device}").raise_for_status().json()["retired"]
    assert web.delete(f"/api/devices/default/{device}").status_code == 409
    assert web.get("/api/devices", params={"text": device}).json()["count"] == 0
    assert web.get("/api/devices", params={"text": device, "retired": True}).json()["count"] == 1
    assert web.post("/api/devices", json=new).json()["retired"] is False


def test_a_question_about_devices_that_is_wrong_is_told_what_is(web, device):
    wrong = web.post("/api/devices", json={"tenant_id": "default", "device_id": "a/b", "device_type": "street_light", "latitude": 91})
    assert wrong.status_code == 400
    assert {problem["field"] for problem in wrong.json()["problems"]} == {"device_id", "latitude"}
    assert web.get("/api/devices", params={"status": "asleep"}).status_code == 400
    assert web.get(f"/api/devices/default/{device}").status_code == 404
    assert web.delete(f"/api/devices/default/{device}").status_code == 404


def test_a_list_of_devices_comes_in_pages(web, device):
    names = [f"{device}-{number}" for number in range(5)]
    for name in names:
        assert web.post("/api/devices", json={"tenant_id": "default", "device_id": name, "device_type": "camera"}).status_code == 200
    found, offset = [], 0
    while offset is not None:
        page = web.get("/api/devices", params={"text": device, "limit": 2, "offset": offset}).json()
        found += [each["device_id"] for each in page["devices"]]
        offset = page["next"]
    assert found == names


def test_a_file_of_devices_is_registered_whole_or_every_wrong_line_is_named(settings, web, device, tmp_path):
    file = tmp_path / "devices.csv"
    lines = ["device_id,device_type,district,latitude,pole"]
    lines += [f"{device}-{number},street_light,riverside,30.{number},p-{number}" for number in range(20)]
    file.write_text("\n".join([*lines, "a/b,street_light,,,", f"{device}-x,street_light,,91,", f"{device}-3,street_light,,,"]))
    status, said = headrace(settings, "device", "add", "--csv", file)
    assert status == 1
    assert [line.rpartition(".csv:")[2].partition(":")[0] for line in said.splitlines() if ".csv:" in line] == ["22", "23", "24"]
    assert web.get("/api/devices", params={"text": device}).json()["count"] == 0
    file.write_text("\n".join(lines))
    assert headrace(settings, "device", "add", "--csv", file)[1].strip() == "registered 20 devices"
    wait(lambda: web.get("/api/devices", params={"text": device}).json()["count"] == 20, lambda: "not all devices are there")
    assert web.get(f"/api/devices/default/{device}-7").json()["metadata"] == {"pole": "p-7"}
    _, listed = headrace(settings, "device", "list", "--text", f"{device}-1", "--district", "riverside")
    assert sum(device in line for line in listed.splitlines()) == 11
    assert headrace(settings, "device", "retire", f"{device}-0")[0] == 0
    assert re.search(r"retired +yes", headrace(settings, "device", "show", f"{device}-0")[1])
    assert headrace(settings, "device", "show", f"{device}-none")[0] == 1


def test_a_gateway_that_is_killed_knows_its_devices_again_and_nobody_calls_them_silent_meanwhile(
    settings, gateway, folder, web, mqtt, device
):
    send(mqtt, f"sensors/{device}/temperature")
    parked = f"{device}-parked"
    send(mqtt, f"parking/{parked}/occupancy", b'{"occupied": true}')
    before = until(web, device, status="online")
    until(web, parked, status="silent")
    gateway.kill()
    status, said = headrace(settings, "device", "show", device)
    assert status == 0, said

    def unwatched():
        time.sleep(1)  # a look is a process of its own
        return "unwatched" in headrace(settings, "device", "show", device)[1]

    wait(unwatched, lambda: headrace(settings, "device", "show", device)[1])
    with started(settings, folder), httpx.Client(base_url=f"http://127.0.0.1:{gateway.port}", timeout=60) as again:
        assert until(again, device, status="online")["last_seen"] == before["last_seen"]
        until(again, parked, status="silent")


def test_what_a_broker_retains_makes_no_record_and_no_device_at_any_start_of_a_gateway(settings, folder, mqtt):
    old = f"d-{uuid4().hex[:12]}"
    settings = settings.model_copy(update={"mqtt_topics": "sensors/+/temperature"})

    def publish(device, payload):
        mqtt.publish(f"sensors/{device}/temperature", payload, qos=1, retain=True).wait_for_publish(PATIENCE)

    publish(old, b'{"value": 39}')
    for start in range(2):
        now = f"{old}-{start}"
        gateway = Worker(settings, folder, instance="retained", module="streams.gateway")
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{gateway.port}", timeout=60) as web:

                def subscribed(web=web):
                    with suppress(httpx.HTTPError):
                        return web.get("/ready").json()["checks"]["mqtt"]["ok"]

                wait(subscribed, gateway.tail, worker=gateway)
                publish(now, b'{"value": 20.5}')  # retained and new
                until(web, now, status="online")
                publish(now, b"")  # heard by who listens, and says nothing
                if start:
                    publish(old, b"")
                send(mqtt, f"sensors/{now}/temperature")
                wait(lambda now=now: len(in_kafka(settings, "env.temperature.raw", now)) == 2, lambda: "two of them", worker=gateway)
                assert web.get(f"/api/devices/default/{old}").status_code == 404
        finally:
            gateway.stop()
    assert in_kafka(settings, "env.temperature.raw", old) == []
