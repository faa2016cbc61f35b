from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from agents.gateway.mapping import DEFAULT, Routes, Row
from agents.gateway.place import Place
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

    def acknowledge(self, arrivals):
        self.acknowledged += arrivals


def ingest():
    app = SimpleNamespace(writes=[], services=[], metrics=SimpleNamespace(sources=[]))
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
