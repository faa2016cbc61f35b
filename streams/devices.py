"""What a group of workers is asked about its devices, which any of them answers."""

from collections.abc import Iterable
from typing import Any, Final

import polars as pl
from faust.types import TP
from pydantic import BaseModel, ConfigDict, Field

from agents.device import directory, view
from agents.watch import Watch
from schemas.catalog import Contract
from streams.access import named
from streams.api import Question, Unknown
from streams.peers import ByAll, ByKey, NoAnswer, partition_of
from streams.watching import Watching

MOST_DEVICES: Final = 10_000


class Device(BaseModel):
    """One device."""

    model_config = ConfigDict(extra="forbid")

    device: str = Field(min_length=1, max_length=200, description="The device's id.")


class Devices(BaseModel):
    """Devices, by name."""

    model_config = ConfigDict(extra="forbid")

    prefix: str = Field(default="", max_length=200, description="What their ids begin with.")
    after: str = Field(default="", max_length=200, description="Those after this id only: `next` of the answer before.")
    limit: int = Field(default=1000, ge=1, le=MOST_DEVICES, description="How many at most; `next` is where the rest begins.")


def questions(watching: Watching) -> list[Question]:
    """What the workers that watch a domain can be asked."""
    source = watching.domain.source

    def of_one(asked: Device) -> dict[str, Any]:
        partition = partition_of(source, asked.device)
        (watch,) = _watches(watching, source, [partition])
        found = view(watch, asked.device)
        if found is None:
            raise Unknown(f"no reading of a device {asked.device!r} has come, or none for a day")
        return found | {"partition": partition}

    def of_some(asked: Devices) -> dict[str, Any]:
        ours = sorted(tp.partition for tp in watching.app.assignor.assigned_actives() if tp.topic == named(source.topic))
        found = [directory(watch) for watch in _watches(watching, source, ours)]
        wanted = pl.col("device").str.starts_with(asked.prefix) & (pl.col("device") > asked.after)
        rows = pl.concat(found).filter(wanted).sort("device").head(asked.limit + 1).to_dicts() if found else []
        return {"partitions": ours, "devices": rows}

    def merge(asked: Devices, answers: list[dict[str, Any]]) -> dict[str, Any]:
        if missing := set(range(source.partitions)).difference(*(answer["partitions"] for answer in answers)):
            raise NoAnswer(f"no worker has partitions {sorted(missing)} of {source.topic}")
        rows = sorted((row for answer in answers for row in answer["devices"]), key=lambda row: row["device"])
        page = rows[: asked.limit]
        return {"devices": page, "next": page[-1]["device"] if len(rows) > asked.limit else None}

    return [
        Question(
            "/api/devices/{device}",
            Device,
            "A device's latest values, open windows, trends, forecasts and open alerts.",
            of_one,
            ByKey(source, lambda asked: asked.device),
        ),
        Question("/api/devices", Devices, "The devices, their number of sensors and of open alerts.", of_some, ByAll(source, merge)),
    ]


def _watches(watching: Watching, source: Contract, partitions: Iterable[int]) -> list[Watch]:
    lanes = {partition: watching.lanes.get(TP(named(source.topic), partition)) for partition in partitions}
    if missing := [partition for partition, lane in lanes.items() if lane is None]:
        raise NoAnswer(f"the state of partitions {missing} of {source.topic} is being taken up")
    return [lane.watch for lane in lanes.values() if lane]
