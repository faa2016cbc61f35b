"""Whether a demo showed what it should: readings stored, windows closed, alerts raised, and every record accounted for."""

from collections.abc import Mapping, Sequence

from deploy.demo.figures import Figures
from schemas.catalog import ALERTS, READINGS, WINDOWS


def judge(before: Figures, after: Figures, sent: int, good: int, raised: int) -> Sequence[str]:
    """What is wrong, in words; nothing if all is well.

    `before` and `after` are of the run's start and end, all lag gone; `sent` are the messages the simulator had acknowledged,
    `good` the different readings among them, `raised` the alerts raised or
    reopened.
    """
    wrong = []
    gateway, ledger, warehouse = after.gateway, after.ledger, after.warehouse
    new = {topic: end - before.ends[topic] for topic, end in after.ends.items()}
    stored = after.rows.get(READINGS.sink, 0) - before.rows.get(READINGS.sink, 0)
    if not stored or stored != good:
        wrong.append(f"{stored} of {good} good readings are in ClickHouse")
    if not new[WINDOWS.topic]:
        wrong.append("no window was closed")
    if not raised or not new[ALERTS.topic]:
        wrong.append("no alert was raised")
    wrong += [f"{group} is {lag} readings behind" for group, lag in after.lag.items() if lag]
    if gateway.get("received", 0) < sent:
        wrong.append(f"the gateway received {gateway.get('received', 0)} of {sent} messages")
    if not _adds_up(gateway):
        wrong.append(f"the gateway's messages do not add up: {dict(gateway)}")
    if gateway.get("produced") != new[READINGS.topic]:
        wrong.append(f"the gateway produced {gateway.get('produced')} readings, {new[READINGS.topic]} are new in Kafka")
    if ledger.get("received") != after.ends[READINGS.topic]:
        wrong.append(f"the factory worker received {ledger.get('received')} of {after.ends[READINGS.topic]} readings")
    if not _adds_up(ledger):
        wrong.append(f"the factory's ledger does not add up: {dict(ledger)}")
    if warehouse.get("received", 0) < new[READINGS.topic] or not _adds_up(warehouse):
        wrong.append(f"the warehouse's ledger does not add up to {new[READINGS.topic]} readings: {dict(warehouse)}")
    return wrong


def _adds_up(ledger: Mapping[str, int]) -> bool:
    return ledger.get("received", 0) == sum(count for outcome, count in ledger.items() if outcome != "received")
