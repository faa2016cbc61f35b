"""Tenants in one Kafka that asks who comes: each has its own, sees nobody else's, and works as if it were alone."""

import re
from contextlib import closing
from uuid import uuid4

import aiokafka
import httpx
import orjson
import pytest
from aiokafka.errors import GroupAuthorizationFailedError
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from pydantic import SecretStr

from deploy import tenants
from deploy.embedded.errors import StackError
from deploy.embedded.preflight import free_ports
from deploy.embedded.stack import LocalStack, on_free_ports
from schemas.catalog import COMMANDS, DEAD_LETTERS, PRESENCE, QUARANTINE, READINGS, TEMPERATURE, in_kafka
from streams.access import MECHANISM, protocol, quiet
from tests.integration.line import PATIENCE, Topics, Worker, actual, assert_equal, headrace, http, simulate, under_load, undisturbed, wait

SECONDS = 60
FAULTS = "duplicates=0.02,disorder=0.05,late=0.005,garbage=0.01"
OPERATOR = "what-an-operator-asks-with"
TOKENS = {"a": "what-a-asks-with", "b": "what-b-asks-with"}
ADMIN = {"kafka_user": "admin", "kafka_password": SecretStr("an-admin-s")}


@pytest.fixture(scope="module")
def secured(recorded, tmp_path_factory):
    """Settings of a stack whose broker asks for users, as the one who may everything."""
    folder = tmp_path_factory.mktemp("secured")
    with LocalStack(on_free_ports(folder).model_copy(update=ADMIN)) as running:
        yield running.settings


def as_user(settings, said, folder, **others):
    """Settings as `headrace tenant` says them."""
    told = dict(re.findall(r"^HEADRACE_(\w+)=(\S+)$", said, re.MULTILINE))
    (folder / told["KAFKA_USER"]).mkdir(exist_ok=True)
    ours = {"kafka_user": told["KAFKA_USER"], "kafka_password": SecretStr(told["KAFKA_PASSWORD"]), "tenant": told.get("TENANT", "default")}
    return settings.model_copy(update={**ours, "data": folder / told["KAFKA_USER"], **others})


def done(settings, *words):
    status, said = headrace(settings, *words)
    assert status == 0, said
    return said


@pytest.fixture(scope="module")
def a(secured, tmp_path_factory):
    return as_user(secured, done(secured, "tenant", "add", "a"), tmp_path_factory.mktemp("a"))


@pytest.fixture(scope="module")
def b(secured, tmp_path_factory):
    return as_user(secured, done(secured, "tenant", "add", "b"), tmp_path_factory.mktemp("b"))


@pytest.fixture(scope="module")
def gateway(secured, a, b, tmp_path_factory):
    """Settings of a gateway of several tenants."""
    (port,) = free_ports(1)
    said = done(secured, "tenant", "gateway")
    tokens = SecretStr(",".join(f"{tenant}={token}" for tenant, token in TOKENS.items()))
    own = {"tenants": "a,b", "gateway_http": f"127.0.0.1:{port}", "tenant_tokens": tokens, "web_token": SecretStr(OPERATOR)}
    return as_user(secured, said, tmp_path_factory.mktemp("g"), **own)


def refusal(work):
    """The name of the error Kafka has for it."""
    with pytest.raises(KafkaException) as refused:
        work()
    return refused.value.args[0].name()


def write(settings, topic, value=b"x"):
    """One record, or the error."""
    failed = []
    producer = Producer(quiet(settings.kafka, settings))
    producer.produce(topic, value, b"key", on_delivery=lambda error, _: failed.append(error) if error else None)
    assert producer.flush(PATIENCE) == 0
    if failed:
        raise KafkaException(failed[0])


def read(settings, topic):
    """One record, or the error, in a group that the user may join."""
    return join(settings, in_kafka(settings.tenant, "gateway" if settings.tenants else uuid4().hex), topic)


def polled(consumer):
    message = consumer.poll(SECONDS)
    assert message is not None
    if message.error():
        raise KafkaException(message.error())
    return message.value()


def join(settings, group, topic):
    with closing(Consumer({**quiet(settings.kafka, settings), "group.id": group, "auto.offset.reset": "earliest"})) as consumer:
        consumer.subscribe([topic])
        return polled(consumer)


