import asyncio

import numpy as np
import orjson
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from agents.city.kinds import KINDS as UNDERSTOOD
from agents.city.sensors import SENSORS
from agents.gateway.mapping import Routes
from agents.gateway.message import Source
from deploy.simulate.city.delivery import Mix, again, deliveries, heartbeats
from deploy.simulate.city.fleet import MOST_CONNECTED, fleet
from deploy.simulate.city.kinds import BROKEN, KINDS
from deploy.simulate.city.lanes import Lane, Lost
from deploy.simulate.city.mqtt_link import publish
from deploy.simulate.city.outgoing import Outgoing, Pending
from deploy.simulate.city.signals import Signals
from deploy.simulate.city.truth import Truth
from streams.bulk_mqtt import messages as parsed

START_MS = 1_760_000_000_000
HOUR_MS = 3_600_000
ALL = [*Source]
FLEET = fleet(200, 1, ALL, "city")
SIGNALS = Signals(FLEET, 1, START_MS, 1000)


def sent(signals, mix, rounds, at_once=3):
    return pl.concat([*deliveries(signals, mix, rounds, at_once, asyncio.Event())])


def said(messages, kind):
    rows = (FLEET["kind"] == kind).arg_true()
    of_kind = messages.filter(pl.col("device").is_in(rows.implode()))
    return of_kind.select("device"), pl.DataFrame([orjson.loads(payload) for payload in of_kind["payload"]])


def test_a_city_has_every_kind_of_device_and_each_speaks_one_protocol():
    assert fleet(8, 1, ALL, "city")["kind"].n_unique() == len(KINDS)
    for devices in (1, 5, 8, 200):
        city = fleet(devices, 1, ALL, "city")
        assert city.height == city["device_id"].n_unique() == city["topic"].n_unique() == devices
    assert FLEET.group_by("protocol").len()["len"].to_list() == [50] * 4
    assert FLEET["device_id"].str.split("_").list.first().unique().to_list() == ["city"]


def test_few_devices_of_a_big_city_hold_a_connection_of_their_own():
    by_protocol = dict(fleet(5000, 1, ALL, "city").group_by("protocol").len().iter_rows())
    assert by_protocol == {"coap": MOST_CONNECTED, "websocket": MOST_CONNECTED, "http": 2300, "mqtt": 2300}
    assert fleet(500, 1, [Source.COAP], "city")["protocol"].unique().to_list() == ["coap"]


def test_the_mapping_has_a_place_for_every_kind():
    routes = Routes()
    for device, topic, qos in FLEET.select("device_id", "topic", "qos").iter_rows():
        target = routes.target(topic)
        assert target.pattern
        assert (target.device_id, target.qos) == (device, qos)


@pytest.mark.parametrize("hour", range(0, 24, 3))
def test_what_devices_measure_is_within_its_range_at_any_hour(hour):
    limits = {sensor.sensor_type: sensor for sensor in SENSORS}
    for kind in KINDS:
        _, values = said(Signals(FLEET, 1, START_MS + hour * HOUR_MS, 60_000).messages(0, 20), kind.name)
        measured = values.drop("timestamp", "sequence", "district").rename(lambda name, of=kind.name: of if name == "value" else name)
        for name in measured.columns:
            limit = limits[name]
            assert measured[name].cast(pl.Float64).is_between(limit.minimum, limit.maximum).all(), name
        data_type = Routes().target(kind.topic.format("x")).data_type
        assert set(measured.columns) <= UNDERSTOOD[data_type].members


def test_lights_burn_at_night_and_the_broken_ones_draw_nothing():
    midnight = START_MS // 86_400_000 * 86_400_000
    for hour, on in ((0, True), (12, False)):
        _, lights = said(Signals(FLEET, 1, midnight + hour * HOUR_MS, 1000).messages(0, 3), "light")
        assert lights["on"].unique().to_list() == [on]
    devices, lights = said(Signals(FLEET, 1, midnight, 1000).messages(0, 3), "light")
    dark = devices.filter(lights["power_w"] < 1)["device"].n_unique()
    assert dark == np.ceil(BROKEN * devices["device"].n_unique())
    assert lights["fault"].any()


def test_manholes_are_rarely_unsafe_but_one_is_soon():
    messages = SIGNALS.messages(0, 120)
    devices, manholes = said(messages, "manhole")
    unsafe = manholes.select((pl.col("tilt_deg") > 5) | (pl.col("water_cm") > 80) | (pl.col("gas_ppm") > 4400)).to_series()
    assert devices.filter(unsafe)["device"].n_unique() == 1
    assert 55 < unsafe.sum() < 65
    assert manholes.filter(unsafe)["timestamp"].min() < START_MS + 20_000


def test_cars_park_and_leave():
    _, places = said(Signals(FLEET, 1, START_MS, 60_000).messages(0, 240), "parking")
    assert 0.2 < places["occupied"].mean() < 0.95


def test_the_same_seed_gives_the_same_messages_however_many_rounds_at_once():
    assert_frame_equal(SIGNALS.messages(0, 5), pl.concat([SIGNALS.messages(0, 2), SIGNALS.messages(2, 3)]).sort("sent_at", "number"))
    assert not Signals(FLEET, 2, START_MS, 1000).messages(0, 5).equals(SIGNALS.messages(0, 5))


def test_devices_number_their_messages_in_the_order_they_send_them():
    messages = SIGNALS.messages(0, 20)
    assert messages["sent_at"].is_sorted()
    by_device = messages.group_by("device", maintain_order=True).agg("sequence", "number")
    assert all(sequence == list(range(20)) for sequence in by_device["sequence"].to_list())
    assert messages["number"].is_unique().all()
    documents = [orjson.loads(payload) for payload in messages["payload"]]
    assert [document["sequence"] for document in documents] == messages["sequence"].to_list()
    assert [document["timestamp"] for document in documents] == messages["timestamp"].to_list()


