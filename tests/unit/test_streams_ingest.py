import asyncio
from types import SimpleNamespace

import orjson
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from agents.gateway.mapping import DEFAULT, Routes, Row
from agents.gateway.place import Place
from schemas.catalog import READINGS
from schemas.wire import encode
from streams.bulk_mqtt import Arrival
from streams.ingest import Ingest

TOPICS = st.sampled_from(
    [
        "sensors/s/temperature",
        "lights/l/status",
        "homeassistant/sensor/x/config",
        "devices/d/presence",
        "devices/d/heartbeat",
        "pulse/d",
        "factory/p/d/temperature",
        "factory/p/d/command",
        "factory/p/d/command/ack",
        "devices/d/command/ack",
        "spBv1.0/g/NDATA/n",
    ]
)
BEATS = ("devices/d/heartbeat", "pulse/d")
ARRIVALS = st.lists(
    st.builds(
        Arrival,
        st.just(1),
        st.integers(1, 9),
        st.sampled_from([0, 1, 2]),
        TOPICS,
        st.sampled_from([b"", b"1"]),
        st.just(b""),
        st.booleans(),
    )
)


class Session:
    def __init__(self):
        self.acknowledged = []

    def pending(self, arrivals):
        return [*arrivals]

    def acknowledge(self, arrivals):
        self.acknowledged += arrivals


def ingest(**more):
    app = SimpleNamespace(writes=[], services=[], metrics=SimpleNamespace(sources=[]), **more)
    place = Place("gw", "run", "default")
    place.adopt(Routes([*DEFAULT, Row(pattern="pulse/+", topic="device-presence", data_type="heartbeat")]))
    return Ingest(app, Session(), SimpleNamespace(place=place), None)


@given(ARRIVALS)
def test_copies_and_what_clears_them_are_acknowledged_counted_and_of_no_device(arrivals):
    made = ingest()
    fresh = made._fresh(arrivals)
    assert [*fresh] == [each for each in arrivals if not each.is_retained and (each.payload or each.topic in BEATS)]
    assert made.retained == sum(each.is_retained for each in arrivals)
    assert (made.received, made.retained + made.cleared) == (len(arrivals), len(made.session.acknowledged))
    assert len(fresh) + len(made.session.acknowledged) == len(arrivals)
    assert not made.gate.place.fleet.devices


def test_a_clear_is_no_name_of_a_topic_either():
    made = ingest()
    made._fresh([Arrival(1, 1, 1, f"unmapped/d_{number}/x", b"", b"") for number in range(100)])
    assert (made.cleared, made.gate.place.routes._filled) == (100, {})


async def test_readings_of_a_schema_that_is_not_known_hold_up_their_device_and_no_other():
    told, sent = asyncio.Event(), []

    async def fetch(ids):
        await told.wait()
        writers.known[7] = READINGS.codec

    async def send_frame(contract, frame, keys=None):
        if contract is READINGS:
            sent.extend((each["device_id"], each["value"]) for each in frame.iter_rows(named=True))

    async def flush():
        await asyncio.sleep(0)

    writers = SimpleNamespace(known={}, missing=set(), fetch=fetch)
    made = ingest(writers=writers, send_frame=send_frame, bulk=SimpleNamespace(flush=flush))

    def reading(device, number, schema_id=None):
        row = {"device_id": device, "sensor_type": "t", "timestamp": 1, "location": "", "metadata": {}, "plant": "p", "value": number}
        if schema_id is None:
            return arrival(device, orjson.dumps({"value": number, "timestamp": 1}), b"")
        (payload,) = encode(READINGS.codec, schema_id, pl.DataFrame([row], READINGS.codec.columns))
        return arrival(device, payload, b"\x03\x00\x10application/avro")

    def arrival(device, payload, properties):
        return Arrival(1, 1, 1, f"factory/p/{device}/t", payload, properties)

    await made._take([reading("a", 0), reading("a", 1, 7), reading("b", 0), reading("a", 2), reading("b", 1)])
    await made._take([reading("a", 3), reading("b", 2)])
    assert sent == [("a", 0), ("b", 0), ("b", 1), ("b", 2)]
    assert (made.waiting, len(made.session.acknowledged), made.produced) == (3, 4, 4)
    told.set()
    while made.waiting:  # noqa: ASYNC110, there is nothing to wait for
        await asyncio.sleep(0)
    assert [number for device, number in sent if device == "a"] == [0, 1, 2, 3]
    assert (len(made.session.acknowledged), made.produced, made._behind) == (7, 7, {})
