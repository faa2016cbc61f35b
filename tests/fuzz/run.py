"""`make fuzz`: hostile messages over all four protocols against a running line, until so many were sent or the time is over.

Right is: every worker still runs and is ready, none of them crashed on a record, every message has an answer, the ledger adds up, and what
the gateway says it delivered or rejected is in Kafka, once.
"""

import asyncio
import random
import re
import shutil
import signal
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka.admin import AdminClient

from deploy.demo.workers import Worker, with_listeners
from deploy.embedded.preflight import free_ports
from deploy.embedded.stack import LocalStack, on_free_ports
from schemas.catalog import CONTRACTS, DEAD_LETTERS, READINGS
from schemas.registry import Registry
from schemas.rejects import Reason
from streams.access import quiet
from tests.fuzz.payloads import ROWS, Fuzz
from tests.fuzz.senders import SENDERS, Tally
from tests.integration.line import Topics, headrace, http

MESSAGES = 200_000
WORKERS = ("gateway", "city", "factory")
PATIENCE_SECONDS = 300
ENVELOPES = {contract.topic for contract in CONTRACTS.values() if contract.codec is CONTRACTS["lighting.status.raw"].codec}


@dataclass
class Outcome:
    """What came of a run."""

    problems: list[str] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    said: dict[str, dict[str, int]] = field(default_factory=dict)
    letters: dict[str, int] = field(default_factory=dict)


def run(folder, messages, seconds, seed, say=lambda _: None):
    """Start the line, send, let it drain, and judge."""
    settings = with_listeners(on_free_ports(folder)).model_copy(update={"gateway_tenant_rate": 0})
    outcome = Outcome()
    with ExitStack() as held:
        held.enter_context(LocalStack(settings, report=say))
        rows = folder / "rows.yaml"
        rows.write_text(ROWS)
        status, text = headrace(settings, "map", "apply", rows)
        assert status == 0, text
        workers = {name: Worker(settings, name) for name in WORKERS}
        for worker, port in zip(workers.values(), free_ports(len(workers)), strict=True):
            worker.port = port
            held.callback(worker.stop)
            worker.start()
        for worker in workers.values():
            worker.wait()
        tallies = asyncio.run(_send(settings, messages, seconds, seed, workers, say))
        outcome.sent = {name: tally.sent for name, tally in tallies.items()}
        outcome.said = {name: dict(tally.said) for name, tally in tallies.items()}
        outcome.problems += [f"{name}: {problem}" for name, tally in tallies.items() for problem in tally.problems[:10]]
        say("sent; waiting until all has come through")
        with closing(Topics(settings, "city")) as topics, closing(Topics(settings, "factory")) as factory:
            _drain(settings, workers, tallies, topics, factory, outcome)
            if all(worker.running for worker in workers.values()):
                _judge(settings, workers, tallies, topics, outcome)
        for worker in workers.values():
            if worker.running and not worker.answers():
                outcome.problems.append(f"{worker.name} is not ready: {http.get(worker.url('/ready'), timeout=30).text[:500]}")
            worker.stop()
            if worker.process.poll() != 0:
                outcome.problems.append(worker.ended())
            log = worker.log.read_text(errors="replace")
            if "Traceback" in log:
                outcome.problems.append(f"{worker.name} logged: {log[log.index('Traceback') - 200 :][:3_000]}")
    return outcome


async def _send(settings, messages, seconds, seed, workers, say):
    ids = [
        Registry(settings.registry, settings.data / "fuzz-schemas").register(contract)
        for contract in (READINGS, CONTRACTS["lighting.status.raw"])
    ]
    until = time.monotonic() + seconds
    tallies = {sender.__name__: Tally() for sender in SENDERS}

    def over():
        return time.monotonic() > until or not all(worker.running for worker in workers.values())

    async def tell():
        while True:
            await asyncio.sleep(10)
            say(", ".join(f"{name} {tally.sent}" for name, tally in tallies.items()))

    telling = asyncio.create_task(tell())
    sending = [
        sender(settings, Fuzz(random.Random(f"{seed} {sender.__name__}"), ids), tallies[sender.__name__], share * messages, over)
        for sender, share in SENDERS.items()
    ]
    for sender, failure in zip(SENDERS, await asyncio.gather(*sending, return_exceptions=True), strict=True):
        if failure is not None:
            tallies[sender.__name__].problems.append(f"the sender ended: {failure!r}")
    telling.cancel()
    return tallies


def _metric(worker, name, label=None):
    """Samples of a metric, added up by a label's values, or all."""
    found = {}
    for line in http.get(worker.url("/metrics"), timeout=60).text.splitlines():
        if line.startswith((name + "{", name + " ")):
            labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', line))
            found[labels.get(label)] = found.get(labels.get(label), 0) + int(float(line.rpartition(" ")[2]))
    return found


def _ledger(worker):
    ledger = _metric(worker, "headrace_device_messages_total", "outcome")
    ledger["spooled"] = _metric(worker, "headrace_spooled_messages").get(None, 0)
    gateway = _metric(worker, "headrace_gateway_messages_total", "outcome")
    # what the gateway asks edge nodes for comes back by its subscription, as what it publishes for devices does
    gateway["of devices"] = gateway["received"] - gateway["own"] - _metric(worker, "headrace_sparkplug_rebirths_total").get(None, 0)
    return ledger, gateway


