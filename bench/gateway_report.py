"""The gateway's sections of `RESULTS.md`."""

from collections.abc import Mapping
from typing import Any

import polars as pl
import polars.selectors as cs

from bench.markdown import table


def gateway(found: Mapping[str, Any]) -> str:
    """The section on what `python -m bench.gateway` found."""
    two = found["two"]
    return f"""
## The gateway

Written by `make bench-gateway`. One gateway process between Mosquitto and Kafka, numbered readings in JSON of QoS 1, each mapped, looked
for among those that came before, and put into the standard envelope; generator, brokers and registry on the same machine.
**{found["rate"]:,.0f} messages a second** are in Kafka and then acknowledged, at
{found["cpu_us"]:.1f} µs of CPU a message, all threads; a paho subscriber that does nothing takes {found["paho_cpu_us"]:.1f} µs,
**{found["ratio_paho"]:.1f}** times as much.

At half of the 15,000 a second it is to carry at least, and at half of what it carried,
from the time a message was due to leave its device until Kafka had it (`LogAppendTime`), in milliseconds:

{table(pl.DataFrame(found["latency"]))}

Two gateways that share the subscription: {two["rate"]:,.0f} messages a second, {two["cpu_us"]:.1f} µs each: there is no third core for
them, as generator, Mosquitto and Kafka have what one gateway leaves of two. {_scaling(two)}

{found["connections"]:,} connected devices take {found["kb_per_connection"]:.1f} KiB of Mosquitto's memory each and
{found["kernel_kb_per_connection"]:.1f} KiB of the kernel's; they connected one after another, {found["connects_per_second"]:,.0f} a second.
"""


def _scaling(two: Mapping[str, Any]) -> str:
    if None in (two["held_alone"], two["held_rate"]):
        return "What a second one adds was not measured: this machine's user may hold no process to a share of a core."
    more = two["held_rate"] / two["held_alone"]
    return f"""With {two["cores"]} of a core for each gateway, one
carries {two["held_alone"]:,.0f} messages a second and two {two["held_rate"]:,.0f}, **{more:.2f}** times as many."""


def tenancy(found: Mapping[str, Any]) -> str:
    """The section on what `python -m bench.tenancy` found."""
    loads = {"alone": "alone", "flood": "beside a flood", "full_spool": "beside a full spool"}
    rows = {"tenant b": [*loads.values()]} | {name: [found[f"{load}_{name}"] for load in loads] for name in ("p50_ms", "p99_ms")}
    rows["p99_ms of each round"] = [", ".join(f"{each:.1f}" for each in found[f"{load}_p99_ms_rounds"]) for load in loads]
    return f"""
## What one tenant does to another

Written by `make bench-tenancy`. Tenant b sends 200 messages a second over MQTT. Then tenant a sends twenty times as many through the same
gateway, every tenth garbage, and a third one batches of unknown schemas over HTTP as fast as they are answered. Then Kafka takes what the
third one has on the gateway's disk, its full share, while batches come as fast as they are answered "full". From the time a message of b
was due to leave its device until Kafka had it, in milliseconds, the median of the rounds:

{table(pl.DataFrame(rows).with_columns(cs.numeric().round(1)))}

The flood moves the 99th percentile of b by {found["flood_moved_percent"]:.0f} %,
the full spool by {found["full_spool_moved_percent"]:.0f} %; generators, brokers and gateway share two cores.
"""
