"""`python -m bench.prediction`: how well failures are foreseen, on simulated plants, beside two other ways to do it.

Half of the machines of each plant have a sensor that wears out over one to four hours, in one of five shapes, and is repaired; all drift
and follow the shifts. `above-threshold` warns at 90 % of the critical value. `theil-sen` extrapolates the line through the last 30
minute means by Theil and Sen (SciPy's) as far ahead as our rule looks. All three see the same minutes, warn as late after their end,
and hold a warning by the same hysteresis.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.lib.stride_tricks import sliding_window_view
from rich.console import Console
from rich.progress import track
from scipy.stats import theilslopes

from agents.alerts import Origin
from agents.factory.domain import FACTORY, NOTICE_MINUTES, TREND_RULES
from agents.outlook import Outlook
from bench import report
from deploy.simulate.fleet import Wear, fleet
from deploy.simulate.signals import WEARING, Signals
from tables import aggregates, windows

# Those below 100 served to choose the weights of tables/trends.py and the rule's limits.
HELD_OUT_SEEDS: Final = range(100, 105)
DEVICES: Final = 60
HOURS: Final = 16
START_MS: Final = 1_760_068_800_000  # 04:00 UTC: both changes of shift are in it
PERIOD_MS: Final = 5_000
WEAR: Final = Wear(share=0.5, shortest=3600 / WEARING, longest=4 * 3600 / WEARING)
RULE: Final = TREND_RULES[0]
# A warning is right if the failure comes within three times the 15 minutes it is to be known in advance.
RIGHT_MS: Final = 3 * 15 * 60_000
# Judged are failures an hour from the start or later, which could be foreseen, and warnings whose failure would be in the simulation.
JUDGED_FROM_MS: Final = START_MS + 3_600_000
JUDGED_TO_MS: Final = START_MS + HOURS * 3_600_000 - RIGHT_MS
LINE_MINUTES: Final = 30
MINUTE_MS: Final = 60_000
COOLDOWN_MS: Final = RULE.cooldown_ms
DELAY_MS: Final = FACTORY.windowing.patience_ms


@dataclass(frozen=True)
class Plant:
    """What happened: minutes of every channel (`mean` and `max`, shape channels × minutes), and when each failed (ms)."""

    channels: pl.DataFrame
    panes: dict[int, pl.DataFrame]
    mean: np.ndarray[Any, np.dtype[np.float64]]
    maximum: np.ndarray[Any, np.dtype[np.float64]]
    failures: dict[int, list[int]]


@dataclass(frozen=True)
class Warned:
    """A warning: of which channel, from when to when (ms)."""

    channel: int
    raised_at: int
    cleared_at: float


def simulate(seed: int) -> Plant:
    """The minutes of a plant, folded as the worker folds them."""
    channels = fleet(DEVICES, seed, WEAR)
    signals = Signals(channels, seed, START_MS, PERIOD_MS)
    spec = FACTORY.windowing
    names = channels.select("device_id", "sensor_type", "critical").with_row_index("channel")
    panes: dict[int, pl.DataFrame] = {}
    crossed = []
    for minute in range(HOURS * 60):
        readings = signals.readings(minute * MINUTE_MS // PERIOD_MS, MINUTE_MS // PERIOD_MS).join(
            names, on="channel", maintain_order="left"
        )
        crossed.append(readings.filter(pl.col("value") > pl.col("critical")).select("channel", "timestamp"))
        panes |= windows.fold(spec, panes, readings.with_columns(pane=spec.pane_of(pl.col("timestamp")))).panes
    whole = pl.concat(pane.with_columns(start=pl.lit(start)) for start, pane in panes.items())
    whole = whole.join(names, on=["device_id", "sensor_type"]).sort("channel", "start")
    shape = (channels.height, len(panes))
    mean = whole.select(*aggregates.result())["mean"].to_numpy().reshape(shape)
    return Plant(channels, panes, mean, whole["max"].to_numpy().reshape(shape), _failures(pl.concat(crossed)))


def _failures(crossed: pl.DataFrame) -> dict[int, list[int]]:
    """First crossing of the limit by channel, after each hour or more without one, as every repair is followed by longer."""
    first = crossed.sort("channel", "timestamp").filter((pl.col("timestamp").diff().over("channel") > 60 * MINUTE_MS).fill_null(value=True))
    return {int(channel): rows["timestamp"].to_list() for (channel,), rows in first.partition_by("channel", as_dict=True).items()}


def ours(plant: Plant) -> Iterator[Warned]:
    """What the factory's own rule makes of it."""
    outlook = Outlook(FACTORY, Origin("bench", "factory"))
    told, _ = outlook.advance(plant.panes, sys.maxsize)
    number = {row: channel for channel, row in enumerate(plant.channels.select("device_id", "sensor_type").iter_rows())}
    held: dict[int, int] = {}
    for device, subject, rule, status, changed_at in told.select("device_id", "subject", "rule", "status", "changed_at").iter_rows():
        if rule != RULE.name:
            continue
        channel = number[device, subject]
        if status == "CLEARED":
            yield Warned(channel, held.pop(channel), changed_at)
        else:
            held[channel] = changed_at
    yield from (Warned(channel, raised_at, float("inf")) for channel, raised_at in held.items())


def above_threshold(plant: Plant) -> Iterator[Warned]:
    """A warning above 90 % of critical, until below 85 %."""
    critical = plant.channels["critical"].to_numpy()[:, None]
    return _warnings(plant, plant.mean > 0.9 * critical, plant.mean < 0.85 * critical)


