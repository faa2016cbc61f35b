from agents.gateway.message import Post, Source
from agents.gateway.place import Place
from streams.heard import Heard


def test_whom_a_host_speaks_to_was_not_heard():
    told = []
    heard = Heard(Place("gw-1", "run", "city"), told.extend)
    heard.witness(Source.MQTT, [Post(topic, b"") for topic in ("spBv1.0/g/DCMD/e/d", "spBv1.0/g/NDEATH/e", "zigbee2mqtt/heater/set")], 1)
    assert told == []
    heard.witness(Source.MQTT, [Post("spBv1.0/g/DDATA/e/d", b"")], 1)
    assert told == [("city", "g~e~d")]