def _drain(settings, workers, tallies, topics, factory, outcome):
    """Return when the gateway has all that was published, its spool is empty, and the other workers have read what it wrote."""
    deadline, state = time.monotonic() + PATIENCE_SECONDS, ""
    while time.monotonic() < deadline and all(worker.running for worker in workers.values()):
        ledger, gateway = _ledger(workers["gateway"])
        behind = [
            name for name in sorted(ENVELOPES - {"iot.quarantine"}) if name in REFINED and topics.committed(name) != topics.ends(name)
        ]
        behind += [READINGS.topic] if factory.committed() != factory.ends() else []
        state = f"ledger {ledger}, over MQTT {gateway}, behind {behind}"
        if _taken(ledger) == _accepted(tallies, gateway) and not ledger["spooled"] and not behind and _settled(tallies, gateway):
            return
        time.sleep(1)
    if all(worker.running for worker in workers.values()):
        outcome.problems.append(f"after {PATIENCE_SECONDS} s it had not come through: {state}")


def _accepted(tallies, gateway):
    """Messages that the gate took, by what was said of them; what comes over MQTT is the broker's to answer."""
    return sum(tallies[name].accepted for name in ("http", "websocket", "coap")) + gateway["passed"]


def _taken(ledger):
    """The same by the ledger: a message of Sparkplug may be several records, and a dead letter beside them."""
    return ledger.get("accepted", 0) - ledger.get("further", 0)


def _settled(tallies, gateway):
    return gateway["of devices"] >= tallies["mqtt"].sent and gateway["received"] == sum(
        gateway.get(what, 0) for what in ("produced", "rejected", "answers", "own", "passed")
    )


REFINED = {
    "env.temperature.raw",
    "env.humidity.raw",
    "env.air.raw",
    "env.noise.raw",
    "lighting.status.raw",
    "parking.occupancy.raw",
    "infrastructure.manhole.alert",
    "traffic.flow.raw",
}


def _judge(settings, workers, tallies, topics, outcome):
    ledger, gateway = _ledger(workers["gateway"])
    _require(outcome, "messages accepted, by verdicts and by the ledger", _accepted(tallies, gateway), _taken(ledger))
    parts = sum(ledger.get(name, 0) for name in ("delivered", "spooled", "rejected", "duplicate", "coalesced"))
    _require(outcome, "the ledger: accepted, and its parts", ledger["accepted"], parts)
    _require(outcome, "messages over MQTT, published and received", tallies["mqtt"].sent, gateway["of devices"])
    there = AdminClient(quiet(settings.kafka, settings)).list_topics(timeout=30).topics
    envelopes = sum(sum(topics.ends(name).values()) for name in there if name in ENVELOPES or name.startswith("iot.raw."))
    _require(outcome, "messages delivered, by the ledger and in Kafka", ledger["delivered"], envelopes)
    _require(outcome, "readings produced, by the ledger and in Kafka", gateway["produced"], sum(topics.ends(READINGS.topic).values()))
    letters = topics.frame(DEAD_LETTERS)
    outcome.letters = dict(letters["reason"].value_counts().iter_rows())
    own = letters.filter(letters["partition"] < 0)
    _require(outcome, "messages rejected, by the ledger and in Kafka", ledger.get("rejected", 0) + gateway["rejected"], own.height)
    crashed = letters.filter(letters["reason"].is_in([Reason.CRASHED, Reason.RULE_CRASHED]))
    outcome.problems += [f"crashed: {detail}" for detail in crashed["detail"].unique().head(10)]


def _require(outcome, what, one, other):
    if one != other:
        outcome.problems.append(f"{what}: {one} and {other}")


def _say(text):
    typer.echo(f"{time.strftime('%H:%M:%S')} {text}")


def main(
    seconds: Annotated[float, typer.Option("--for", help="Seconds to send for, at most.")] = 600,
    seed: Annotated[int | None, typer.Option(help="Repeats a run's messages.")] = None,
    messages: Annotated[int, typer.Option(help="Messages to send.")] = MESSAGES,
    folder: Annotated[Path | None, typer.Option(help="Where the line's logs and data stay.")] = None,
) -> None:
    """Send hostile messages to a line of its own and judge what is left."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is stopped
    seed = random.randrange(2**32) if seed is None else seed
    typer.echo(f"seed {seed}: make fuzz SEED={seed} repeats it")
    where = folder or Path(tempfile.mkdtemp(prefix="headrace-fuzz-"))
    outcome = run(where, messages, seconds, seed, _say)
    for name, sent in outcome.sent.items():
        typer.echo(f"{name}: {sent} messages, {', '.join(f'{said} {count}' for said, count in sorted(outcome.said[name].items()))}")
    typer.echo(f"dead letters: {', '.join(f'{reason} {count}' for reason, count in sorted(outcome.letters.items()))}")
    for problem in outcome.problems:
        typer.echo(f"WRONG: {problem}")
    if outcome.problems:
        typer.echo(f"logs and data stay in {where}")
    elif not folder:
        shutil.rmtree(where)
    raise typer.Exit(1 if outcome.problems else 0)


if __name__ == "__main__":
    typer.run(main)