def test_disorder_is_of_event_time_either_way_and_not_of_the_order_of_sending():
    messages = Signals(FLEET, 1, START_MS, 1000, disorder_ms=60_000).messages(0, 20)
    off = (messages["timestamp"] - messages["sent_at"]) / 1000
    assert -60 <= off.min() < -50
    assert 50 < off.max() <= 60
    assert messages["sent_at"].is_sorted()
    assert messages.select(pl.col("sequence").diff().over("device").drop_nulls().eq(1).all()).item()


def test_faults_add_messages_and_take_none():
    records = sent(SIGNALS, Mix(duplicates=0.05, garbage=0.02), 50)
    sound = records.filter(pl.col("fault").is_null()).drop("fault")
    assert_frame_equal(sound.sort("number"), SIGNALS.messages(0, 50).sort("number"))
    counts = dict(records["fault"].value_counts().iter_rows())
    assert 0.04 < counts["duplicate"] / sound.height < 0.06
    assert 0.015 < counts["garbage"] / sound.height < 0.025


def test_a_duplicate_is_the_same_message_sent_later():
    records = sent(SIGNALS, Mix(duplicates=0.2), 20)
    assert records["sent_at"].is_sorted()
    copies = records.filter(fault="duplicate").join(records.filter(pl.col("fault").is_null()), on="number", suffix="_before")
    assert (copies["payload"] == copies["payload_before"]).all()
    assert (copies["sent_at"] - copies["sent_at_before"]).is_between(0, 2000).all()
    assert (copies["sent_at"] > copies["sent_at_before"]).any()


def test_garbage_is_nothing_anybody_can_read_and_has_no_number():
    garbage = sent(SIGNALS, Mix(garbage=0.1), 10).filter(fault="garbage")
    assert (garbage["number"] < 0).all()
    for payload in garbage["payload"]:
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(payload)


def test_messages_come_a_second_at_a_time_even_of_a_city_that_says_little():
    parts = [*deliveries(Signals(FLEET, 1, START_MS, 100_000), Mix(), 1, 1, asyncio.Event())]
    assert len(parts) > 50
    assert all(part["sent_at"].max() - part["sent_at"].min() < 1000 for part in parts)


def test_what_was_sent_is_sent_again_as_it_was():
    start, end = START_MS + 5_500, START_MS + 65_500
    records = pl.concat([*again(SIGNALS, start, end)])
    first = SIGNALS.messages(0, 100).filter(pl.col("sent_at").is_between(start, end, closed="left"))
    assert_frame_equal(records.drop("fault"), first)
    assert sum(part.height for part in again(SIGNALS, START_MS - 60_000, START_MS + 1000)) == FLEET.height


def test_heartbeats_are_one_of_each_device_and_no_part_of_the_truth():
    beats = heartbeats(SIGNALS, START_MS)
    assert beats["device"].to_list() == list(range(FLEET.height))
    truth = Truth(FLEET)
    truth.delivered(beats)
    truth.settled(-1, "mqtt", "delivered")
    assert truth.frame().height == 0


def test_the_truth_knows_each_message_and_whether_somebody_took_it():
    truth = Truth(FLEET)
    records = sent(SIGNALS, Mix(duplicates=0.1, garbage=0.1), 4)
    truth.delivered(records)
    for number, verdict in ((0, "delivered"), (201, "spooled"), (402, "duplicate"), (3, "rejected"), (-1, "delivered")):
        truth.settled(number, "http", verdict)
    frame = truth.frame()
    assert frame.height == 4 * FLEET.height
    taken = frame.filter("acknowledged").select("device_id", "sequence").rows()
    assert taken == [(FLEET["device_id"][n], n) for n in range(3)]
    assert truth.sent["sound"] == 800
    assert truth.sent.total() == records.height


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("size", [0, 100, 20_000])
def test_a_published_packet_is_one_that_the_gateway_reads(qos, size):
    message = Outgoing(0, 7, "lights/x/status", b"x" * size, qos, readable=True)
    (arrival,), end = parsed(publish(message, 77), 0, 0, has_properties=False)
    assert (arrival.mid, arrival.qos, arrival.topic, arrival.payload) == (77 if qos else 0, qos, message.topic, message.payload)
    assert not arrival.is_retained
    assert end == len(publish(message, 77))


class Scripted(Lane):
    at_once = 4

    def __init__(self, answers):
        super().__init__()
        self.answers, self.asked, self.wait_seconds = answers, [], 0

    async def exchange(self, messages):
        self.asked.append([message.number for message in messages])
        answer = self.answers.pop(0)
        if answer is None:
            raise Lost
        return answer

    async def hang_up(self):
        self.asked.append("hung up")


async def test_what_was_refused_goes_before_what_came_later(monkeypatch):
    monkeypatch.setattr("deploy.simulate.city.lanes.RETRY_SECONDS", 0)
    ok, full = "delivered", "full"
    lane = Scripted([[ok, full, full, ok], None, [ok] * 4])
    pending, settled = Pending(), []

    def settle(message, verdict):
        settled.append((message.number, verdict))
        pending.add(-1)

    for number in range(6):
        lane.put(Outgoing(0, number, "", b"", 1, readable=True))
    pending.add(6)
    carrying = asyncio.create_task(lane.carry(settle))
    await pending.at_most(0)
    carrying.cancel()
    assert lane.asked == [[0, 1, 2, 3], [1, 2, 4, 5], "hung up", [1, 2, 4, 5]]
    assert settled == [(number, ok) for number in (0, 3, 1, 2, 4, 5)]
