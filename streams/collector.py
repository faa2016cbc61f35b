"""The live state of a worker as samples of the catalogue's metrics, read in the event loop when `/metrics` is asked for."""

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from streams.access import named
from streams.exposition import Sample
from streams.lag import consumption, recovery_of

if TYPE_CHECKING:
    from streams.assembly import App
    from streams.dispatch import Dispatching
    from streams.forwarding import Forwarding
    from streams.gate import Gate
    from streams.ingest import Ingest
    from streams.lane import Lane
    from streams.refining import Messages
    from streams.sinking import Sinking
    from streams.watching import Watching


def of_worker(app: "App") -> Iterator[Sample]:
    """What every worker has: producer, watchdog and checks, and a consumer where it reads."""
    watchdog, producer = app.watchdog, app.bulk
    yield from _plain(
        {
            "headrace_kafka_silent_seconds": time.monotonic() - watchdog.log_ends.answered_at,
            "headrace_loop_delay_seconds": watchdog.loop_delay_seconds,
            "headrace_producer_outstanding_records": producer.outstanding,
            "headrace_producer_failures_total": producer.failures,
        }
    )
    for topic, records in producer.queued.items():
        yield Sample("headrace_producer_records_total", (topic,), records)
    for name, check in app.checks.items():
        yield Sample("headrace_ready", (name,), check().ok)
    for what, seconds in watchdog.stalled.items():
        yield Sample("headrace_stalled_seconds", (what,), seconds)
    if not app.producer_only:
        yield from _of_consumer(app)


def _of_consumer(app: "App") -> Iterator[Sample]:
    latencies = app.monitor.rebalance_end_latency
    yield from _plain(
        {
            "headrace_rebalances_total": app.rebalancing_count,
            "headrace_rebalance_seconds": latencies[-1] if latencies else 0,
            "headrace_recovery_remaining_records": recovery_of(app).active_remaining_total(),
        }
    )
    for row in consumption(app, app.watchdog.log_ends.ends):
        labels = (row.tp.topic, str(row.tp.partition))
        yield Sample("headrace_consumer_lag_records", labels, row.lag)
        yield Sample("headrace_consumer_unacknowledged_messages", labels, row.unacknowledged)
        if row.end is not None:
            yield Sample("headrace_consumer_end_offset", labels, row.end)
        if row.committed is not None:
            yield Sample("headrace_consumer_committed_offset", labels, row.committed)


def of_watching(watching: "Watching") -> Iterator[Sample]:
    """The lanes of a domain's watch; none until every assigned partition has its own, or what is shown would go back after a start."""
    assigned = watching.app.consumer.assignment()
    if any(tp.topic == named(watching.domain.source.topic) and tp not in watching.lanes for tp in assigned):
        return
    for rule, times in watching.switched_off.items():
        yield Sample("headrace_switched_off_rules_total", (watching.domain.name, rule), times)
    now = time.time()
    for lane in watching.lanes.values():
        labels = (watching.domain.name, str(lane.tp.partition))
        for name, value in _of_lane(lane, now).items():
            yield Sample(name, labels, value)
        for outcome, records in lane.counts.items():
            yield Sample("headrace_ledger_records_total", (*labels, outcome), records)
        for outcome, forecasts in lane.forecasts.items():
            yield Sample("headrace_forecasts_total", (*labels, outcome), forecasts)
        for rule, panes in lane.crashes.items():
            yield Sample("headrace_unjudged_panes_total", (*labels, rule), panes)


def of_ingest(ingest: "Ingest") -> Iterator[Sample]:
    """The gateway's messages, and the machines' answers among them."""
    messages = {
        "received": ingest.received,
        "produced": ingest.produced,
        "rejected": ingest.rejected,
        "own": ingest.own,
        "retained": ingest.retained,
        "cleared": ingest.cleared,
        "passed": ingest.passed,
    }
    for outcome, count in (messages | {"answers": ingest.answers.total()}).items():
        yield Sample("headrace_gateway_messages_total", (outcome,), count)
    for status, answers in ingest.answers.items():
        yield Sample("headrace_commands_total", (status.lower(),), answers)


def of_gate(gate: "Gate") -> Iterator[Sample]:
    """The ledger of devices' messages by tenant, and the spool; the gateway's own dead letters are nobody's."""
    for tenant in {gate.place.tenant, *gate.place.tenants, *gate.keeping.counts, *gate.keeping.spool.rows} - {""}:
        for outcome, messages in ({"accepted": 0, "full": 0} | gate.keeping.counts[tenant]).items():
            yield Sample("headrace_device_messages_total", (tenant, outcome), messages)
        yield Sample("headrace_spooled_messages", (tenant,), gate.keeping.spool.rows[tenant])
        yield Sample("headrace_spooled_bytes", (tenant,), gate.keeping.spool.bytes[tenant])
    yield Sample("headrace_lower_qos_messages_total", (), gate.misfits)


def of_dispatching(dispatching: "Dispatching") -> Iterator[Sample]:
    """What became of commands."""
    for outcome, commands in dispatching.counts.items():
        yield Sample("headrace_commands_total", (outcome,), commands)


def of_sinking(sinking: "Sinking") -> Iterator[Sample]:
    """A topic's way into the warehouse."""
    for outcome, records in sinking.counts.items():
        yield Sample("headrace_warehouse_records_total", (sinking.contract.topic, outcome), records)


def of_refining(messages: "Messages") -> Iterator[Sample]:
    """What has become of a topic's messages."""
    for outcome, records in messages.counts.items():
        yield Sample("headrace_refined_messages_total", (messages.contract.topic, outcome), records)


def of_forwarding(forwarding: "Forwarding") -> Iterator[Sample]:
    """A topic's way to the centre."""
    for outcome, records in forwarding.counts.items():
        yield Sample("headrace_uplink_records_total", (forwarding.contract.topic, outcome), records)


def _of_lane(lane: "Lane", now: float) -> Mapping[str, float]:
    watch, panes = lane.watch, lane.watch.snapshot.panes  # a fold may be changing the watch's own
    watermark = max(watch.watermark, 0) / 1000
    return {
        "headrace_unsettled_records": watch.counts["received"] - lane.counts.get("received", 0),
        "headrace_watermark_timestamp_seconds": watermark,
        "headrace_watermark_delay_seconds": now - watermark if watermark else 0,
        "headrace_fence_offset": watch.fence,
        "headrace_parked_batches": len(lane.parked),
        "headrace_open_episodes": sum(map(len, watch.episodes.open.values())),
        "headrace_state_panes": len(panes),
        "headrace_state_rows": sum(pane.height for pane in panes.values()),
    }


def _plain(values: Mapping[str, float]) -> Iterator[Sample]:
    return (Sample(name, (), value) for name, value in values.items())