async def move(settings, group, topic):
    """Set a group's offset, without being its member."""
    secret = settings.kafka_password.get_secret_value()
    who = {"sasl_mechanism": MECHANISM, "sasl_plain_username": settings.kafka_user, "sasl_plain_password": secret}
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=settings.kafka, group_id=group, enable_auto_commit=False, security_protocol=protocol(settings), **who
    )
    consumer.assign([aiokafka.TopicPartition(topic, 0)])
    try:
        await consumer.start()
        await consumer.commit({aiokafka.TopicPartition(topic, 0): 1})
    finally:
        await consumer.stop()


@pytest.mark.parametrize("topic", ["a.factory.readings", "a.rules", "a.factory-readings-1m-changelog", "factory.readings", "credentials"])
def test_a_tenant_can_neither_read_nor_write_what_is_another_ones(a, b, topic):
    write(a, "a.factory.readings")
    assert refusal(lambda: write(b, topic)) == "TOPIC_AUTHORIZATION_FAILED"
    assert refusal(lambda: read(b, topic)) == "TOPIC_AUTHORIZATION_FAILED"
    assert read(a, "a.factory.readings") == b"x"


@pytest.mark.parametrize("group", ["a.factory", "factory", "bb.factory"])
async def test_a_tenant_can_neither_join_another_ones_group_nor_move_its_offsets(a, b, group):
    write(b, "b.alert-actions")
    assert refusal(lambda: join(b, group, "b.alert-actions")) == "GROUP_AUTHORIZATION_FAILED"
    with pytest.raises(GroupAuthorizationFailedError):
        await move(b, group, "b.alert-actions")
    await move(b, "b.another", "b.alert-actions")
    assert join(b, "b.reader", "b.alert-actions") == b"x"


def test_a_tenant_neither_sees_nor_makes_nor_deletes_what_is_another_ones(a, b):
    admin = AdminClient(quiet(b.kafka, b))
    assert {name.partition(".")[0] for name in admin.list_topics(timeout=PATIENCE).topics} == {"b"}
    groups = admin.list_consumer_groups(request_timeout=PATIENCE).result().valid
    assert all(group.group_id.startswith("b.") for group in groups)
    for topic in ("a.mine", "mine", "bb.mine"):
        assert refusal(admin.create_topics([NewTopic(topic, 1, 1)])[topic].result) == "TOPIC_AUTHORIZATION_FAILED"
    assert refusal(admin.delete_topics(["a.alerts"])["a.alerts"].result) == "TOPIC_AUTHORIZATION_FAILED"


def test_a_tenant_can_give_nobody_rights_or_passwords(a, b):
    admin = AdminClient(quiet(b.kafka, b))
    assert refusal(lambda: tenants.allow(admin, tenants.rights("a"))) == "CLUSTER_AUTHORIZATION_FAILED"
    assert refusal(lambda: tenants.new_password(admin, "a")) == "CLUSTER_AUTHORIZATION_FAILED"
    assert headrace(b, "tenant", "add", "c")[0] == 1


def test_a_tenant_s_worker_works_as_if_it_were_alone_and_is_killed_as_one(b, tmp_path):
    assert simulate(b, "--devices", 100, "--count", 50_000, "--faults", FAULTS).wait(timeout=PATIENCE) == 0
    with closing(Topics(b)) as topics:
        with under_load(b, "--devices", 300, "--rate", 1_000, "--faults", FAULTS):
            for lanes in range(3):
                with Worker(b, tmp_path, instance="one") as worker:
                    worker.wait_for("lane_opened")
                    wait(lambda so_far=lanes: sum(topics.committed().values()) > so_far * 1_000, worker.tail, worker=worker)
                    worker.kill()
        with Worker(b, tmp_path, instance="one") as worker:
            worker.wait_for("lane_opened")
            topics.wait_until_read(worker)
            assert worker.stop() == 0, worker.tail()
        outcome = actual(b, topics)
        assert_equal(outcome, undisturbed(b, topics))
        assert outcome.windows.height
        assert outcome.alerts.height
        assert set(outcome.dead_letters["topic"]) == {"b.factory.readings"}
    assert orjson.loads(done(b, "read", "alerts", "--minutes", 60, "--count", 1))["tenant"] == "b"


