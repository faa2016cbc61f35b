"""The plots of the results, SVG files."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import polars as pl
from matplotlib import pyplot as plt

mpl.rcParams["svg.hashsalt"] = "bench"  # the same figures give the same file


def rates(medians: pl.DataFrame, path: Path) -> None:
    """Records per second of each job, bars."""
    figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
    names = [f"{job}, {devices:,} devices" for job, devices in medians.select("job", "devices").rows()]
    axes.bar_label(axes.barh(names, medians["rate"].to_list()), fmt="{:,.0f}", padding=3)
    axes.set(xlabel="records per second")
    axes.margins(x=0.15)
    axes.invert_yaxis()
    _save(figure, path)


def latency(latency: pl.DataFrame, path: Path) -> None:
    """Percentiles by the rate of readings."""
    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    for column, label in (("p999_ms", "p99.9"), ("p99_ms", "p99"), ("p50_ms", "p50")):
        axes.plot(latency["rate"].to_list(), latency[column].to_list(), marker="o", label=label)
    axes.set(xlabel="readings per second", ylabel="produce to alert, ms", ylim=(0, None))
    axes.legend()
    _save(figure, path)


def leads(found: dict[str, Any], path: Path) -> None:
    """Share of failures foreseen so many minutes before."""
    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    failures = {line["method"]: line["failures"] for line in found["overall"]}
    for method, leads in found["leads"].items():
        minutes = sorted(leads, reverse=True)
        axes.plot(minutes, [number / failures[method] for number in range(1, len(minutes) + 1)], label=method)
    axes.axvline(15, color="grey", linewidth=0.8, linestyle=":")
    axes.set(xlabel="minutes before the failure", ylabel="share foreseen by then", ylim=(0, 1), xlim=(45, 0))
    axes.legend()
    _save(figure, path)


def soak(soak: pl.DataFrame, path: Path) -> None:
    """Resident memory over time."""
    figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
    axes.plot((soak["seconds"] / 60).to_list(), (soak["rss_bytes"] / 2**20).to_list())
    axes.set(xlabel="minutes", ylabel="resident MiB", ylim=(0, 1.2 * max(soak["rss_bytes"].to_list()) / 2**20))
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:  # noqa: ANN401 - matplotlib's own type is too wide
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