def theil_sen(plant: Plant) -> Iterator[Warned]:
    """A warning where the line through the last minutes meets the limit within the notice, until it stays 5 % below."""
    critical = plant.channels["critical"].to_numpy()
    ahead = np.full(plant.mean.shape, -np.inf)
    rest = (LINE_MINUTES - 1) / 2 + NOTICE_MINUTES
    for channel, last_minutes in enumerate(sliding_window_view(plant.mean, LINE_MINUTES, axis=1)):
        # no slope is steeper than the steepest step: where even that one stays far below the limit the line need not be drawn
        most = np.median(last_minutes, axis=1) + rest * np.diff(last_minutes, axis=1).max(axis=1)
        for minute in np.flatnonzero(most > 0.95 * critical[channel]):
            line = theilslopes(last_minutes[minute])
            ahead[channel, minute + LINE_MINUTES - 1] = line.intercept + line.slope * (LINE_MINUTES - 1 + NOTICE_MINUTES)
    return _warnings(plant, ahead >= critical[:, None], ahead < 0.95 * critical[:, None])


def _warnings(plant: Plant, raises: Any, clears: Any) -> Iterator[Warned]:  # noqa: ANN401
    """Hold warnings: raised by one condition, until another clears it or the limit is met."""
    met = plant.maximum > plant.channels["critical"].to_numpy()[:, None]
    raises, clears = raises & ~met, clears | met
    for channel in np.flatnonzero(raises.any(axis=1)):
        raised_at = None
        for minute in np.flatnonzero(raises[channel] | clears[channel]):
            now = START_MS + int(minute + 1) * MINUTE_MS
            if raised_at is None and raises[channel, minute]:
                raised_at = now
            elif raised_at is not None and clears[channel, minute]:
                yield Warned(int(channel), raised_at, now)
                raised_at = None
        if raised_at is not None:
            yield Warned(int(channel), raised_at, float("inf"))


def judge(plant: Plant, warned: Iterator[Warned]) -> pl.DataFrame:
    """A row for each judged warning (`shape`, `right`) and each failure (`shape`, `foreseen`, `lead_minutes` of what was foreseen)."""
    rows: list[dict[str, Any]] = []
    merged: dict[int, list[Warned]] = {}
    for warning in sorted(warned, key=lambda warning: (warning.channel, warning.raised_at)):
        of_channel = merged.setdefault(warning.channel, [])
        if of_channel and warning.raised_at - of_channel[-1].raised_at < COOLDOWN_MS:  # the same episode, reopened
            of_channel[-1] = Warned(warning.channel, of_channel[-1].raised_at, warning.cleared_at)
        else:
            of_channel.append(warning)
    for channel, shape in enumerate(plant.channels["wear_shape"]):
        warnings, failures = merged.get(channel, []), plant.failures.get(channel, [])
        right = [any(0 <= failure - warning.raised_at <= RIGHT_MS for failure in failures) for warning in warnings]
        judged = [is_right for warning, is_right in zip(warnings, right, strict=True) if warning.raised_at <= JUDGED_TO_MS]
        rows += [{"shape": shape or "healthy", "right": is_right} for is_right in judged]
        for failure in (failure for failure in failures if failure >= JUDGED_FROM_MS):
            leads = [failure - w.raised_at - DELAY_MS for w, is_right in zip(warnings, right, strict=True) if is_right]
            lead = max((lead for lead in leads if 0 < lead <= RIGHT_MS), default=None)
            rows.append({"shape": shape, "foreseen": lead is not None, "lead_minutes": lead and lead / MINUTE_MS})
    return pl.DataFrame(rows, {"shape": pl.String, "right": pl.Boolean, "foreseen": pl.Boolean, "lead_minutes": pl.Float64})


METHODS: Final = {"headrace": ours, "theil-sen": theil_sen, "above-threshold": above_threshold}


def figures(rows: pl.DataFrame) -> dict[str, Any]:
    """Precision, recall and median lead, and what they are shares of."""
    return {
        "failures": rows["foreseen"].drop_nulls().len(),
        "warnings": rows["right"].drop_nulls().len(),
        "precision": rows["right"].mean(),
        "recall": rows["foreseen"].mean(),
        "lead_minutes": rows["lead_minutes"].median(),
    }


def run(seeds: range = HELD_OUT_SEEDS) -> dict[str, Any]:
    """Figures of every method over the seeds, overall and by shape of wear, and all leads."""
    judged: dict[str, list[pl.DataFrame]] = {name: [] for name in METHODS}
    for seed in track(seeds, "foreseeing failures", console=Console(stderr=True)):
        plant = simulate(seed)
        for name, method in METHODS.items():
            judged[name].append(judge(plant, method(plant)))
    rows = {name: pl.concat(parts) for name, parts in judged.items()}
    return {
        "seeds": [seeds.start, seeds.stop - 1],
        "devices": DEVICES,
        "hours": HOURS,
        "overall": [{"method": name, **figures(frame)} for name, frame in rows.items()],
        "shapes": [
            {"shape": shape, **figures(part)} for (shape,), part in sorted(rows["headrace"].partition_by("shape", as_dict=True).items())
        ],
        "leads": {name: frame["lead_minutes"].drop_nulls().to_list() for name, frame in rows.items()},
    }


def main() -> None:
    """Run, keep the figures, and write them into `bench/RESULTS.md`."""
    found = run()
    report.keep("prediction", found)
    for line in found["overall"]:
        print(" ".join(f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in line.items()))


if __name__ == "__main__":
    main()
