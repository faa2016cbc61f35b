"""A part of a worker by itself: what it needs of its app, with the real producer, registry and metrics."""

from streams.assembly import App
from streams.exposition import Metrics


class Outlet:
    """What a part needs of its app, which is not there: a producer, the schemas' ids, and where it announces itself."""

    send_frame = App.send_frame

    def __init__(self, producer, schema_ids, writers):
        self.bulk, self.schema_ids, self.writers = producer, schema_ids, writers
        self.reads, self.writes, self.services, self.metrics = [], [], [], Metrics()
