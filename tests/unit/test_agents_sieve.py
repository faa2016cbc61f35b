import polars as pl

from agents.sieve import Sieve
from schemas.rejects import Reason, Reject

NOW = 1_760_000_000_000
READING = {"key": b"a", "device_id": "a", "value": 1.0, "timestamp": NOW, "arrival": NOW, "limit": 2.0}
SIEVE = Sieve((pl.col("value") > pl.col("limit"), Reason.OUT_OF_RANGE, pl.format("{} is above {}", "value", "limit")))


def sift(*changes):
    return SIEVE.sift(pl.DataFrame([READING | {"row": row} | change for row, change in enumerate(changes)]))


def test_a_domains_own_faults_count_after_the_common_ones():
    readings, rejects = sift({}, {"value": 3.0}, {"value": 3.0, "timestamp": 0}, {"limit": 0.5})
    assert readings["row"].to_list() == [0]
    assert [(reject.row, reject.reason) for reject in rejects] == [
        (1, Reason.OUT_OF_RANGE),
        (2, Reason.BAD_TIMESTAMP),
        (3, Reason.OUT_OF_RANGE),
    ]


def test_a_fault_that_cannot_be_told_is_one():
    readings, rejects = sift({}, {"limit": None})
    assert readings["row"].to_list() == [0]
    assert rejects == [Reject(1, Reason.OUT_OF_RANGE, "")]
