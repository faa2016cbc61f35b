"""What alerts tell machines to do: a command for each episode that a rule with one raises or reopens.

Commands are a pure function of a batch's alerts and readings, so every replay gives the same ones under the same ids.
"""

from collections.abc import Sequence, Set
from hashlib import blake2b
from typing import Final

import polars as pl

from agents.alerts import Status
from agents.rules import Rule
from schemas.catalog import COMMANDS

NONE: Final = pl.DataFrame(schema=COMMANDS.codec.columns)
"""No commands."""
_BEGINS: Final = {Status.RAISED, Status.REOPENED}


def called_for(rules: Sequence[Rule], alerts: pl.DataFrame, readings: pl.DataFrame, lifetime_ms: int) -> pl.DataFrame:
    """The commands that a batch's alerts call for, columns of `schemas/avro/commands.avsc`; none for historic ones.

    `readings` are those the alerts were raised by. Of a domain without plants, or a reading that names none, `plant` is empty.
    """
    words = {rule.name: rule.command for rule in rules if rule.command}
    # Row by row, as there are few: a join in Polars costs more than a millisecond however few they are, and commands wait for it.
    begun = [
        alert for alert in alerts.iter_rows(named=True) if alert["rule"] in words and alert["status"] in _BEGINS and not alert["historic"]
    ]
    if not begun:
        return NONE
    plants = _plants(readings, {alert["device_id"] for alert in begun})
    told = []
    for alert in begun:
        command, issued_at = words[alert["rule"]], alert["changed_at"]
        told.append(
            alert
            | {
                "command_id": command_id(alert["alert_id"], issued_at, command),
                "command": command,
                "plant": plants.get((alert["device_id"], alert["subject"], issued_at, alert["value"])) or "",
                "issued_at": issued_at,
                "expires_at": issued_at + lifetime_ms,
                "parameters": "{}",
                "request_id": "",
                "asked_by": "",
            }
        )
    return pl.DataFrame([[command[name] for name in NONE.columns] for command in told], NONE.schema, orient="row")


def _plants(readings: pl.DataFrame, devices: Set[str]) -> dict[tuple[str, str, int, float], str | None]:
    """The plant by device, subject, timestamp and value of each reading of these devices; of equal ones the first."""
    if "plant" not in readings.columns:
        return {}
    near = readings["device_id"].is_in(list(devices))
    fields = [readings[name].filter(near).to_list() for name in ("device_id", "subject", "timestamp", "value", "plant")]
    return {(device, subject, at, value): plant for device, subject, at, value, plant in reversed(list(zip(*fields, strict=True)))}


def command_id(alert_id: str, changed_at: int, command: str) -> str:
    """The id of what a change of an episode calls for: 32 hexadecimal digits."""
    return blake2b("\x1f".join((alert_id, str(changed_at), command)).encode(), digest_size=16).hexdigest()
