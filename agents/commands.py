"""What alerts tell machines to do: a command for each episode that a rule with one raises or reopens.

Commands are a pure function of a batch's alerts and readings, so every replay gives the same ones under the same ids.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import polars as pl

from agents.alerts import Status
from agents.rules import Rule
from schemas.catalog import COMMANDS

NONE: Final = pl.DataFrame(schema=COMMANDS.codec.columns)
"""No commands."""


def called_for(rules: Sequence[Rule], alerts: pl.DataFrame, readings: pl.DataFrame, lifetime_ms: int) -> pl.DataFrame:
    """The commands that a batch's alerts call for, columns of `schemas/avro/commands.avsc`; none for historic ones.

    `readings` are those the alerts were raised by. Of a domain without plants, or a reading that names none, `plant` is empty.
    """
    words = {rule.name: rule.command for rule in rules if rule.command}
    due = alerts.filter(pl.col("rule").is_in(list(words)), pl.col("status").is_in([Status.RAISED, Status.REOPENED]), ~pl.col("historic"))
    if not due.height:
        return NONE
    due = due.with_columns(pl.col("rule").replace_strict(words).alias("command"), issued_at="changed_at")
    ids = [command_id(*row) for row in due.select("alert_id", "changed_at", "command").iter_rows()]
    due = due.with_columns(pl.Series("command_id", ids), expires_at=pl.col("issued_at") + lifetime_ms)
    cause = ["device_id", "subject", "issued_at", "value"]
    place = pl.col("plant") if "plant" in readings.columns else pl.lit("")
    causes = readings.filter(pl.col("device_id").is_in(due["device_id"].to_list()))
    causes = causes.select("device_id", "subject", pl.col("value").cast(pl.Float64), issued_at="timestamp", plant=place)
    due = due.join(causes.unique(cause, keep="first"), on=cause, how="left", maintain_order="left")
    return due.with_columns(pl.col("plant").fill_null("")).select(NONE.columns)


def command_id(alert_id: str, changed_at: int, command: str) -> str:
    """The id of what a change of an episode calls for: 32 hexadecimal digits."""
    return blake2b("\x1f".join((alert_id, str(changed_at), command)).encode(), digest_size=16).hexdigest()
