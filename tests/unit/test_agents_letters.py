from types import SimpleNamespace

import polars as pl
import pytest

from agents.letters import dead_letters, late_records
from schemas.catalog import DEAD_LETTERS, LATE
from schemas.rejects import Reason, Reject
from schemas.wire import decode, encode

BROKER_BYTES = 1_048_588
"""`message.max.bytes` of a broker's defaults."""
BATCH = SimpleNamespace(
    topic="factory.readings",
    partition=3,
    keys=[b"a", None, b"k" * 5_000, b"\xff\x00"],
    values=[b"one", None, b"v" * 2_000_000, bytes(range(256))],
    timestamps=[100, 200, 300, 400],
    offsets=[10, 12, 13, 17],
)


def test_a_dead_letter_says_where_its_record_is_and_holds_it_as_it_came():
    letters = dead_letters(BATCH, [Reject(3, Reason.UNDECODABLE, "garbage"), Reject(1, Reason.TOMBSTONE, "no value")])
    common = {"topic": "factory.readings", "partition": 3}
    assert letters.rows(named=True) == [
        common
        | {"reason": "undecodable", "detail": "garbage", "offset": 17, "timestamp": 400, "key": b"\xff\x00", "value": bytes(range(256))},
        common | {"reason": "tombstone", "detail": "no value", "offset": 12, "timestamp": 200, "key": None, "value": None},
    ]


def test_a_dead_letter_of_a_huge_record_with_a_huge_key_and_a_huge_name_fits_the_broker():
    letters = dead_letters(BATCH, [Reject(2, Reason.WRONG_KEY, "device_id is " + "й" * 1_000_000)])
    (value,) = encode(DEAD_LETTERS.codec, 1, letters)
    assert len(value) + len(letters["key"].item()) < BROKER_BYTES * 0.9
    assert letters["value"].item() == b"v" * 800_000
    assert letters["detail"].item().startswith("device_id is й")


@pytest.mark.parametrize("rows", [[], [0], [0, 1, 2, 3]])
def test_dead_letters_are_written_and_read_back(rows):
    letters = dead_letters(BATCH, [Reject(row, Reason.RULE_CRASHED, "") for row in rows])
    decoded = decode(encode(DEAD_LETTERS.codec, 1, letters), DEAD_LETTERS.codec, {1: DEAD_LETTERS.codec})
    assert decoded.rejects == []
    assert decoded.frame.drop("row").rows(named=True) == [
        {name: letter[name] for name in DEAD_LETTERS.codec.columns} for letter in letters.rows(named=True)
    ]


def test_a_late_record_holds_its_record_and_how_late_it_was():
    late = pl.DataFrame(
        {"row": [0, 3], "device_id": ["a", "б"], "offset": [10, 17], "timestamp": [1_000, 2_000], "watermark": [70_000, 70_001]},
        schema_overrides={"row": pl.UInt32},
    )
    records = late_records(BATCH, late)
    assert records.select("device_id", "topic", "partition", "offset", "timestamp", "late_by_ms", "value").rows() == [
        ("a", "factory.readings", 3, 10, 1_000, 69_000, b"one"),
        ("б", "factory.readings", 3, 17, 2_000, 68_001, bytes(range(256))),
    ]
    decoded = decode(encode(LATE.codec, 1, records), LATE.codec, {1: LATE.codec})
    assert decoded.frame["late_by_ms"].to_list() == [69_000, 68_001]


def test_a_late_record_of_a_huge_value_fits_the_broker():
    late = pl.DataFrame({"row": [2], "device_id": ["x" * 200], "offset": [13], "timestamp": [1_000], "watermark": [70_000]})
    (value,) = encode(LATE.codec, 1, late_records(BATCH, late))
    assert len(value) < BROKER_BYTES * 0.9
