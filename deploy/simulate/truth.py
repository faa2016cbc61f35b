"""What is true of a simulated run: which changes of `above-critical` were due when, and how many records of each kind were sent."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from deploy.simulate.sent import Sent
from schemas.rejects import Reason

CLEARED_UNDER: Final = 0.95  # of critical
COOLDOWN_MS: Final = 300_000


class Truth:
    """Follows the readings as measured, in order of time, by the alert semantics in their plainest form."""

    def __init__(self, fleet: pl.DataFrame, rejected: Mapping[str, Mapping[str, Reason]], log: Sent | None = None) -> None:
        """`rejected`: by format, the reason each kind of garbage is rejected for; the kinds are the same in each. `log` takes all."""
        self._fleet = fleet
        self._log = log
        self._rejected = rejected
        self.garbage: tuple[str, ...] = tuple(next(iter(rejected.values()), ()))
        """Kinds of records nobody can use."""
        self._rejects: Counter[str] = Counter()
        self._episodes: dict[int, tuple[int, bool]] = {}
        self._worn = fleet.with_row_index("channel").filter(pl.col("wear_seconds").is_not_null()).select("channel", "critical")
        self.alerts: list[dict[str, Any]] = []
        self.sent: Counter[str] = Counter()

    def measured(self, readings: pl.DataFrame) -> None:
        """Readings of the signals, before any fault; healthy channels never come near a limit."""
        near = readings.join(self._worn, on="channel", maintain_order="left")
        near = near.filter((pl.col("value") > pl.col("critical")) | (pl.col("value") < CLEARED_UNDER * pl.col("critical")))
        for channel, timestamp, value, critical in near.select("channel", "timestamp", "value", "critical").iter_rows():
            started, is_open = self._episodes.get(channel, (0, False))
            if value > critical and not is_open:
                reopened = started and timestamp - started < COOLDOWN_MS
                started = started if reopened else timestamp
                self._change(channel, "REOPENED" if reopened else "RAISED", started, timestamp, value, critical)
                self._episodes[channel] = (started, True)
            elif value < critical and is_open:
                self._change(channel, "CLEARED", started, timestamp, value, critical)
                self._episodes[channel] = (started, False)

    def delivered(self, records: pl.DataFrame) -> None:
        """Records as sent, counted by their `fault`."""
        if self._log is not None:
            self._log.add(records)
        formats = self._fleet["format"][records["channel"]]
        for name, fault, count in records.group_by(formats, pl.col("fault").fill_null("sound")).len().iter_rows():
            self.sent[fault] += count
            if fault in self.garbage:
                self._rejects[self._rejected[name][fault]] += count

    def counts(self) -> dict[str, Any]:
        """The ledger's other side: `sent` = `good` + `duplicates` + all of `rejects`; `late` and `disorder` are among the good."""
        return {
            "sent": self.sent.total(),
            "good": self.sent["sound"] + self.sent["disorder"] + self.sent["late"],
            "duplicates": self.sent["duplicate"],
            "disorder": self.sent["disorder"],
            "late": self.sent["late"],
            "rejects": {str(reason): count for reason, count in sorted(self._rejects.items())},
        }

    def write(self, path: Path) -> None:
        """JSON lines: one of kind `counts`, then one of kind `alert` per change, in order of time."""
        lines = [{"kind": "counts", **self.counts()}, *({"kind": "alert", **alert} for alert in self.alerts)]
        path.write_bytes(b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines))

    def _change(self, channel: int, status: str, raised_at: int, changed_at: int, value: float, threshold: float) -> None:
        names = self._fleet.row(channel, named=True)
        alert = {"device_id": names["device_id"], "sensor_type": names["sensor_type"], "status": status, "raised_at": raised_at}
        self.alerts.append(alert | {"changed_at": changed_at, "value": value, "threshold": threshold})
