import asyncio

import polars as pl

from deploy.simulate import kafka_sink
from deploy.simulate.delivery import deliveries
from deploy.simulate.faults import Faults
from deploy.simulate.fleet import fleet
from deploy.simulate.sent import Sent
from deploy.simulate.signals import Signals
from deploy.simulate.status import Status, told
from deploy.simulate.truth import Truth

FLEET = fleet(10, seed=1)


def test_what_was_sent_is_told_reading_by_reading_with_what_nobody_acknowledged():
    log = Sent(FLEET)
    truth = Truth(FLEET, {"avro": kafka_sink.REJECTED}, log)
    mix = Faults(duplicates=0.1, disorder=0.1, late=0.05, garbage=0.1)
    for records in deliveries(Signals(FLEET, 1, 1_760_000_000_000, 1000), mix, truth, 20, 7, asyncio.Event()):
        truth.delivered(records)
    sent = log.frame([0, 5])
    assert sent.height == truth.counts()["sent"]
    assert sent.with_row_index().filter(~pl.col("acknowledged"))["index"].to_list() == [0, 5]
    assert sent.filter(fault="duplicate").height == truth.counts()["duplicates"]
    sound = sent.filter(pl.col("fault").is_in(["sound", "disorder"])).sort("timestamp")
    for _, of_sensor in sound.group_by("device_id", "sensor_type"):
        assert of_sensor["sequence"].to_list() == [*range(1, 21)]
    assert sent.filter(~pl.col("fault").is_in(["sound", "disorder"]))["sequence"].null_count() == sent.height - sound.height


def test_a_run_that_sent_nothing_has_no_rows():
    assert Sent(FLEET).frame([]).height == 0


async def test_a_status_is_in_its_file_from_the_start_and_the_last_one_at_the_end(tmp_path):
    path = tmp_path / "status.json"
    assert Status.read(path) == Status()
    now = Status(1, 2, 3)
    async with told(path, lambda: now):
        await asyncio.sleep(0.01)
        assert Status.read(path) == Status(1, 2, 3)
        now = Status(4, 0, 6)
    assert Status.read(path) == Status(4, 0, 6)
