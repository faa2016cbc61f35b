"""Operators' rows of the mapping in a running gateway."""

import logging
from collections.abc import Sequence

import polars as pl
from pydantic import ValidationError

from agents.gateway.mapping import DEFAULT, Routes, Row
from agents.gateway.place import Place
from schemas.catalog import MAPPINGS
from schemas.rejects import Reject
from streams.assembly import App
from streams.following import Following

logger = logging.getLogger(__name__)


class Mappings:
    """Keeps the gateway's routes as the topic has them. A row that cannot be is logged, and the one before it stays."""

    def __init__(self, app: App, place: Place) -> None:
        """Run with `app`, before it takes anything."""
        self._place = place
        self._rows = {row.pattern: row for row in DEFAULT}
        Following(app, MAPPINGS, self._take)

    def _take(self, records: pl.DataFrame, rejects: Sequence[Reject]) -> None:
        for reject in rejects:
            logger.error("mapping_refused: %s: %s", reject.reason, reject.detail)
        for record in records.iter_rows(named=True):
            try:
                row = Row.of(record)
            except ValidationError as problem:
                logger.error("mapping_refused pattern=%s: %s", record["pattern"], problem)  # noqa: TRY400  # whose, not where
            else:
                self._rows[row.pattern] = row
                logger.info("mapping_applied pattern=%s topic=%s retired=%s", row.pattern, row.topic, row.retired)
        self._place.adopt(Routes(self._rows.values(), self._place.filled))
