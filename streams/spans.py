"""What questions to the warehouse have in common: from when to when, in which steps, and page by page."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final, Literal, Self

import polars as pl
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

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


class Stepped(Paged):
    """Rows for each hour or day."""

    step: Literal["hour", "day", "all"] = Field(default="day", description="Of time, of which each has rows of its own.")
    day_starts: time = Field(
        default=time(0),
        description="When a day begins, UTC or with an offset. With a night shift, each night is of one day.",
    )

    def steps(self) -> dict[str, int]:
        """Parameters of a query: when any step begins, and how long it is, in milliseconds."""
        bounds = self.bounds()
        if self.step == "all":
            return {"origin": bounds["since"], "step": max(1, bounds["until"] - bounds["since"])}
        day = datetime.combine(datetime(1970, 1, 1, tzinfo=UTC), self.day_starts, self.day_starts.tzinfo or UTC)
        return {"origin": int(day.timestamp() * 1000), "step": HOUR_MS if self.step == "hour" else DAY_MS}


def within(column: str) -> str:
    """A condition on a time, with the parameters of `Span.bounds`."""
    return f"{column} >= fromUnixTimestamp64Milli({{since:Int64}}) AND {column} < fromUnixTimestamp64Milli({{until:Int64}})"


def named(**columns: str) -> str:
    """A condition: each column is as the parameter of that name, unless that is empty."""
    return " AND ".join(f"({{{name}:String}} = '' OR {column} = {{{name}:String}})" for name, column in columns.items())


def step_of(column: str) -> str:
    """Column `at`: when the step begins that a time is in (ms), with the parameters of `Stepped.steps`."""
    return f"{{origin:Int64}} + intDiv(toUnixTimestamp64Milli({column}) - {{origin:Int64}}, {{step:Int64}}) * {{step:Int64}} AS at"


def rows_of(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """A result as JSON takes it."""
    return frame.cast({pl.Categorical: pl.String}).to_dicts()
