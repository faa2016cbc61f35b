"""The edge nodes of Sparkplug B that a gateway hears: it takes up their births from the topic, and asks for those it lacks."""

import logging
from collections.abc import Iterator, Sequence
from typing import Final

import polars as pl
from google.protobuf.message import DecodeError
from mode import Service

from agents.gateway.place import Place
from agents.gateway.sparkplug.names import Kind, speaker
from agents.gateway.sparkplug.nodes import Birth, rebirth
from schemas.catalog import SPARKPLUG_BIRTHS
from schemas.rejects import Reject
from streams.assembly import App
from streams.clock import now_ms
from streams.exposition import Sample
from streams.following import Following
from streams.publisher import Publisher

logger = logging.getLogger(__name__)

# After a restart, or when a broker comes back, all nodes are to be asked: their births are some kilobytes each.
ASKED_A_SECOND: Final = 20
REQUEST_SECONDS: Final = 10
"""How long the broker keeps a request for a node that is away: then it comes with a birth by itself."""


class EdgeNodes(Service):
    """Births lie in the topic with all that was made of them (`streams/rounds.py`), so no gateway's disk is needed to know them."""

    def __init__(self, app: App, place: Place, publisher: Publisher) -> None:
        """Run with `app`, before it takes anything; `publisher`, once it is started, carries what nodes are asked."""
        super().__init__()
        self.asked = 0
        """Requests for a birth."""
        self._place, self._publisher = place, publisher
        self._live = False
        Following(app, SPARKPLUG_BIRTHS, self._recall)
        app.writes.append(SPARKPLUG_BIRTHS)
        app.services.append(self)
        app.metrics.sources.append(self._samples)

    async def on_start(self) -> None:
        """The topic is read to where it was."""
        self._live = True

    def _recall(self, records: pl.DataFrame, rejects: Sequence[Reject]) -> None:
        for reject in rejects:
            logger.error("sparkplug_birth_unfit %s: %s", reject.reason, reject.detail)
        for record in records.iter_rows(named=True):
            if self._live and record["node"] == self._place.node:
                continue
            try:
                said_by = speaker(record["topic"])
                if said_by is not None:
                    self._place.nodes.recall(Birth(record["tenant_id"], said_by, record["payload"]), fresh=self._live)
            except (ValueError, DecodeError) as wrong:
                logger.error("sparkplug_birth_unfit key=%s: %s", record["birth_key"][:300], wrong)  # noqa: TRY400  # whose, not where

    @Service.timer(1.0)
    async def _ask(self) -> None:
        if not self._publisher.connected.is_set():
            return
        now = now_ms()
        for node in self._place.nodes.asked(now, ASKED_A_SECOND):
            logger.info("sparkplug_rebirth_asked group=%r node=%r", node.group, node.node)
            self.asked += 1
            self.add_future(self._publisher.publish(node.topic(Kind.NCMD), rebirth(now), REQUEST_SECONDS, qos=0))

    def _samples(self) -> Iterator[Sample]:
        yield Sample("headrace_sparkplug_nodes", (), len(self._place.nodes))
        yield Sample("headrace_sparkplug_rebirths_total", (), self.asked)
