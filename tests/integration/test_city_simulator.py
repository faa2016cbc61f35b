"""A simulated city over all four protocols through a real gateway: what was acknowledged is in Kafka, once, in order of each device."""

import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from confluent_kafka import Consumer, TopicPartition

from deploy.embedded.preflight import free_ports
from deploy.embedded.stack import LocalStack, on_free_ports
from schemas.catalog import LIGHTS, MESSAGES
from schemas.registry import Registry
from schemas.wire import decode
from tests.integration.line import PATIENCE, Worker, headrace, http, is_ready, wait

HEADRACE = str(Path(sys.executable).with_name("headrace"))
NUMBERED = {"sequence": pl.Int64, "timestamp": pl.Int64, "district": pl.String}


@pytest.fixture(scope="module")
def settings(recorded, tmp_path_factory):
    """Of a stack of this module's own: sessions that other gateways left at a broker would have their share of the messages."""
    http, websocket, coap = (f"127.0.0.1:{port}" for port in free_ports(3))
    ours = on_free_ports(tmp_path_factory.mktemp("city"))
    addresses = {"gateway_http": http, "gateway_websocket": websocket, "gateway_coap": coap, "gateway_device_rate": 0}
    with LocalStack(ours.model_copy(update=addresses)) as stack:
        yield stack.settings


class Gateway:
    """One that can be killed and started again."""

    def __init__(self, settings, folder):
        self.settings, self.folder = settings, folder
        self.start()

    def start(self):
        self.worker = Worker(self.settings, self.folder, module="streams.gateway")
        wait(lambda: is_ready(self.worker), self.worker.tail, worker=self.worker)


@pytest.fixture(scope="module")
def gateway(settings, tmp_path_factory):
    running = Gateway(settings, tmp_path_factory.mktemp("gateway"))
    yield running
    running.worker.kill()


def city(settings, tenant, truth, *options, **variables):
    command = [HEADRACE, "simulate", "city", "--tenant", tenant, "--truth", str(truth), *map(str, options)]
    return subprocess.Popen(command, env=settings.environment(COLUMNS="200", **variables), stderr=subprocess.PIPE, text=True)


def ended(run):
    _, said = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, said
    return said


def failed(run):
    _, said = run.communicate(timeout=PATIENCE)
    assert run.returncode == 1, said
    return said


def taken(settings, tenant):
    """A city's readable messages in Kafka, in the order of each device's partition."""
    partitions = [TopicPartition(contract.topic, p, 0) for contract in MESSAGES for p in range(contract.partitions)]
    with closing(Consumer({"bootstrap.servers": settings.kafka, "group.id": "test", "enable.auto.commit": False})) as consumer:
        expected = sum(consumer.get_watermark_offsets(partition, timeout=10)[1] for partition in partitions)
        consumer.assign(partitions)
        found = []
        while len(found) < expected:
            found += consumer.consume(10_000, timeout=0.2)
    registry = Registry(settings.registry, settings.data / "test-schemas")
    decoded = decode(
        [message.value() for message in found], LIGHTS.codec, {registry.register(contract): LIGHTS.codec for contract in MESSAGES}
    )
    assert not decoded.rejects
    records = decoded.frame.filter(pl.col("device_id").str.starts_with(f"{tenant}_"), pl.col("data_type") != "raw")
    return records.with_columns(pl.col("data").str.json_decode(pl.Struct(NUMBERED)).struct.unnest())


def in_kafka(settings, tenant, truth):
    """The messages, when all that were acknowledged are there."""
    due = set(pl.read_parquet(truth).filter("acknowledged").select("device_id", "sequence").iter_rows())
    assert due
    deadline = time.monotonic() + PATIENCE
    while missing := due.difference((found := taken(settings, tenant)).select("device_id", "sequence").iter_rows()):
        assert time.monotonic() < deadline, f"{len(missing)} of {len(due)} acknowledged messages are not in Kafka: {sorted(missing)[:5]}"
        time.sleep(1)
    return found


def is_in_order(records):
    return records.select((pl.col("sequence").diff().over("device_id").drop_nulls() > 0).all()).item()


