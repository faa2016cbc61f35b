import json
from types import SimpleNamespace

import polars as pl
import pytest

from schemas.catalog import DEVICES
from schemas.codec import Codec
from schemas.wire import encode
from streams import operators
from streams.settings import Settings
from tests.fakes.registry import registry


def older(codec):
    """The schema before its last field with a default came."""
    schema = json.loads(codec.text)
    schema["fields"].remove(next(field for field in reversed(schema["fields"]) if "default" in field))
    return Codec(json.dumps(schema))


def row(number):
    columns = DEVICES.codec.columns
    empty = {name: {pl.String: "", pl.Boolean: False, pl.Int64: 0}.get(dtype) for name, dtype in columns.items()}
    return empty | {"device_key": f"default/d-{number}", "device_id": f"d-{number}", "metadata": []}


@pytest.fixture
def topic(monkeypatch, tmp_path):
    """Puts values into the topic that is read."""
    values = []

    class Reader:
        def __init__(self, _contract):
            self.spans = {0: (0, 1)}

        def batches(self, _partition):
            return [SimpleNamespace(values=values)]

        def close(self):
            pass

    with registry() as fake:
        ours = Settings(registry=fake.url, data=tmp_path)
        monkeypatch.setattr(operators, "settings", lambda: ours)
        monkeypatch.setattr(operators, "TopicReader", Reader)
        yield fake, values


def test_records_of_every_schema_a_topic_ever_had_are_read(topic):
    fake, values = topic
    before = older(DEVICES.codec)
    fake.schemas = {1: before.text, 2: DEVICES.codec.text}
    values += encode(before, 1, pl.DataFrame([row(1)], schema=DEVICES.codec.columns))
    values += encode(DEVICES.codec, 2, pl.DataFrame([row(2)], schema=DEVICES.codec.columns))
    assert operators.records(DEVICES)["device_id"].to_list() == ["d-1", "d-2"]


def test_a_record_of_no_schema_is_told_of_and_keeps_no_other_from_being_read(topic, caplog):
    fake, values = topic
    fake.schemas = {2: DEVICES.codec.text}
    good = encode(DEVICES.codec, 2, pl.DataFrame([row(2)], schema=DEVICES.codec.columns))
    values += [None, b"\0\0\0\0\x09x", b"garbage", *good]
    assert operators.records(DEVICES)["device_id"].to_list() == ["d-2"]
    assert [record.getMessage().split()[2] for record in caplog.records] == ["reason=unknown-schema", "reason=bad-magic"]
