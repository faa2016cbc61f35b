"""Sparkplug edge nodes through broker, gateway and city worker: births, data by alias, a gateway that is killed, deaths, commands."""

import re
import time
from contextlib import closing
from uuid import uuid4

import polars as pl
import pytest

from agents.gateway.sparkplug.wire import PAYLOAD, DataType
from deploy.embedded.preflight import free_ports
from schemas.catalog import ALERTS, CITY_READINGS, DEAD_LETTERS, SPARKPLUG
from tests.integration.edge_node import EdgeNode, metric
from tests.integration.line import Topics, Worker, http, wait


class Line:
    """A gateway, and what comes out of it."""

    def __init__(self, settings, folder):
        self.settings, self.folder, self.port = settings, folder, free_ports(1)[0]
        self.group = f"plant {uuid4().hex[:8]}"
        self.topics = Topics(settings)

    def start(self):
        self.gateway = Worker(self.settings, self.folder, module="streams.gateway", port=self.port)
        self.gateway.wait_for("mqtt_subscribed")
        wait(lambda: http.get(f"http://127.0.0.1:{self.port}/ready").status_code == 200, self.gateway.tail, worker=self.gateway)

    def named(self, *names):
        return "~".join((self.group.replace(" ", "=20"), *names))

    def readings(self):
        """Device, temperature and time of each, in the order of the log."""
        found = self.topics.frame(CITY_READINGS).filter(pl.col("device_id").str.starts_with(self.named("")))
        return [(device.rpartition("~")[2], value, at) for device, value, at in found.select("device_id", "value", "timestamp").iter_rows()]

    def values(self, device):
        return [value for name, value, _ in self.readings() if name == device]

    def wait_for(self, device, *values):
        wait(lambda: self.values(device) == [*values], lambda: f"{self.readings()}\n{self.gateway.tail()}", 60, self.gateway)

    def statuses(self):
        found = http.get(f"http://127.0.0.1:{self.port}/api/devices", params={"text": self.named("")}).json()["devices"]
        return {each["device_id"].removeprefix(self.named("")): each["status"] for each in found}

    def wait_until(self, **statuses):
        expected = {name.replace("_", "~"): status for name, status in statuses.items()}
        wait(lambda: self.statuses() == expected, lambda: f"{self.statuses()} is not {expected}", 60, self.gateway)


