"""What questions to the warehouse have in common: from when to when, in which steps, and page by page."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

MOST_ROWS: Final = 10_000
MOST_SECONDS: Final = 10
# What ClickHouse's times can hold, with room for the day before a start that is not given.
EARLIEST: Final = datetime(1970, 1, 2, tzinfo=UTC)
LATEST: Final = datetime(2090, 1, 1, tzinfo=UTC)
SETTINGS: Final = {
    # Every row of a reading's key is of one day, so days need not be merged with each other.
    "do_not_merge_across_partitions_select_final": 1,
    "max_execution_time": MOST_SECONDS,
    # In a condition a time is the column, not what is answered of it.
    "prefer_column_name_to_alias": 1,
}
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS


def _now() -> datetime:
    return datetime.now(UTC)


class Span(BaseModel):
    """From when to when."""

    model_config = ConfigDict(extra="forbid")

    end: AwareDatetime = Field(
        default_factory=_now, ge=EARLIEST, le=LATEST, description="First moment after, ISO 8601 with an offset; default: now."
    )
    start: AwareDatetime = Field(
        default_factory=lambda filled: filled["end"] - timedelta(days=1),
        ge=EARLIEST,
        le=LATEST,
        description="First moment, the same; default: a day before the end.",
    )

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.start >= self.end:
            raise ValueError("start is not before end")
        return self

    def bounds(self) -> dict[str, Any]:
        """Parameters of a query, in milliseconds."""
        return {"since": int(self.start.timestamp() * 1000), "until": int(self.end.timestamp() * 1000)}


class Paged(Span):
    """Some rows after others."""

    limit: int = Field(default=1000, ge=1, le=MOST_ROWS, description="Rows of each list at most; `next` is where the rest begins.")
    offset: int = Field(default=0, ge=0, le=10_000_000, description="Rows of each list to leave out: `next` of the answer before.")

    def rows(self) -> dict[str, Any]:
        """Parameters of a query, for one row more than are answered."""
        return {"limit": self.limit + 1, "offset": self.offset}

    def next(self, *lists: Sequence[object]) -> int | None:
        """Where the rest begins of what a query gave, if there is any."""
        return self.offset + self.limit if any(len(rows) > self.limit for rows in lists) else None


_ZONED: Final = re.compile(r"(?P<time>[0-9:.]+)[ \[](?P<zone>[A-Za-z][\w+-]*(?:/[\w+-]+)*)\]?")


def _with_zone(said: object) -> object:
    """`06:00 Europe/Berlin` as a time with that zone; other texts are left to pydantic."""
    found = _ZONED.fullmatch(said.strip()) if isinstance(said, str) else None
    if found is None:
        return said
    try:
        return time.fromisoformat(found["time"]).replace(tzinfo=ZoneInfo(found["zone"]))
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(f"no time zone {found['zone']!r}: a name is such as Europe/Berlin") from error


class Stepped(Paged):
    """Rows for each hour or day."""

    step: Literal["hour", "day", "all"] = Field(default="day", description="Of time, of which each has rows of its own.")
    day_starts: Annotated[time, BeforeValidator(_with_zone)] = Field(
        default=time(0),
        description="When a day begins: UTC, with an offset, or by the clocks of a zone, as in `06:00 Europe/Berlin`, where a day may have "
        "23 hours or 25. With a night shift, each night is of one day.",
    )

    def steps(self) -> dict[str, Any]:
        """Parameters of a query: when any step begins and how long it is, in milliseconds, by the clocks of which zone.

        Of days in a zone, `origin` is what its clocks show.
        """
        bounds, since_1970 = self.bounds(), datetime(1970, 1, 1, tzinfo=UTC)
        if self.step == "all":
            return {"origin": bounds["since"], "step": max(1, bounds["until"] - bounds["since"]), "zone": "UTC"}
        if self._zone is None:
            day = datetime.combine(since_1970, self.day_starts, self.day_starts.tzinfo or UTC)
            return {"origin": int(day.timestamp() * 1000), "step": HOUR_MS if self.step == "hour" else DAY_MS, "zone": "UTC"}
        if self.step == "day":
            wall = datetime.combine(since_1970, self.day_starts.replace(tzinfo=None), UTC)
            return {"origin": int(wall.timestamp() * 1000), "step": DAY_MS, "zone": self._zone.key}
        # an hour begins when one does there on the first day; before all that is asked for
        of_hour = datetime.combine(self.start.astimezone(self._zone), self.day_starts)
        return {"origin": int(of_hour.timestamp() * 1000) - 2 * DAY_MS, "step": HOUR_MS, "zone": "UTC"}

    def began(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows that a query gave, with when their steps began (ms) as `at`."""
        if self._zone is None or self.step != "day":
            return rows
        walls = (datetime.fromtimestamp(row["at"] / 1000, UTC).replace(tzinfo=self._zone) for row in rows)
        return [row | {"at": int(wall.timestamp() * 1000)} for row, wall in zip(rows, walls, strict=True)]

    @property
    def _zone(self) -> ZoneInfo | None:
        return self.day_starts.tzinfo if isinstance(self.day_starts.tzinfo, ZoneInfo) else None


def within(column: str) -> str:
    """A condition on a time, with the parameters of `Span.bounds`."""
    return f"{column} >= fromUnixTimestamp64Milli({{since:Int64}}) AND {column} < fromUnixTimestamp64Milli({{until:Int64}})"


def named(**columns: str) -> str:
    """A condition: each column is as the parameter of that name, unless that is empty."""
    return " AND ".join(f"({{{name}:String}} = '' OR {column} = {{{name}:String}})" for name, column in columns.items())


def step_of(column: str) -> str:
    """Column `at`: when the step begins that a time is in (ms), by the clocks of `zone`, with the parameters of `Stepped.steps`."""
    return f"{{origin:Int64}} + {step_number(f'toUnixTimestamp64Milli({column})')} * {{step:Int64}} AS at"


def step_number(ms: str) -> str:
    """Which step a moment (ms) is in, counted from `origin`, with the same parameters."""
    return f"intDiv({ms} + {_ahead(ms)} - {{origin:Int64}}, {{step:Int64}})"


def moment_of(wall: str) -> str:
    """The moment (ms) at which the clocks of `zone` show that."""
    return f"({wall} - {_ahead(f'({wall} - {_ahead(wall)})')})"


def _ahead(ms: str) -> str:
    """How far (ms) the clocks of `zone` are ahead of UTC at a moment."""
    return f"timeZoneOffset(toTimeZone(fromUnixTimestamp64Milli({ms}), {{zone:String}})) * 1000"


def rows_of(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """A result as JSON takes it."""
    return frame.cast({pl.Categorical: pl.String}).to_dicts()
