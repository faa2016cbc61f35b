import asyncio
from types import SimpleNamespace

import orjson
import pytest
import typer

from deploy import records_commands
from deploy.records_commands import Wanted, record
from schemas.catalog import DEAD_LETTERS, READINGS
from schemas.wire import decode
from streams.settings import settings
from tests.fakes.registry import registry

READING = {"device_id": "press-1", "sensor_type": "voltage", "value": 230, "timestamp": 1_780_000_000_000}


def test_a_line_becomes_a_record_keyed_by_its_device():
    key, body = record(READINGS, 1, orjson.dumps(READING))
    (row,) = decode([b"\0\0\0\0\7" + body], READINGS.codec, {7: READINGS.codec}).frame.rows(named=True)
    assert key == b"press-1"
    assert {name: row[name] for name in READING} == READING
    assert row["location"] == ""


@pytest.mark.parametrize("at", [b"1.78e12", b"1780000000000.0"])
def test_an_integer_may_have_a_decimal_point_or_an_exponent(at):
    line = orjson.dumps(READING).replace(b"1780000000000", at)
    assert record(READINGS, 1, line) == record(READINGS, 1, orjson.dumps(READING))


def test_a_topic_without_a_key_of_its_own_has_none():
    letter = {"reason": "r", "detail": "d", "topic": "t", "partition": 0, "offset": 1, "timestamp": 2, "key": None, "value": None}
    assert record(DEAD_LETTERS, 1, orjson.dumps(letter))[0] is None


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (orjson.dumps(READING | {"value": "230"}), "SensorReading.value is <230> of type <class 'str'> expected double"),
        (orjson.dumps(READING | {"timestamp": 2**64 - 1}), "expected long"),
        (orjson.dumps(READING | {"colour": "red"}), "more fields than the schema specifies: colour"),
        (b'{"device_id": "a"}', "sensor_type) is None expected string"),
        (b"{", "unexpected end of data"),
        (b"3", "a line is a JSON object, not 3"),
        (b'[["device_id", "a"]]', "a line is a JSON object, not [['device_id', 'a']]"),
        (b'{"device_id": "a", "device_id": "b"}', "member 'device_id' is there twice"),
        (orjson.dumps(READING | {"timestamp": 1_780_000_000_000.5}), "expected long"),
    ],
)
def test_a_line_that_does_not_fit_is_told_of_with_what_the_topic_has(wrong, problem, capsys):
    with pytest.raises(typer.Exit):
        record(READINGS, 2, wrong)
    told = capsys.readouterr().err
    assert told.startswith("line 2: ")
    assert problem in told
    assert "factory.readings has device_id (String), sensor_type (String), value (Float64)" in told


@pytest.mark.parametrize(
    ("wanted", "values"),
    [
        (Wanted(None, None, 4), [0, 1, 2, 3]),
        (Wanted(None, "press-1", 2), [0, 2]),
        (Wanted(b"press-2", None, 2), [1, 3]),
        (Wanted(b"press-1", "press-1", 1), [0]),
    ],
)
def test_records_of_one_device_or_key_alone_are_shown_and_counted(monkeypatch, tmp_path, capsys, wanted, values):
    with registry() as fake:
        monkeypatch.setattr(settings(), "registry", fake.url)
        monkeypatch.setattr(settings(), "data", tmp_path)
        bodies = [record(READINGS, 1, orjson.dumps(READING | {"device_id": f"press-{n % 2 + 1}", "value": n})) for n in range(4)]
        messages = [
            SimpleNamespace(error=lambda: None, key=lambda key=key: key, value=lambda body=body: b"\0\0\0\0\1" + body)
            for key, body in bodies
        ]
        consumer = SimpleNamespace(assign=lambda _: None, consume=lambda *_: messages, close=lambda: None)
        monkeypatch.setattr(records_commands, "Consumer", lambda _: consumer)
        monkeypatch.setattr(records_commands, "_starts", lambda *_: [])
        asyncio.run(records_commands._read(READINGS, None, wanted))
    assert [orjson.loads(line)["value"] for line in capsys.readouterr().out.splitlines()] == values
