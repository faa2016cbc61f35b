"""What a watch knows about its devices: values, open windows and trends as of its latest fold, and the alerts that are open now."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import polars as pl

from agents.alerts import alert_id
from agents.episodes import Episode, Key
from agents.outlook import views
from agents.rules import evaluate
from agents.watch import Watch
from tables import windows

_WINDOW: Final = ("window_seconds", "window_start", "count", "mean", "min", "max", "stddev", "last", "last_at")


def view(watch: Watch, device: str) -> dict[str, Any] | None:
    """The device's `values`, open `windows`, `trends`, `forecasts` and `alerts`, each a list; None of a device that was never met.

    All but the alerts are of one instant, when the record before `offset` was the last one; `watermark` is how far windows are closed.
    Times are milliseconds.
    """
    seen, spec = watch.snapshot, watch.domain.windowing
    watermark = seen.stream_time - spec.disorder_ms
    of_device = pl.col("device_id") == device
    panes = {start: pane.filter(of_device) for start, pane in seen.panes.items()}
    trends = seen.trends.filter(of_device)
    alerts = _alerts(watch, device)
    values = _latest([trends, *panes.values()], spec.keys)
    if values.is_empty() and not alerts:
        return None
    frames = {
        "values": values.select(*spec.keys, value="last", at="last_at"),
        "windows": windows.pending(spec, panes, watermark).select(*spec.keys, *_WINDOW).sort(*_WINDOW[:2], *spec.keys),
        "trends": trends.select(*spec.keys, "mean", "level", slope_per_minute=pl.col("slope") * 60_000 / spec.pane_ms),
        "forecasts": _forecasts(watch, trends),
    }
    rows = {name: frame.drop("device_id").to_dicts() for name, frame in frames.items()}
    return {"device": device, "offset": seen.fence, "watermark": watermark, **rows, "alerts": alerts}


def directory(watch: Watch) -> pl.DataFrame:
    """Every device: `device`, how many `sensors`, when it was last heard of (`last_at`, ms), and how many `alerts` are open; by name."""
    seen = watch.snapshot
    latest = _latest([seen.trends, *seen.panes.values()], watch.domain.windowing.keys)
    devices = latest.group_by(device="device_id").agg(pl.len().alias("sensors"), pl.col("last_at").max())
    alerts = Counter(key.device_id for key, _ in _open(watch))
    counts = pl.DataFrame({"device": list(alerts), "alerts": list(alerts.values())}, {"device": pl.String, "alerts": pl.Int64})
    return devices.join(counts, on="device", how="left").with_columns(pl.col("alerts").fill_null(0)).sort("device")


def _latest(frames: list[pl.DataFrame], keys: tuple[str, ...]) -> pl.DataFrame:
    """The newest `last` and `last_at` of each key."""
    told = pl.concat([frame.select(*keys, "last", "last_at") for frame in frames])
    return told.sort("last_at").unique(keys, keep="last").sort(*keys)


def _forecasts(watch: Watch, trends: pl.DataFrame) -> pl.DataFrame:
    """When each sensor whose trend moves there is expected to meet each forecast's threshold, and how likely that is."""
    keys, rules = watch.domain.windowing.keys, [rule for rule in watch.domain.trend_rules if rule.forecast]
    rows = views(watch.domain, trends, watch.snapshot.panes, watch.snapshot.reached)
    evaluated = rows.hstack(evaluate(rules, rows))
    named = ("threshold", "expected_at", "confidence")
    told = [evaluated.select(*keys, pl.lit(rule.name).alias("rule"), **{n: f"{rule.name}/{n}" for n in named}) for rule in rules]
    nothing = pl.DataFrame(schema={**dict.fromkeys(keys, pl.String), "expected_at": pl.Int64})
    return pl.concat(told).filter(pl.col("expected_at").is_not_null()) if told else nothing


def _alerts(watch: Watch, device: str) -> list[dict[str, Any]]:
    """What is open, in the order it was raised."""
    rules = {rule.name: rule for rule in (*watch.domain.rules, *watch.domain.trend_rules)}
    found = [
        {
            "alert_id": alert_id(watch.outlook.origin, key, episode.raised_at),
            "subject": key.subject,
            "rule": key.rule,
            "severity": rules[key.rule].severity_of(escalated=episode.escalated) if key.rule in rules else None,
            "raised_at": episode.raised_at,
            "changed_at": episode.changed_at,
        }
        for key, episode in _open(watch)
        if key.device_id == device
    ]
    return sorted(found, key=lambda alert: (alert["raised_at"], alert["alert_id"]))


def _open(watch: Watch) -> Iterator[tuple[Key, Episode]]:
    """The open episodes. Copies before it looks, as other threads change them."""
    for episodes in (watch.episodes, watch.outlook.episodes):
        for keys in list(episodes.open.values()):
            for key in list(keys):
                if (episode := episodes.data.get(key)) and episode.open:
                    yield key, episode
