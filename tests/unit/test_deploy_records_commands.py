import orjson
import pytest
import typer

from deploy.records_commands import record
from schemas.catalog import DEAD_LETTERS, READINGS
from schemas.wire import decode

READING = {"device_id": "press-1", "sensor_type": "voltage", "value": 230, "timestamp": 1_780_000_000_000}


def test_a_line_becomes_a_record_keyed_by_its_device():
    key, body = record(READINGS, 1, orjson.dumps(READING))
    (row,) = decode([b"\0\0\0\0\7" + body], READINGS.codec, {7: READINGS.codec}).frame.rows(named=True)
    assert key == b"press-1"
    assert {name: row[name] for name in READING} == READING
    assert row["location"] == ""


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
        (b"3", "not iterable"),
    ],
)
def test_a_line_that_does_not_fit_is_told_of_with_what_the_topic_has(wrong, problem, capsys):
    with pytest.raises(typer.Exit):
        record(READINGS, 2, wrong)
    told = capsys.readouterr().err
    assert told.startswith("line 2: ")
    assert problem in told
    assert "factory.readings has device_id (String), sensor_type (String), value (Float64)" in told
