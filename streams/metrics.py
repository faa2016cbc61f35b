"""What a worker says about itself: every metric with its meaning and what it is a symptom of."""

from typing import Final, Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]


class Metric(NamedTuple):
    """One row of the catalogue. Labels take values from closed sets (partitions, topics, outcomes), never a device's id."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    symptom: str
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets."""

    @property
    def help(self) -> str:
        """The HELP text."""
        return f"{self.meaning} {self.symptom}"


_LANE: Final = ("domain", "partition")
_TP: Final = ("topic", "partition")
# From a tenth of a millisecond, a batch of a few records, to 10 s, where a session would end.
_SECONDS: Final = (0.0001, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)

CATALOGUE: Final = (
    Metric(
        "headrace_ledger_records_total",
        "counter",
        (*_LANE, "outcome"),
        "Records by what became of them, as of the partition's latest checkpoint: received = accepted + duplicate + late + all rejected.",
        "Sides that differ are lost records: a bug. A share of rejected or late that jumps is a producer, a clock or a network gone wrong.",
    ),
    Metric(
        "headrace_unsettled_records",
        "gauge",
        _LANE,
        "Records received since the latest checkpoint, which a crash would make this worker read again.",
        "Growing: checkpoints do not complete, Kafka is slow to take them or away.",
    ),
    Metric(
        "headrace_watermark_timestamp_seconds",
        "gauge",
        _LANE,
        "Watermark: event time that no reading is expected to be behind any more. 0 before the first reading.",
        "Standing still while records are received: the devices' clocks stand, or the records are old.",
    ),
    Metric(
        "headrace_watermark_delay_seconds",
        "gauge",
        _LANE,
        "How far the watermark is behind this machine's clock.",
        "Well above the domain's allowed disorder: this worker lags, its devices are silent, or their clocks are slow.",
    ),
    Metric(
        "headrace_fence_offset",
        "gauge",
        _LANE,
        "Offset of the next record the state will take in.",
        "Standing still below the end of the log: the partition does not move.",
    ),
    Metric(
        "headrace_parked_batches",
        "gauge",
        _LANE,
        "Batches that wait for a schema from the registry.",
        "Above 0 for long: the registry is away while a producer uses a new schema.",
    ),
    Metric(
        "headrace_open_episodes",
        "gauge",
        _LANE,
        "Alert episodes raised and not yet cleared.",
        "Many at once: a plant in trouble, or a rule whose condition is wrong.",
    ),
    Metric(
        "headrace_forecasts_total",
        "counter",
        (*_LANE, "outcome"),
        "Forecasts by what became of them: raised, and of those came-true or withdrawn; the rest is still open.",
        "Many withdrawn: machines change in ways the trend does not know, or the rule asks for too little confidence.",
    ),
    Metric(
        "headrace_unjudged_panes_total",
        "counter",
        (*_LANE, "rule"),
        "Panes that a rule over trends did not judge, as it raised an exception.",
        "Above 0: the rule is wrong; the log has its traceback. The other rules, and the worker, go on.",
    ),
    Metric(
        "headrace_refused_rules_total",
        "counter",
        ("domain",),
        "Rules in the topic that do not fit the domain; the rule before them stays in force.",
        "Above 0: somebody writes to the topic without headrace rules, or with another version of it.",
    ),
    Metric(
        "headrace_refused_sensors_total",
        "counter",
        (),
        "Sensor types in the topic that cannot be; the limits before them stay in force.",
        "Above 0: somebody writes to the topic without headrace sensors, or with another version of it.",
    ),
    Metric(
        "headrace_state_panes",
        "gauge",
        _LANE,
        "Panes of windows in memory.",
        "Above window, lateness and disorder together: the watermark does not move and panes do not expire.",
    ),
    Metric(
        "headrace_state_rows",
        "gauge",
        _LANE,
        "Keys of all panes in memory.",
        "Growing while the panes do not: devices that invent ids.",
    ),
    Metric(
        "headrace_batch_records",
        "histogram",
        ("domain",),
        "Records of a batch.",
        "At the limit of 20,000: the worker catches up, or is too slow for its load.",
        (1, 10, 50, 100, 500, 1_000, 5_000, 10_000, 20_000),
    ),
    Metric(
        "headrace_batch_seconds",
        "histogram",
        ("domain",),
        "Time a batch takes from bytes to alerts sent.",
        "Above 0.05 every other partition waits: a rule that is slow, or a flood of rejects.",
        _SECONDS,
    ),
    Metric(
        "headrace_checkpoint_seconds",
        "histogram",
        ("domain",),
        "Time a checkpoint takes from closing windows to acknowledging batches.",
        "Near or above 1, the time between two: Kafka is slow to take them, or the state has outgrown the worker.",
        _SECONDS,
    ),
    Metric(
        "headrace_checkpoint_bytes",
        "histogram",
        ("domain",),
        "State a checkpoint writes, all its partitions together.",
        "What the changelog costs: more keys a second, or records so disordered that old panes are written again.",
        tuple(float(4**n) for n in range(5, 15)),
    ),
    Metric(
        "headrace_consumer_lag_records",
        "gauge",
        _TP,
        "Records in the partition beyond the committed offset; known within five seconds.",
        "Growing: the worker is too slow for its load, or stuck (see headrace_stalled_seconds).",
    ),
    Metric("headrace_consumer_end_offset", "gauge", _TP, "End of the partition's log in Kafka.", "Standing still: nothing is produced."),
    Metric(
        "headrace_consumer_committed_offset",
        "gauge",
        _TP,
        "Offset a successor of this worker would start at, as Kafka confirmed it.",
        "Standing still below the end: checkpoints or commits fail.",
    ),
    Metric(
        "headrace_consumer_unacknowledged_messages",
        "gauge",
        _TP,
        "Messages delivered and not yet acknowledged; a batch is one.",
        "Growing: an agent that forgets to acknowledge; commits stop at the first such message.",
    ),
    Metric(
        "headrace_stalled_seconds",
        "gauge",
        ("what",),
        "Time since a partition with lag, a recovery or a shutdown got any further. What waits for a dependency that is away is not here.",
        "The watchdog ends the worker at 300.",
    ),
    Metric("headrace_rebalances_total", "counter", (), "Rebalances.", "Often: workers that crash, or sessions that time out."),
    Metric(
        "headrace_rebalance_seconds",
        "gauge",
        (),
        "How long the latest rebalance took until records flowed again, recovery included.",
        "Above 15: big state, slow disks of the broker, or a member that does not answer.",
    ),
    Metric(
        "headrace_recovery_remaining_records",
        "gauge",
        (),
        "Changelog records still to be read before this worker is ready.",
        "Not falling: recovery is stuck.",
    ),
    Metric(
        "headrace_kafka_silent_seconds",
        "gauge",
        (),
        "Time since Kafka last told the end of the log; it is asked every five seconds.",
        "Above 15: the broker or the way to it is down.",
    ),
    Metric(
        "headrace_producer_records_total",
        "counter",
        ("topic",),
        "Records queued for Kafka.",
        "A changelog's are the checkpoints', dead-letters' the rejects; a topic that falls silent has a cause upstream.",
    ),
    Metric(
        "headrace_producer_outstanding_records",
        "gauge",
        (),
        "Records queued and not yet confirmed by Kafka.",
        "At 100,000 senders wait: Kafka is slow or away.",
    ),
    Metric(
        "headrace_producer_failures_total",
        "counter",
        (),
        "Records Kafka refused.",
        "Above 0 the worker stops without acknowledging: a topic is missing, or a record is above its limit.",
    ),
    Metric(
        "headrace_loop_delay_seconds",
        "gauge",
        (),
        "How long the event loop last took to answer the watchdog.",
        "Above 0.2: something holds the loop; at 60 the watchdog ends the worker.",
    ),
    Metric(
        "headrace_gateway_messages_total",
        "counter",
        ("outcome",),
        "Messages since the start, by what became of them: received = produced + rejected + answers + own commands + those in hand.",
        "Rejected: devices that send what maps to nothing; see the dead letters.",
    ),
    Metric(
        "headrace_commands_total",
        "counter",
        ("outcome",),
        "Commands since the start, by what became of them (agents/gateway/commands.py): one that is dispatched is acknowledged, failed or "
        "unanswered, too.",
        "Expired: the gateway or the MQTT broker was away. Unaddressed: devices whose plant is not known. Unanswered: machines are off.",
    ),
    Metric(
        "headrace_command_seconds",
        "histogram",
        ("domain",),
        "Time from a measurement, by the machine's clock, to the MQTT broker having the command it called for.",
        "Above 0.05: see headrace_batch_seconds and headrace_consumer_lag_records of the domain's worker, and the machines' clocks.",
        _SECONDS,
    ),
    Metric(
        "headrace_warehouse_records_total",
        "counter",
        ("topic", "outcome"),
        "Records since the start by what became of them: received = stored + all rejected + those in hand.",
        "Stored standing still while received grows: ClickHouse is slow or away.",
    ),
    Metric(
        "headrace_uplink_records_total",
        "counter",
        ("topic", "outcome"),
        "Records for the centre since the start by what became of them: received = forwarded + all rejected + those in hand.",
        "Forwarded standing still while received grows: the centre is slow or away.",
    ),
    Metric(
        "headrace_uplink_seconds",
        "histogram",
        ("topic",),
        "From the time a batch's oldest record was written in the plant until the centre confirmed the batch.",
        "Above 0.1 for more than what is caught up with: a slow way to the centre, or a plant whose processors are busy.",
        buckets=_SECONDS,
    ),
    Metric(
        "headrace_desk_alerts",
        "gauge",
        ("state", "severity"),
        "Alerts on the desk: open, acknowledged, silenced, or cleared within a day.",
        "Many open at once: a plant in trouble, or a rule whose condition is wrong.",
    ),
    Metric(
        "headrace_desk_waiting_seconds",
        "gauge",
        ("severity",),
        "How long the oldest open alert has waited for somebody; 0 if none does. Those silenced or acknowledged do not count.",
        "Growing: nobody is at the desk. This is what to page by.",
    ),
    Metric(
        "headrace_ready",
        "gauge",
        ("check",),
        "1 where a check of `/ready` passes.",
        "0 names the dependency or the state that holds this worker up.",
    ),
)
