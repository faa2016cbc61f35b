import polars as pl

from deploy.demo import trace


def test_a_reading_whose_copy_is_in_kafka_too_is_one_reading_and_is_found_where_it_is_stored(monkeypatch):
    keys = {"device_id": "press-1", "sensor_type": "pressure", "timestamp": 1_760_000_000_500}
    copies = pl.DataFrame([keys | {"place": "factory.readings/0@1"}, keys | {"place": "factory.readings/0@2"}])
    monkeypatch.setattr(trace, "_in_kafka", lambda *_: copies)
    sent = pl.DataFrame([keys | {"sequence": 1, "fault": "sound", "acknowledged": True}])
    stored = {"points": [{"at": 1_760_000_000_000, "readings": 1}]}
    assert trace.of_factory(sent, 0, lambda *_: stored).height == 0
    (missing,) = trace.of_factory(sent, 0, lambda *_: {"points": []}).iter_rows(named=True)
    assert missing["last_seen"] == "Kafka, factory.readings/0@1: it is not in ClickHouse"
