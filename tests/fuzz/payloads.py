"""Hostile messages: seeds of the corpus, mutated, on topics of every kind; the same for the same random numbers."""

import base64
from pathlib import Path
from typing import NamedTuple

import orjson

from agents.gateway.formats import FORMATS

CORPUS = Path(__file__).parents[1] / "corpus"
"""A folder for each kind of payload, a file for each seed: what once broke something stays here."""
DEVICES = 200
TYPES = {
    "json": "application/json",
    "avro": "application/avro",
    "protobuf": "application/protobuf",
    "sparkplug": "",
    "layout": "",
    "text": "text/plain",
}
ODD_TYPES = [
    *FORMATS,
    "application/json; charset=utf-16",
    "application/senml+json",
    "text/json",
    "image/png",
    "application/x-www-form-urlencoded",
    "/",
    "x" * 300,
]
TOPICS = {
    "json": ("sensors/{d}/air", "sensors/{d}/noise", "lights/{d}/status", "parking/{d}/occupancy", "manhole/{d}/alarm", "traffic/{d}/flow"),
    "avro": ("lights/{d}/status", "factory/plant-1/{d}/temperature"),
    "protobuf": ("lamps/{d}/state", "factory/plant-1/{d}/vibration"),
    "sparkplug": (
        "spBv1.0/g/NBIRTH/{d}",
        "spBv1.0/g/NDATA/{d}",
        "spBv1.0/g/DDATA/n/{d}",
        "spBv1.0/g/DBIRTH/n/{d}",
        "spBv1.0/g/NDEATH/{d}",
        "spBv1.0/STATE/{d}",
        "spBv1.0/g/DCMD/n/{d}",
    ),
    "layout": ("meters/{d}/raw",),
    "text": (
        "sensors/{d}/temperature",
        "devices/{d}/presence",
        "devices/{d}/heartbeat",
        "factory/plant-1/{d}/pressure",
        "devices/{d}/command/ack",
        "factory/p/{d}/command/ack",
    ),
}
ODD_TOPICS = (
    "x",
    "{d}",
    "a//b",
    "//",
    "sensors//air",
    "lights/with space/status",
    "lights/{d}/status/more",
    "factory/a/b",
    "ü/{d}/ö",
    "lights/" + "x" * 300 + "/status",
    "a/" * 400,
    "t" * 5_000,
)
LAMP = """{"type":"record","name":"Lamp","fields":[
    {"name":"on","field_number":1,"type":"boolean"},
    {"name":"power_w","field_number":2,"type":"double"}]}"""
ROWS = f"""mappings:
- {{pattern: lamps/+/state, topic: lighting.status.raw, data_type: lighting, record: '{LAMP}'}}
- {{pattern: meters/+/raw, topic: env.air.raw, data_type: environment, layout: 'temperature:>i2/10 humidity:u1 sequence:<u4 x:f8'}}
"""
NUMBERS = (
    b"0",
    b"-1",
    b"1e400",
    b"NaN",
    b"9223372036854775808",
    b"1e308",
    b"0.1",
    b"1790000000000.0",
    b"9" * 400,
    b"true",
    b'"ON"',
    b"null",
)


class Sent(NamedTuple):
    """A message."""

    topic: str
    payload: bytes
    content_type: str
    headers: dict[str, str]


class Fuzz:
    """Messages without end, by one source of random numbers."""

    def __init__(self, chance, schema_ids=()):
        """`schema_ids`: of the registry, which some Avro frames name."""
        self.chance, self.schema_ids = chance, [*schema_ids]
        self.seeds = {kind: [file.read_bytes() for file in sorted((CORPUS / kind).iterdir())] for kind in TOPICS}

    def one(self) -> Sent:
        """The next."""
        chance = self.chance
        kind = chance.choice([*TOPICS])
        payload = chance.choice(self.seeds[kind])
        if kind == "avro" and self.schema_ids and chance.random() < 0.9:
            payload = b"\0" + chance.choice(self.schema_ids).to_bytes(4) + payload[5:]
        for _ in range(chance.choice((0, 0, 0, 0, 1, 1, 1, 2, 5))):
            payload = chance.choice(MUTATIONS)(chance, payload)
        if chance.random() < 0.003:
            payload = self._large()
        topics = TOPICS[kind] if chance.random() < 0.95 else ODD_TOPICS if chance.random() < 0.5 else TOPICS[chance.choice([*TOPICS])]
        topic = chance.choice(topics).replace("{d}", f"d-{chance.randrange(DEVICES)}")
        return Sent(topic, payload, TYPES[kind] if chance.random() < 0.9 else chance.choice(ODD_TYPES), self._headers())

    def _headers(self):
        chance = self.chance
        if chance.random() < 0.9:
            return {}
        name = chance.choice(("message_id", "firmware", "device_id", "x" * 300, "ü"))
        return {name: chance.choice(("1", "a b", "é" * 50, "x" * 5_000, str(chance.random())))}

    def _large(self):
        size = self.chance.choice((60_000, 390_000, 700_000, 799_900))
        return self.chance.choice(
            (
                b'{"message_id":"' + b"x" * (size // 2) + b'","noise":1}',
                b'{"noise":50,"district":"' + b"x" * size + b'"}',
                b'{"timestamp":' + b"[" * 1_010 + b"]" * 1_010 + b',"on":true}',
                b"[" * size,
                b"\xff" * size,
                orjson.dumps({f"m{number}": number for number in range(size // 20)}),
            )
        )


def _flip(chance, payload):
    if not payload:
        return b"\x80"
    at = chance.randrange(len(payload))
    return payload[:at] + bytes([payload[at] ^ 1 << chance.randrange(8)]) + payload[at + 1 :]


def _cut(chance, payload):
    return payload[: chance.randrange(len(payload) + 1)]


def _insert(chance, payload):
    at = chance.randrange(len(payload) + 1)
    return (
        payload[:at]
        + chance.choice((chance.randbytes(chance.randrange(20)), b"\0", b"\xef\xbb\xbf", b"\xe4", b"\\ud800", b"\xff\xff\xff\x7f"))
        + payload[at:]
    )


def _lie(chance, payload):
    """A length that is none."""
    at = chance.randrange(len(payload) + 1)
    return (
        payload[:at]
        + chance.choice((b"\x7f", b"\xff\xff\xff\xff\x0f", b"\x80" * 10, b"\x00", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
        + payload[at + 1 :]
    )


def _nest(chance, payload):
    depth = chance.choice((2, 60, 70, 260, 1_000, 1_030))
    inner = chance.choice((b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth))
    return payload.replace(b":", b":" + inner + b"," if chance.random() < 0.3 else b":" + inner, 1) if b":" in payload else inner


def _number(chance, payload):
    digits = [at for at, byte in enumerate(payload) if 0x30 <= byte <= 0x39]
    if not digits:
        return payload
    at = chance.choice(digits)
    return payload[:at] + chance.choice(NUMBERS) + payload[at + 1 :]


def _again(chance, payload):
    return payload * chance.choice((2, 3, 50)) if len(payload) < 2_000 else payload


def _noise(chance, _):
    return chance.randbytes(chance.randrange(200))


def _text(_, payload):
    return base64.b64encode(payload)


MUTATIONS = (_flip, _flip, _cut, _insert, _lie, _nest, _number, _number, _again, _noise, _text)
