"""Operators' groups of devices in a running gateway."""

import logging
from collections.abc import Sequence

import polars as pl
from pydantic import ValidationError

from agents.gateway.groups import Group, Selection
from schemas.catalog import DEVICE_GROUPS
from schemas.rejects import Reject
from streams.assembly import App
from streams.following import Following

logger = logging.getLogger(__name__)


class Groups:
    """Keeps the groups as the topic has them. One that cannot be is logged, and the one before it stays."""

    def __init__(self, app: App) -> None:
        """Run with `app`, before it is asked anything."""
        self._groups: dict[tuple[str, str], Group] = {}
        Following(app, DEVICE_GROUPS, self._take)

    def _take(self, records: pl.DataFrame, rejects: Sequence[Reject]) -> None:
        for reject in rejects:
            logger.error("group_refused: %s: %s", reject.reason, reject.detail)
        for record in records.iter_rows(named=True):
            try:
                group = Group.of(record)
            except ValidationError as problem:
                logger.error("group_refused name=%s: %s", record["name"], problem)  # noqa: TRY400  # whose, not where
            else:
                self._groups[group.tenant, group.name] = group

    def devices(self, tenant: str, selection: Selection) -> list[str]:
        """The ids of a tenant's devices that are meant."""
        return selection.devices(group for (whose, _), group in self._groups.items() if whose == tenant)
