"""What a plant's uplink carries to the centre: two brokers, two registries that number the same schemas differently."""

import json
import struct
import threading
import urllib.error
import urllib.request
from contextlib import closing

import polars as pl
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from bench.jobs import delete_group
from deploy.embedded.stack import LocalStack, on_free_ports
from schemas.catalog import ALERTS, CONTRACTS, DEAD_LETTERS, LATE, RULES, WINDOWS, Contract
from schemas.codec import Codec
from schemas.registry import Registry
from schemas.rejects import Reason
from schemas.wire import encode
from tests.integration.line import PATIENCE, Topics, Worker, produce, sample, wait

CENTRAL = [contract for contract in CONTRACTS.values() if contract.central]


class Draft(Contract):
    """A contract with a schema that is no file's."""

    def __init__(self, contract, text):
        super().__init__(topic=contract.topic, key=contract.key, partitions=4, retention_hours=1, sink="none")
        object.__setattr__(self, "text", text)

    @property
    def codec(self):
        return Codec(self.text)


def newer(contract):
    """The contract as a later version of Headrace may have it."""
    schema = json.loads(contract.codec.text)
    schema["fields"].append({"name": "added", "type": "string", "default": "nothing"})
    return Draft(contract, json.dumps(schema))


class Elsewhere(LocalStack):
    """A stack whose registry numbers schemas otherwise."""

    def _provision(self):
        client = Registry(self.settings.registry, self.settings.data / "schemas")
        for contract in (newer(LATE), *CONTRACTS.values()):
            client.register(contract)
        super()._provision()


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """The centre."""
    with Elsewhere(on_free_ports(tmp_path_factory.mktemp("centre")), ("kafka", "registry")) as running:
        yield running


@pytest.fixture(scope="module")
def plant(kafka, there):
    """The plant's settings, once its broker can answer about the group."""
    delete_group(AdminClient({"bootstrap.servers": kafka.kafka, "log_level": 0}), "uplink")
    return kafka.model_copy(update={"centre": there.settings.kafka, "centre_registry": there.settings.registry})


@pytest.fixture
def ours(plant):
    with closing(Topics(plant, "uplink")) as topics:
        yield topics


@pytest.fixture
def theirs(there):
    with closing(Topics(there.settings, "test")) as topics:
        yield topics


def uplink(plant, folder):
    return Worker(plant, folder, instance="uplink", module="streams.uplink")


def records(topics, contract, *, but=()):
    """By partition, in order, of every record: key, schema id, body and Kafka timestamp."""
    return {
        partition: [
            (key, int.from_bytes(value[1:5]), value[5:], timestamp)
            for key, value, timestamp in zip(batch.keys, batch.values, batch.timestamps, strict=True)
            if value not in but
        ]
        for partition, batch in topics.read(contract.topic).items()
    }


def but_schema_ids(of_partitions):
    return {partition: [(key, *rest) for key, _, *rest in found] for partition, found in of_partitions.items()}


def schema_ids(of_partitions):
    return {schema_id for found in of_partitions.values() for _, schema_id, *_ in found}


