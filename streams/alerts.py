"""What the desk is asked, and told: where alerts stand, and what somebody does about them."""

import asyncio
from functools import partial
from typing import Any, Final
from uuid import uuid4

import polars as pl
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from agents.desk import Action, State, by_device
from agents.rules import Severity
from schemas.catalog import ALERT_ACTIONS
from schemas.quoting import brief
from streams.api import Conflict, Nothing, Question, Unknown
from streams.clock import now_ms
from streams.handling import Handling
from streams.peers import NoAnswer
from streams.settings import settings

MOST_ROWS: Final = 10_000
# As long as the topic keeps actions: a silence must not end because its record did.
LONGEST_SILENCE_MINUTES: Final = ALERT_ACTIONS.retention_hours * 60
KAFKA_SECONDS: Final = 10
MOST_NAMED: Final = 5
LONGEST_ID: Final = 40


class Which(BaseModel):
    """All alerts of a kind."""

    model_config = ConfigDict(extra="forbid")

    device: str | None = Field(default=None, max_length=200, description="The device's id.")
    rule: str | None = Field(default=None, max_length=200, description="The rule's name.")
    severity: Severity | None = Field(default=None, description="As the rule or a person last set it.")

    @property
    def wanted(self) -> dict[str, str]:
        """What an alert's columns are to be."""
        said = {"device_id": self.device, "rule": self.rule, "severity": self.severity}
        return {name: value for name, value in said.items() if value is not None}


class Asked(Which):
    """Which alerts, newest change first."""

    status: State | None = Field(default=None, description="Where it stands; without it, all of them.")
    since: AwareDatetime | None = Field(default=None, description="Changed since then, ISO 8601 with an offset.")
    limit: int = Field(default=100, ge=1, le=MOST_ROWS, description="At most so many; `next` is where the rest begins.")
    offset: int = Field(default=0, ge=0, description="How many to leave out: `next` of the answer before.")


class Devices(Which):
    """Which devices, those with the most severe and the most alerts first."""

    limit: int = Field(default=100, ge=1, le=MOST_ROWS, description="At most so many.")


class One(BaseModel):
    """An alert."""

    model_config = ConfigDict(extra="forbid")

    alert_id: str = Field(min_length=1, max_length=200, description="As in the list, and in the topic, or the beginning of it.")


class Told(BaseModel):
    """Somebody."""

    model_config = ConfigDict(extra="forbid")

    by: str = Field(min_length=1, max_length=200, description="Who you are.")
    note: str = Field(default="", max_length=2_000, description="What the next shift should know.")


class Deed(Told, One):
    """Somebody does something about an alert."""


class DeedOfAll(Told, Which):
    """The same about all alerts of a kind; one of the three has to be said."""

    @model_validator(mode="after")
    def _says_which(self) -> "DeedOfAll":
        if not self.wanted:
            raise ValueError("say which alerts: device, rule or severity")
        return self


class Silence(Told):
    """A device is not to be heard for a time; alerts go on being raised."""

    device: str = Field(min_length=1, max_length=200, description="The device's id.")
    rule: str | None = Field(default=None, max_length=200, description="The rule's name; without it, all rules.")
    minutes: float = Field(ge=0, le=LONGEST_SILENCE_MINUTES, description="From now on; 0 ends the silence.")


class SilenceOfAlert(Deed):
    """The same of an alert's device and rule."""

    minutes: float = Field(ge=0, le=LONGEST_SILENCE_MINUTES, description="From now on; 0 ends the silence.")


class Escalate(Deed):
    """An alert matters more, or less, than its rule says."""

    to: Severity | None = Field(default=None, description="Its severity from now on; without it, the next higher.")