def test_a_tenant_s_stored_readings_are_its_own(a, b, tmp_path):
    assert simulate(a, "--devices", 10, "--count", 1_000).wait(timeout=PATIENCE) == 0
    with Worker(a, tmp_path, module="streams.warehouse") as warehouse:

        def stored():
            try:
                return http.get(f"http://127.0.0.1:{warehouse.port}/warehouse/counts", timeout=30).json()["rows"]["readings"]
            except (httpx.HTTPError, KeyError, ValueError):
                return 0

        wait(stored, warehouse.tail, worker=warehouse)


def test_one_gateway_brings_each_tenant_s_messages_to_its_own_topics(secured, gateway, a, b, tmp_path):
    with Worker(gateway, tmp_path, instance="tenancy", module="streams.gateway") as running:
        running.wait_for("http_listening")
        url = f"http://{gateway.gateway_http}/messages"
        for tenant in ("a", "b", "default"):
            token = done(secured, "device", "token", "lamp-1", "--tenant", tenant).splitlines()[0]
            headers = {"Authorization": f"Bearer {token}"}
            wait(lambda headers=headers: http.post(url, json=[], headers=headers).is_success, running.tail, worker=running)
            # the second one's topic is in no catalogue: it is made
            topics = ("sensors/lamp-1/temperature", "strange/lamp-1")
            batch = [{"topic": topic, "data": {"value": 20, "sequence": 1, "of": tenant}} for topic in topics]
            answer = http.post(url, json=batch, headers=headers, timeout=PATIENCE)
            assert answer.json() == {"verdicts": ["delivered"] * len(batch)}, running.tail()
    for settings in (a, b):
        with closing(Topics(settings)) as topics:
            found = topics.frame(TEMPERATURE)
            assert [orjson.loads(data)["of"] for data in found["data"]] == [settings.tenant]
            (made,) = [name for name in topics.consumer.list_topics(timeout=SECONDS).topics if "iot.raw" in name]
            assert made.startswith(f"{settings.tenant}.iot.raw.")


def test_a_gateway_reads_and_writes_no_more_than_it_needs(gateway, a):
    for topic in ("a.factory.readings", "factory.readings", "alerts", in_kafka("a", TEMPERATURE.topic)):
        assert refusal(lambda topic=topic: read(gateway, topic)) == "TOPIC_AUTHORIZATION_FAILED"
    for name in ("rules", "a.rules", "a.commands", "a.devices", "a.factory.readings"):
        assert refusal(lambda name=name: write(gateway, name)) == "TOPIC_AUTHORIZATION_FAILED"
    for name in (*(contract.topic for contract in (COMMANDS, DEAD_LETTERS, PRESENCE, READINGS)), in_kafka("a", QUARANTINE.topic)):
        write(gateway, name)


def test_one_gateway_registers_devices_of_its_tenants_and_tells_them_commands(gateway, tmp_path):
    with Worker(gateway, tmp_path, instance="tenancy", module="streams.gateway") as running:
        running.wait_for("http_listening")
        api = f"http://127.0.0.1:{running.port}/api"
        operator = httpx.Client(headers={"Authorization": f"Bearer {OPERATOR}"})
        assert http.get(f"{api}/devices", timeout=PATIENCE).status_code == 401
        device = {"tenant_id": "a", "device_id": "lamp-2", "device_type": "street_light"}

        def registered():
            return operator.post(f"{api}/devices", json=device, timeout=PATIENCE)

        wait(lambda: registered().is_success, running.tail, worker=running)
        asked = operator.post(f"{api}/commands", json={"command": "on", "device": "lamp-2", "tenant": "a"}, timeout=PATIENCE).json()

        def counts():
            return operator.get(f"{api}/commands", params={"request_id": asked["request_id"]}, timeout=PATIENCE).json()["counts"]

        wait(lambda: counts() == {"QUEUED": 1}, running.tail, worker=running)
        sees_its_own_devices_alone(api, asked["request_id"])
        assert running.stop() == 0, running.tail()