def test_what_was_acknowledged_is_in_kafka_once_and_in_order_of_each_device(settings, gateway, tmp_path):
    faults = ("--duplicates", 0.05, "--disorder-seconds", 60, "--garbage", 0.02, "--storm", 5)
    said = ended(city(settings, "calm", tmp_path / "truth", "--devices", 160, "--rate", 200, "--for", 12, *faults))
    truth = pl.read_parquet(tmp_path / "truth")
    assert truth["acknowledged"].all(), said
    assert "storms" in said
    assert dict(truth.group_by("protocol").agg(pl.col("device_id").n_unique()).iter_rows()) == dict.fromkeys(
        ("mqtt", "http", "websocket", "coap"), 40
    )
    records = in_kafka(settings, "calm", tmp_path / "truth")
    assert records.height == truth.height
    assert is_in_order(records)
    assert not records.select(pl.col("timestamp").diff().over("device_id").drop_nulls().ge(0).all()).item()
    spoken = records.join(truth, on=["device_id", "sequence"], validate="1:1")
    assert (spoken["source_protocol"] == spoken["protocol"]).all()


def test_a_gateway_that_is_killed_loses_nothing_of_what_was_acknowledged(settings, gateway, tmp_path):
    run = city(settings, "rough", tmp_path / "truth", "--devices", 160, "--rate", 200, "--for", 40, "--duplicates", 0.05)
    wait(lambda: taken(settings, "rough").height > 400, gateway.worker.tail)
    gateway.worker.kill()
    gateway.start()
    ended(run)
    records = in_kafka(settings, "rough", tmp_path / "truth")
    assert pl.read_parquet(tmp_path / "truth")["acknowledged"].all()
    once = records.unique("message_id", keep="first", maintain_order=True)
    assert is_in_order(once)
    assert once.select("device_id", "sequence").is_unique().all()


def test_a_run_without_an_end_ends_on_a_signal_with_its_truth_written(settings, gateway, tmp_path):
    run = city(settings, "brief", tmp_path / "truth", "--devices", 20, "--rate", 20)
    wait(lambda: taken(settings, "brief").height > 20, gateway.worker.tail)
    run.send_signal(signal.SIGTERM)
    ended(run)
    assert pl.read_parquet(tmp_path / "truth")["acknowledged"].all()
    assert in_kafka(settings, "brief", tmp_path / "truth").height == pl.read_parquet(tmp_path / "truth").height


def test_where_nobody_listens_it_says_so(settings, tmp_path):
    nobody = "127.0.0.1:9"
    expected = [
        ("mqtt", {"HEADRACE_MQTT": f"mqtt://{nobody}"}, f"no MQTT broker answers at mqtt://{nobody}"),
        ("http", {"HEADRACE_GATEWAY_HTTP": nobody}, f"no gateway answers at http://{nobody}"),
        ("websocket", {"HEADRACE_GATEWAY_WEBSOCKET": nobody}, f"no gateway answers at ws://{nobody}"),
        ("coap", {"HEADRACE_GATEWAY_COAP": nobody}, f"no gateway answers at coap://{nobody}"),
        ("coap", {"HEADRACE_GATEWAY_COAP": ""}, "HEADRACE_GATEWAY_COAP says where"),
    ]
    runs = [city(settings, "nobody", tmp_path / "truth", "--protocols", protocol, **variables) for protocol, variables, _ in expected]
    for run, (*_, problem) in zip(runs, expected, strict=True):
        said = failed(run)
        assert problem in said
        assert "Traceback" not in said


# The last: from here on nobody gets in without a credential.
def test_where_devices_are_to_prove_who_they_are_it_takes_a_token(settings, gateway, tmp_path):
    status, said = headrace(settings, "device", "token", "simulator", "--publish", "#")
    assert status == 0, said
    token = said.splitlines()[0]
    headers = {"Authorization": f"Bearer {token}"}
    post = f"http://{settings.gateway_http}/messages"
    wait(lambda: http.post(post, json=[], headers=headers).status_code == 202, gateway.worker.tail)
    options = ("--devices", 12, "--rate", 12, "--for", 2, "--protocols")
    locked = [city(settings, "locked", tmp_path / "locked", *options, protocol) for protocol in ("http", "websocket", "coap")]
    for run in locked:
        assert "headrace device token" in failed(run)
    ended(city(settings, "let-in", tmp_path / "truth", *options, "http,websocket,coap", "--token", token))
    assert pl.read_parquet(tmp_path / "truth")["acknowledged"].all()