class Page:
    """Answers from one worker's desk."""

    def __init__(self, handling: Handling) -> None:
        self.handling, self.desk = handling, handling.desk

    def alerts(self, asked: Asked) -> dict[str, Any]:
        """A page of alerts."""
        of_state = {"state": asked.status} if asked.status else {}
        alerts = self.desk.alerts(now_ms()).filter(**asked.wanted, **of_state)
        if asked.since is not None:
            alerts = alerts.filter(pl.col("updated_at") >= int(asked.since.timestamp() * 1000))
        page = alerts.sort("updated_at", "alert_id", descending=True).slice(asked.offset, asked.limit)
        end, short = asked.offset + page.height, self.desk.ids()
        found = [{**alert, "short_id": short[alert["alert_id"]]} for alert in page.to_dicts()]
        return {"alerts": found, "count": alerts.height, "next": end if end < alerts.height else None}

    def alert(self, asked: One) -> dict[str, Any]:
        """One alert, how it came and what was done about it."""
        found = self._found(asked.alert_id)
        of_it = pl.col("alert_id") == found["alert_id"]
        return {
            "alert": found,
            "changes": self.desk.changes.filter(of_it).to_dicts(),
            "actions": self.desk.actions.filter(of_it).to_dicts(),
        }

    def silences(self, _: Nothing) -> dict[str, Any]:
        """Those in force."""
        return {"silences": self.desk.silences(now_ms()).to_dicts()}

    async def act(self, action: Action, asked: Deed) -> dict[str, Any]:
        """Acknowledge or clear."""
        return await self._act(asked, self._standing(asked.alert_id), action)

    def devices(self, asked: Devices) -> dict[str, Any]:
        """What nobody takes care of, device by device."""
        found = by_device(self.desk.alerts(now_ms()).filter(state=State.OPEN, **asked.wanted))
        return {"devices": found.head(asked.limit).to_dicts(), "count": found.height}

    async def act_on_all(self, action: Action, asked: DeedOfAll) -> dict[str, Any]:
        """Acknowledge or clear all that there is to."""
        over = [State.CLEARED] if action is Action.CLEAR else [State.CLEARED, State.ACKNOWLEDGED]
        alerts = self.desk.alerts(now_ms()).filter(~pl.col("state").is_in(over), **asked.wanted)
        rows = [_row(asked, alert, action) for alert in alerts.iter_rows(named=True)]
        if rows:
            await self._write(rows)
        return {"count": len(rows), "alert_ids": alerts["alert_id"].to_list()}

    async def escalate(self, asked: Escalate) -> dict[str, Any]:
        """Set the severity."""
        alert = self._standing(asked.alert_id)
        now = Severity(alert["severity"])
        to = asked.to or now.higher
        if to is now:
            raise Conflict(f"alert {asked.alert_id} is {now} already")
        return await self._act(asked, alert, Action.ESCALATE if to.rank > now.rank else Action.DEESCALATE, severity=to)

    async def silence_alert(self, asked: SilenceOfAlert) -> dict[str, Any]:
        """Silence an alert's device and rule."""
        return await self._silence(asked, self._found(asked.alert_id), asked.minutes)

    async def silence(self, asked: Silence) -> dict[str, Any]:
        """Silence a device, whatever it has raised so far."""
        return await self._silence(asked, {"alert_id": None, "device_id": asked.device, "rule": asked.rule}, asked.minutes)

    async def _silence(self, asked: Told, of: dict[str, Any], minutes: float) -> dict[str, Any]:
        if not minutes and self._silences(of).is_empty():
            which = f"rule {of['rule']} of {of['device_id']}" if of["rule"] else of["device_id"]
            raise Conflict(f"{which} is not silenced")
        until = now_ms() + int(minutes * 60_000) if minutes else None
        return await self._act(asked, of, Action.SILENCE if minutes else Action.UNSILENCE, until=until)

    async def _act(self, asked: Told, of: dict[str, Any], action: Action, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        row = _row(asked, of, action, **more)
        await self._write([row])
        return {"action": row, "alert": self._found(of["alert_id"]) if of["alert_id"] else None}

    def _silences(self, of: dict[str, Any]) -> pl.DataFrame:
        """Those in force of just this device and rule."""
        found = self.desk.silences(now_ms()).filter(device_id=of["device_id"])
        return found.filter(pl.col("rule").eq_missing(pl.lit(of["rule"], pl.String)))

    async def _write(self, rows: list[dict[str, Any]]) -> None:
        try:
            async with asyncio.timeout(KAFKA_SECONDS):
                await self.handling.act(pl.DataFrame(rows, schema=ALERT_ACTIONS.codec.columns))
        except TimeoutError as late:
            raise NoAnswer("Kafka does not take the action") from late

    def _found(self, alert_id: str) -> dict[str, Any]:
        """The alert of an id, or of the beginning of one."""
        names = self.desk.named(alert_id)
        said = brief(alert_id, LONGEST_ID)
        if not names:
            raise Unknown(f"no alert {said}: it is unknown, or was cleared more than a day ago")
        if len(names) > 1:
            told = ", ".join(self.desk.ids()[name] for name in names[:MOST_NAMED])
            raise Conflict(f"{said} begins {len(names)} alerts, {told} for instance: say more of it")
        return self.desk.alerts(now_ms(), names[0]).row(0, named=True)

    def _standing(self, alert_id: str) -> dict[str, Any]:
        alert = self._found(alert_id)
        if alert["state"] == State.CLEARED:
            raise Conflict(f"alert {alert_id} is cleared")
        return alert


def _row(asked: Told, of: dict[str, Any], action: Action, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """A record of `alert-actions`."""
    who = {"tenant": settings().tenant, "by": asked.by, "note": asked.note, "at": now_ms()}
    what = {name: of[name] for name in ("alert_id", "device_id", "rule")} | {"action": action, "severity": None, "until": None} | more
    return {"action_id": uuid4().hex, **who, **what}


def questions(handling: Handling) -> list[Question]:
    """What a desk can be asked."""
    page = Page(handling)
    one = "/api/alerts/{alert_id}"
    acknowledge, clear = partial(page.act, Action.ACKNOWLEDGE), partial(page.act, Action.CLEAR)
    acknowledge_all, clear_all = partial(page.act_on_all, Action.ACKNOWLEDGE), partial(page.act_on_all, Action.CLEAR)
    return [
        Question("/api/alerts", Asked, "Alerts and where they stand.", page.alerts),
        Question("/api/alerts/devices", Devices, "Devices with alerts nobody takes care of.", page.devices),
        Question("/api/alerts/acknowledge", DeedOfAll, "Somebody takes care of all of a kind.", acknowledge_all, method="POST"),
        Question("/api/alerts/clear", DeedOfAll, "All of a kind are over, whatever the rule says.", clear_all, method="POST"),
        Question(one, One, "An alert, its changes, and what was done about it.", page.alert),
        Question(f"{one}/acknowledge", Deed, "Somebody takes care of it.", acknowledge, method="POST"),
        Question(f"{one}/clear", Deed, "It is over, whatever the rule says.", clear, method="POST"),
        Question(f"{one}/escalate", Escalate, "It matters more, or less, than its rule says.", page.escalate, method="POST"),
        Question(f"{one}/silence", SilenceOfAlert, "Its device and rule are silent for a time.", page.silence_alert, method="POST"),
        Question("/api/silences", Nothing, "Silences in force.", page.silences),
        Question("/api/silences", Silence, "A device is silent for a time.", page.silence, method="POST"),
    ]