def sees_its_own_devices_alone(api, request_id):
    """What tenant b, and a, are told of a's device and command."""
    a, b = (httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE) for token in TOKENS.values())
    with a, b:
        seen = {
            client: {(each["tenant_id"], each["device_id"]) for each in client.get(f"{api}/devices").json()["devices"]} for client in (a, b)
        }
        assert ("a", "lamp-2") in seen[a]
        assert {tenant for tenant, _ in seen[a]} == {"a"}
        assert {tenant for tenant, _ in seen[b]} <= {"b"}
        assert a.get(f"{api}/devices/a/lamp-2").is_success
        assert a.get(f"{api}/commands", params={"request_id": request_id}).json()["counts"] == {"QUEUED": 1}
        assert b.get(f"{api}/commands", params={"request_id": request_id}).status_code == 404
        device = {"tenant_id": "a", "device_id": "lamp-3", "device_type": "street_light"}
        forbidden = [
            b.get(f"{api}/devices", params={"tenant": "a"}),
            b.get(f"{api}/devices/a/lamp-2"),
            b.delete(f"{api}/devices/a/lamp-2"),
            b.post(f"{api}/devices", json=device),
            b.post(f"{api}/commands", json={"command": "on", "device": "lamp-2", "tenant": "a"}),
            b.get(f"{api.removesuffix('/api')}/metrics"),
            b.get(f"{api.removesuffix('/api')}/ready"),
        ]
        assert [answer.status_code for answer in forbidden] == [403] * len(forbidden)


def test_a_wrong_password_is_told_and_what_to_do(b, tmp_path):
    wrong = b.model_copy(update={"kafka_password": SecretStr("wrong")})
    with Worker(wrong, tmp_path) as worker:
        assert worker.process.wait(timeout=PATIENCE) == 1
        said = worker.log.read_text()
    status, found = headrace(wrong, "doctor")
    assert status == 1
    for told in (said, " ".join(found.split())):
        assert "refuses the user 'b'" in told
        assert "HEADRACE_KAFKA_PASSWORD" in told


def test_who_does_not_say_who_it_is_gets_nothing(b, tmp_path):
    nobody = b.model_copy(update={"kafka_user": ""})
    status, said = headrace(nobody, "topics")
    assert (status, "HEADRACE_KAFKA_USER" in said) == (2, True), said


def test_a_worker_of_another_tenant_than_its_user_s_does_not_start(b, tmp_path):
    with Worker(b.model_copy(update={"tenant": "a"}), tmp_path) as worker:
        assert worker.process.wait(timeout=PATIENCE) == 1
        assert "a.factory.readings is missing" in worker.log.read_text()
        assert "headrace tenant add" in worker.log.read_text()


def test_a_tenant_that_is_there_keeps_its_password_until_another_one_is_asked_for(secured, tmp_path):
    first = as_user(secured, done(secured, "tenant", "add", "c"), tmp_path)
    again = done(secured, "tenant", "add", "c")
    assert "PASSWORD=" not in again
    write(first, "c.alerts")
    second = as_user(secured, done(secured, "tenant", "add", "c", "--new-password"), tmp_path)
    write(second, "c.alerts")
    assert headrace(first, "topics")[0] == 1


@pytest.mark.parametrize("name", ["factory", "default", "gateway", "admin", "A", "x.y", "iot"])
def test_a_name_that_something_else_has_is_no_tenant_s(secured, name):
    assert headrace(secured, "tenant", "add", name)[0] == 2


def test_doctor_says_which_tenant_s_rules_are_not_as_they_should_be(secured, a, b):
    whole = secured.model_copy(update={"tenants": "a,b"})
    assert "tenants as they should be: a, b" in done(whole, "doctor")
    status, found = headrace(secured.model_copy(update={"tenants": "a,nobody"}), "doctor")
    assert status == 1
    assert "headrace tenant add nobody" in found
    assert "as b" in done(b, "doctor")


@pytest.mark.parametrize("said", [{"kafka_user": ""}, {"kafka_user": "other"}, {"kafka_password": SecretStr('a"b')}])
def test_a_broker_does_not_start_for_another_user_than_its_data_was_made_for(secured, said):
    ports = on_free_ports(secured.data).model_dump(include={"kafka", "registry", "mqtt"})
    with pytest.raises(StackError, match="HEADRACE_KAFKA_USER"):
        LocalStack(secured.model_copy(update={**ports, **said})).kafka.command()