@pytest.fixture(scope="module")
def line(stack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sparkplug")
    settings = stack.settings.model_copy(update={"data": folder})
    line = Line(settings, folder)
    line.start()
    with Worker(settings, folder, module="streams.city"), closing(line.topics):
        yield line
    line.gateway.kill()


@pytest.fixture(scope="module")
def edge(line):
    edge = EdgeNode(line.settings, line.group, "e1", {"oven": -12, "belt": 20})
    edge.connect()
    return edge


def test_births_are_readings_and_data_by_alias_keeps_name_and_sign(line, edge):
    edge.measure("oven", -13)
    line.wait_for("oven", -12, -13)
    line.wait_for("belt", 20)
    line.wait_until(e1="online", e1_oven="online", e1_belt="online")


def test_several_samples_of_one_payload_are_readings_of_their_own_times(line, edge):
    now = int(time.time() * 1000)
    samples = [metric("temperature", value, alias=2, kind=DataType.INT32, timestamp=now - ago) for value, ago in ((21, 3000), (22, 2000))]
    edge.tell("belt", *samples)
    line.wait_for("belt", 20, 21, 22)
    assert [at for name, _, at in line.readings() if name == "belt"][1:] == [now - 3000, now - 2000]


def test_a_hosts_command_is_no_reading_and_makes_no_device(line, edge):
    command = PAYLOAD(metrics=[metric("temperature", 66, kind=DataType.INT32, datatype=DataType.INT32)]).SerializeToString()
    for topic in (f"spBv1.0/{line.group}/DCMD/e1/oven", f"spBv1.0/{line.group}/DCMD/e1/valve", f"spBv1.0/{line.group}/NCMD/e9"):
        edge._client.publish(topic, command, qos=1).wait_for_publish(10)
    edge.measure("oven", -14)
    line.wait_for("oven", -12, -13, -14)
    assert line.statuses().keys() == {"e1", "e1~oven", "e1~belt"}


def test_devices_of_one_name_under_two_nodes_are_two(line):
    other = EdgeNode(line.settings, line.group, "e2", {"oven": 30})
    other.connect()
    wait(lambda: line.statuses().get("e2~oven") == "online", line.statuses, 60)
    other.vanish()
    wait(lambda: line.statuses()["e2"] == line.statuses()["e2~oven"] == "offline", line.statuses, 60)
    assert line.statuses()["e1~oven"] == "online"


def test_a_gateway_that_was_killed_knows_aliases_and_asks_once_for_what_it_may_have_missed(line, edge):
    before = line.values("belt")
    line.gateway.kill()
    line.start()
    edge.measure("belt", -5)
    line.wait_for("belt", *before, -5)
    wait(lambda: edge.rebirths == 1, lambda: f"{edge.rebirths} rebirths", 60)
    edge.measure("belt", -6)
    wait(lambda: line.values("belt")[-1] == -6, lambda: f"{line.readings()}", 60)
    time.sleep(3)
    assert edge.rebirths == 1


def test_a_message_that_is_lost_is_noticed(line, edge):
    edge.lose()
    edge.measure("belt", -7)
    line.gateway.wait_for("sparkplug_rebirth_asked")
    assert line.values("belt")[-1] in (-7, 20)


def test_what_no_birth_told_is_a_dead_letter_with_the_reason(line, edge):
    edge.tell("belt", metric(value=3, kind=DataType.INT32, alias=77))
    wanted = pl.col("topic") == f"spBv1.0/{line.group}/DDATA/e1/belt"
    wait(lambda: line.topics.frame(DEAD_LETTERS).filter(wanted).height, line.gateway.tail, 60)
    (letter,) = line.topics.frame(DEAD_LETTERS).filter(wanted).to_dicts()
    assert (letter["reason"], letter["detail"]) == ("untold-metric", "alias 77: no metric of its birth has it, or two have")


def test_what_is_historical_raises_no_alert_of_now_though_nothing_came_before_it(line):
    then = int(time.time() * 1000) - 3_600_000
    late = EdgeNode(line.settings, line.group, "e3", {})
    late.connect()
    late.tell("kiln", metric("temperature", 60, kind=DataType.INT32, datatype=DataType.INT32, timestamp=then, is_historical=True))
    wait(lambda: ("kiln", 60, then) in line.readings(), lambda: f"{line.readings()}", 60)
    ours = pl.col("device_id") == line.named("e3", "kiln")
    wait(lambda: line.topics.frame(ALERTS).filter(ours).height, line.gateway.tail, 60)
    (alert,) = line.topics.frame(ALERTS).filter(ours).to_dicts()
    assert (alert["historic"], alert["changed_at"], alert["value"]) == (True, then, 60)


def test_a_death_takes_devices_offline_and_an_earlier_ones_does_not(line, edge):
    edge.bury("belt")
    wait(lambda: line.statuses()["e1~belt"] == "offline", line.statuses, 60)
    assert line.statuses()["e1~oven"] == "online"
    edge.vanish()
    wait(lambda: line.statuses()["e1"] == line.statuses()["e1~oven"] == "offline", line.statuses, 60)
    edge.connect()
    wait(lambda: {line.statuses()[name] for name in ("e1", "e1~oven", "e1~belt")} == {"online"}, line.statuses, 60)


def test_nothing_of_it_was_undecodable(line):
    said = line.topics.frame(SPARKPLUG).filter(pl.col("device_id").str.starts_with(line.named("")))
    assert said.height
    assert set(said["data_type"]) == {"sparkplug"}


def test_the_ledger_counts_each_message_once(line):
    found = re.findall(r'^(headrace_(?:device|gateway)_messages_total)\{.*?outcome="(\w+)".*?\} (\S+)$', metrics(line), re.MULTILINE)
    told = {(name.split("_")[1], outcome): float(value) for name, outcome, value in found}
    ends = ("delivered", "rejected", "duplicate", "coalesced")
    assert told["device", "accepted"] == sum(told.get(("device", end), 0) for end in ends)
    assert told["gateway", "passed"] == told["device", "accepted"] - told.get(("device", "further"), 0)


def metrics(line):
    return http.get(f"http://127.0.0.1:{line.port}/metrics").text
