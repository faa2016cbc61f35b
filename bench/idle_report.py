"""The section of `bench/RESULTS.md` on what `python -m bench.idle` measured."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from bench.markdown import table


def shares(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of what each worker and the line takes of a core under each load, in per cent, and of memory under the last."""
    frame = pl.DataFrame(rows)
    line = frame.group_by("load", maintain_order=True).agg(pl.lit("all").alias("worker"), pl.col("cpu").sum(), pl.col("rss_mb").sum())
    together = pl.concat([frame.select(line.columns), line])
    memory = together.group_by("worker", maintain_order=True).agg(pl.col("rss_mb").last().round(0))
    return table(together.pivot("load", index="worker", values="cpu").join(memory, on="worker", maintain_order="left"))


def idle(found: Mapping[str, Any]) -> str:
    """The section."""
    loads = pl.DataFrame(found["rows"]).unique("load", keep="first", maintain_order=True).select("load", "came", "busy")
    return f"""
## Quiet

Written by `make bench-idle`. Each worker of the whole line while a factory and a city send over MQTT: readings + messages a second that
were asked for, per cent of a core over {found["seconds"]:.0f} s, and resident MiB under the last load.

{shares(found["rows"])}

`came` is what came of both a second, `busy` the load average of the {found["cores"]} cores: whoever shares them makes a worker's caches
cold and its shares larger.

{table(loads)}
"""