def ready(running):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/ready") as answer:
            return answer.status, json.load(answer)["checks"]["centre"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["checks"]["centre"]
    except OSError:
        return 0, {}


def metric(running, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {line.split("{")[1].split("}")[0]: float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{")}


def test_the_centre_has_what_the_plant_has_under_its_own_schema_ids_and_garbage_stays_behind(plant, ours, theirs, tmp_path):
    window, alert = sample(WINDOWS, 3_000), sample(ALERTS, 500)
    produce(plant, WINDOWS, pl.concat([window, window.with_columns(revision=pl.col("revision") + 1)]))
    produce(plant, ALERTS, alert)
    produce(plant, newer(ALERTS), alert.with_columns(added=pl.lit("later"), message=pl.lit("of a later version")))
    good = encode(ALERTS.codec, Registry(plant.registry, tmp_path).register(ALERTS), alert)[0]
    foreign = struct.pack(">bI", 0, Registry(plant.registry, tmp_path).register(RULES)) + good[5:]
    large = encode(ALERTS.codec, int.from_bytes(good[1:5]), alert.head(1).with_columns(message=pl.lit("x" * 900_000)))[0]
    garbage = {
        b"": Reason.BAD_MAGIC,
        good[:-3]: Reason.UNDECODABLE,
        b"\x00\x7f\xff\xff\xff" + good[5:]: Reason.UNKNOWN_SCHEMA,
        foreign: Reason.INCOMPATIBLE_SCHEMA,
        large: Reason.TOO_LARGE,
    }
    produce(plant, ALERTS, pl.DataFrame({"device_id": ["press-7"] * len(garbage)}), values=list(garbage))
    with uplink(plant, tmp_path) as running:
        for contract in CENTRAL:
            ours.wait_until_read(running, contract.topic)
        wait(lambda: ready(running)[0] == 200, lambda: f"{ready(running)}", worker=running)
        counted, delays = metric(running, "headrace_uplink_records_total"), metric(running, "headrace_uplink_seconds_count")
        assert running.stop() == 0, running.tail()
    centres = Registry(plant.centre_registry, tmp_path)
    for contract, versions in ((WINDOWS, [WINDOWS]), (ALERTS, [ALERTS, newer(ALERTS)])):
        sent, arrived = records(ours, contract, but=garbage), records(theirs, contract)
        assert but_schema_ids(arrived) == but_schema_ids(sent)
        assert schema_ids(arrived) == {centres.register(version) for version in versions}
        assert schema_ids(arrived).isdisjoint(schema_ids(sent))
    assert sorted(ours.frame(DEAD_LETTERS)["reason"]) == sorted(map(str, garbage.values()))
    assert sum(theirs.ends(DEAD_LETTERS.topic).values()) == 0
    expected = {'outcome="received",topic="factory.windows"': 6_000, 'outcome="forwarded",topic="factory.windows"': 6_000}
    assert expected.items() <= counted.items()
    assert counted['outcome="forwarded",topic="alerts"'] == counted['outcome="received",topic="alerts"'] - len(garbage) == 1_000
    assert delays.keys() == {f'topic="{contract.topic}"' for contract in CENTRAL}


def test_whichever_is_killed_the_centre_has_everything_and_each_keys_first_appearances_in_order(plant, there, ours, theirs, tmp_path):
    stop = threading.Event()

    def produce_steadily():
        producer = Producer({"bootstrap.servers": plant.kafka, "partitioner": "murmur2_random", "linger.ms": 5, "log_level": 0})
        schemas = {contract: Registry(plant.registry, tmp_path).register(contract) for contract in CENTRAL}
        for turn in range(10_000):
            if stop.wait(0.1):
                break
            for contract in CENTRAL:
                frame = sample(contract, 100).with_columns(
                    device_id=pl.format("turbine-{}", pl.int_range(100) % 20),
                    **{"revision" if contract is WINDOWS else "value": turn * 100 + pl.int_range(100).cast(pl.Float64)},
                )
                for key, value in zip(frame["device_id"], encode(contract.codec, schemas[contract], frame), strict=True):
                    producer.produce(contract.topic, value, key)
            producer.poll(0)
        assert producer.flush(PATIENCE) == 0

    def of_turbines(of_partitions):
        return {p: [record for record in found if record[0].startswith(b"turbine")] for p, found in of_partitions.items()}

    def wait_until_some_arrive(running):
        before = theirs.ends(ALERTS.topic)
        wait(lambda: theirs.ends(ALERTS.topic) != before, lambda: f"nothing arrives\n{running.tail()}", worker=running)

    load = threading.Thread(target=produce_steadily)
    load.start()
    try:
        with uplink(plant, tmp_path) as running:
            wait_until_some_arrive(running)
            running.kill()
        with uplink(plant, tmp_path) as running:
            wait_until_some_arrive(running)
            there.kafka.kill()
            try:
                wait(lambda: ready(running)[1].get("ok") is False, lambda: f"{ready(running)}", worker=running)
                assert ready(running)[0] == 503
            finally:
                there.kafka.start()
                there.kafka.wait()
            stop.set()
            load.join()
            for contract in CENTRAL:
                ours.wait_until_read(running, contract.topic)
            wait(lambda: ready(running)[1].get("ok"), lambda: f"{ready(running)}", worker=running)
            assert running.stop() == 0, running.tail()
    finally:
        stop.set()
        load.join()
    for contract in CENTRAL:
        sent, arrived = (of_turbines(but_schema_ids(records(topics, contract))) for topics in (ours, theirs))
        assert all(len(set(found)) == len(found) > 100 for found in sent.values())
        assert {partition: list(dict.fromkeys(found)) for partition, found in arrived.items()} == sent


def test_an_uplink_without_a_centre_or_with_its_own_plant_for_one_does_not_start(plant, tmp_path):
    nowhere, itself = plant.model_copy(update={"centre": ""}), plant.model_copy(update={"centre": plant.kafka})
    with uplink(nowhere, tmp_path) as lost, uplink(itself, tmp_path) as circular:
        for running, said in ((lost, "Set HEADRACE_CENTRE"), (circular, "the plant's own Kafka")):
            assert running.process.wait(PATIENCE) == 1
            assert said in running.tail()
