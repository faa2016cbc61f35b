"""Results to paper: the figures that matter, `bench/results/<plan>.json`, and of a full run `bench/RESULTS.md` with its plots.

`python -m bench.report` writes the last two anew from the JSON of the last full run and the last of the other measurements.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import orjson
import polars as pl

from bench import plots
from bench.gateway_report import gateway, tenancy
from bench.idle_report import idle
from bench.jobs import BENCH, OURS, QUIX, STOCK_FAUST, WAREHOUSE
from bench.markdown import table, wrapped
from schemas.catalog import READINGS

RESULTS: Final = BENCH / "results"
JUDGED_RATE: Final = 20_000
"""Readings/s at which `p99_ms` is taken."""
RECOVERY_STEPS: Final = ("read_s", "rebuild_s", "checkpoint_s")
"""Those of `bench.recovery` that depend on the state."""


def keep(name: str, found: object) -> None:
    """Write a measurement's figures into `bench/results/<name>.json`, and `RESULTS.md` anew."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
    rewrite()


def publish(results: dict[str, Any]) -> str:
    """Write everything there is to write; returns the last line."""
    results = {"summary": summarise(results), **results}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{results['plan']['name']}.json").write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2))
    if results["plan"]["name"] == "full":
        write(results, BENCH)
    return " ".join(f"{name}={figure:.6g}" for name, figure in results["summary"].items())


def summarise(results: dict[str, Any]) -> dict[str, float]:
    """The figures that matter: medians over the repetitions, ratios run by run."""
    runs = pl.DataFrame(results["runs"])
    compared = runs.filter(pl.col("devices") == results["plan"]["devices"][0])
    rates = {job: compared.filter(pl.col("job") == job)["rate"] for job in (OURS.name, STOCK_FAUST.name, QUIX.name)}
    ours = compared.filter(pl.col("job") == OURS.name)
    return {
        "rate": median(ours["rate"]),
        "ratio_faust": median(rates[OURS.name] / rates[STOCK_FAUST.name]),
        "ratio_quix": median(rates[OURS.name] / rates[QUIX.name]),
        "cpu_s_per_million": median(ours["cpu_s_per_million"]),
        "p99_ms": next(figures["p99_ms"] for figures in results["latency"] if figures["rate"] == JUDGED_RATE),
        "rss_mb": max(run["peak_rss_mb"] for run in results["runs"] if run["job"] == OURS.name),
    }


def write(results: dict[str, Any], folder: Path) -> None:
    """`RESULTS.md` and three plots in `folder`."""
    medians = (
        pl.DataFrame(results["runs"])
        .group_by("job", "devices", maintain_order=True)
        .agg(pl.len().alias("runs"), pl.exclude("runs").median())
        .select("job", "devices", "runs", "records", "rate", "rate_with_startup", "cpu_s_per_million", "peak_rss_mb", "startup_s")
    )
    latency = pl.DataFrame(results["latency"])
    plots.rates(medians.filter(pl.col("job") != WAREHOUSE.name), folder / "throughput.svg")
    plots.latency(latency, folder / "latency.svg")
    soak = pl.DataFrame(results["soak"]).filter(pl.col("seconds") >= 0)
    plots.soak(soak, folder / "memory.svg")
    plan = results["plan"]
    text = f"""# Benchmark results

Written by `make bench` on {results["started"]}; do not edit.

{_facts(results["machine"])}

{_facts(results["versions"])}

{" ".join(f"**{name}** {figure:.6g}" for name, figure in results["summary"].items())}

## Throughput

One topic of factory readings from the simulator (seed {results["seed"]}): Confluent-framed Avro, snappy, 32 KB batches,
{READINGS.partitions} partitions, six sensors a device, each once a second of event time.

{table(pl.DataFrame(results["loaded"]))}

Broker, registry and job share the machine. Every job decodes, validates, raises alerts, dead-letters and keeps windows with a changelog;
ours both windows of the factory line, the peers the one-minute window. Ours reads the whole topic, a peer its first
{plan["peer_seconds"]:.0f} s: a rate is per second. Runs alternate; medians below.
`rate` (records/s) and CPU run from the first commit to the last, seen from outside by the group's committed offsets;
`rate_with_startup` from the start of the process.

{table(medians)}

![records per second](throughput.svg)

## Latency

From the time a critical reading was due to leave (open loop: the schedule waits for nobody) to the arrival of its alert at a consumer,
after warm-up, in milliseconds; generator, broker, worker and consumer on one machine. `behind_ms` is the generator's own worst delay,
which is part of the figures.

{table(latency)}

![latency](latency.svg)

## Memory

The last of these rates is the soak: {plan["soak_seconds"]} s at {plan["devices"][-1]:,} devices, after a backlog that fills their
ten-minute windows. Resident memory of the worker, in MiB:
{_minute(soak, 2):.0f} in its second minute, {_minute(soak, plan["soak_seconds"] // 60):.0f} in its last.

![memory](memory.svg)
"""
    parts = (
        text
        + _foresight(folder)
        + _answers()
        + _recovery()
        + _reload()
        + _closed_loop()
        + _to_the_centre()
        + gateway(_last("gateway"))
        + tenancy(_last("tenancy"))
        + _quiet()
    )
    (folder / "RESULTS.md").write_text(f"{wrapped(parts).rstrip()}\n")


def _last(name: str) -> Any:  # noqa: ANN401  # JSON
    """What that benchmark measured last."""
    return orjson.loads((RESULTS / f"{name}.json").read_bytes())


