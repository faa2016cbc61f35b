import polars as pl

from schemas.bounds import RECORD_BYTES
from schemas.catalog import DEAD_LETTERS, DISTRICTS
from streams.assembly import App


class Sending:
    """What `App.send_frame` needs of an app."""

    send_frame, _without_too_large = App.send_frame, App._without_too_large

    def __init__(self):
        self.schema_ids = {DISTRICTS.topic: 1, DEAD_LETTERS.topic: 2}
        self.sent, self.bulk = [], self

    async def send_batch(self, topic, keys, values, timestamps=None):
        self.sent += [(topic, key, len(value), at) for key, value, at in zip(keys, values, timestamps or [None] * len(keys), strict=True)]


async def test_a_record_that_kafka_does_not_take_is_a_dead_letter_and_its_neighbours_are_sent():
    row = {"device_id": "harbour", "sensor_type": "noise", "value": 1.0, "timestamp": 1, "station": "s", "origin": "o", "position": 1}
    app = Sending()
    frame = pl.DataFrame([row, row | {"device_id": "x" * 600_000}, row], DISTRICTS.codec.columns)
    await app.send_frame(DISTRICTS, frame, timestamps=[7, 8, 9])
    assert [(topic, at) for topic, _, _, at in app.sent] == [(DEAD_LETTERS.topic, None), (DISTRICTS.topic, 7), (DISTRICTS.topic, 9)]
    assert all(len(key or b"") + size <= RECORD_BYTES for _, key, size, _ in app.sent)