def _quiet() -> str:
    """The section on what `python -m bench.idle` measured last; nothing before it first did."""
    return idle(_last("idle")) if (RESULTS / "idle.json").exists() else ""


def _foresight(folder: Path) -> str:
    """The section on what `python -m bench.prediction` measured last, and its plot."""
    found = _last("prediction")
    plots.leads(found, folder / "prediction.svg")
    first, last = found["seeds"]
    overall, shapes = (pl.DataFrame(found[name]).with_columns(pl.col("precision", "recall").round(3)) for name in ("overall", "shapes"))
    healthy = shapes.filter(pl.col("shape") == "healthy")["warnings"].sum()
    return f"""
## Failures foreseen

Written by `make bench-prediction`. Simulated machines, {found["devices"]} of six sensors in each of the seeds {first} to {last},
which served to choose nothing; {found["hours"]} hours each, both changes of shift among them. Every sensor has noise, a cycle of its
own of ten minutes to an hour, and follows the shifts; on every second machine one wears out over one to four hours, in one of five
shapes, and is repaired.

A warning is right if its sensor passes the critical limit within 45 minutes; a failure is foreseen if it was warned of before, and the
lead is from then, the minute and the lateness that a warning waits for taken off. `above-threshold` warns at 90 % of the limit. `theil-sen`
extrapolates the median slope of the last 30 minutes (`scipy.stats.theilslopes`) as far as our rule looks ahead.

{table(overall.cast({"precision": pl.String, "recall": pl.String}))}

Ours by shape of wear; of healthy sensors it warned {healthy} times:

{table(shapes.filter(pl.col("shape") != "healthy").cast({"precision": pl.String, "recall": pl.String}))}

![share of failures foreseen by so many minutes](prediction.svg)
"""


def _answers() -> str:
    """The section on what `python -m bench.queries` measured last."""
    found = _last("queries")
    return f"""
## Questions to the warehouse

Written by `make bench-queries`. The embedded engine with {found["rows"]:,} readings, {found["distinct"]:,} of them different: a day of 20
machines of six sensors, one reading a second. Each question {found["repetitions"]} times, its answer in JSON included.

{table(pl.DataFrame(found["questions"]))}
"""


def per_million(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds per million keys of each step of a recovery that the largest state takes longer than the smallest."""
    least, most = rows[0], rows[-1]
    return {step: (most[step] - least[step]) / (most["keys"] - least["keys"]) * 1e6 for step in RECOVERY_STEPS}


def _recovery() -> str:
    """The section on what `python -m bench.recovery` measured last."""
    rows = _last("recovery")
    taken = per_million(rows)
    return f"""
## Recovery

Written by `make bench-recovery`. A factory worker is killed -9 and started again under its instance name; a key is a sensor of a device
with readings in each of the last twelve minutes. Seconds: until it has its partitions, to read the changelog, to build the state of it,
and to commit the first checkpoint, which writes all of the state anew.

**{sum(taken.values()):.3g} s per million keys**, the largest state less the smallest: {taken["read_s"]:.2g} s to read,
{taken["rebuild_s"]:.2g} s to build, {taken["checkpoint_s"]:.2g} s to checkpoint. The start does not depend on the state.

{table(pl.DataFrame(rows))}
"""


def _reload() -> str:
    """The section on what `python -m bench.reload` measured last."""
    found = _last("reload")
    return f"""
## Rules in force

Written by `make bench-reload`. {found["workers"]} factory workers judge {found["rate"]:,} readings a second while a rule is applied
{found["applies"]} times. From when Kafka has it, which is when `headrace rules apply` says so, to when the slower of them tells of it at
`/rules`:
median **{found["median_ms"]:.0f} ms**, at most **{found["max_ms"]:.0f} ms**.
"""


def _closed_loop() -> str:
    """The section on what `python -m bench.closed_loop` measured last."""
    found = _last("closed_loop")
    return f"""
## Closed loop

Written by `make bench-closed-loop`. From the time a critical vibration was due to leave to the arrival of the command to stop at the
machine over MQTT, after warm-up, in milliseconds; open loop as above. Generator, Kafka, registry, factory worker, gateway, Mosquitto and
the machines, which acknowledge every command, share one machine. Readings enter at Kafka, or over MQTT as from machines.

{table(pl.DataFrame(found["rows"]))}
"""


def _to_the_centre() -> str:
    """The section on what `python -m bench.plants` measured last."""
    found = _last("plants")
    return f"""
## From a plant to the centre

Written by `make bench-plants`. Two brokers with a registry each, an uplink between them and a consumer at the centre, all on one
machine. A plant of 1,000 machines of six sensors: {found["alerts_per_second"]} alerts a second, and every {found["burst_seconds"]} s,
six times as often as in life, the {found["burst"]:,} windows of a minute's end at once. From the record's Kafka timestamp in the plant,
when its worker wrote it, to its arrival at the consumer, in milliseconds.

{table(pl.DataFrame(found["latency"]))}

After an absence the uplink catches up at {found["caught_up_per_second"]:,.0f} records a second ({found["backlog"]:,} windows).
"""


def _minute(soak: pl.DataFrame, minute: int) -> float:
    return float(median(soak.filter((pl.col("seconds") // 60) == minute - 1)["rss_bytes"].to_list())) / 2**20


def _facts(facts: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items()) + "."


def rewrite() -> None:
    """`RESULTS.md` from what the last runs left in `bench/results/`."""
    write(_last("full"), BENCH)


if __name__ == "__main__":
    rewrite()
