"""`make chaos`: the whole line under load while its parts are killed -9 at random, and judged by what it leaves.

Half of the devices publish over MQTT, the others write to Kafka directly, ten minutes of history first. Broker, registry, MQTT broker,
gateway, factory worker and warehouse worker die in turns and are started again. When all has come through: every reading sent is in
ClickHouse once, windows and alerts are those of an undisturbed run over the log, the ledger adds up, ClickHouse holds what the topics
hold, nothing is behind, no worker ended by itself, and /ready told the truth.
"""

import asyncio
import logging
import random
import statistics
import tempfile
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.console import Console
from rich.table import Table

from deploy.demo.workers import Worker
from deploy.embedded.preflight import free_ports
from deploy.embedded.stack import LocalStack, on_free_ports
from deploy.simulate.delivery import deliveries, pace
from deploy.simulate.faults import Faults
from deploy.simulate.fleet import fleet
from deploy.simulate.kafka_sink import REJECTED, KafkaSink
from deploy.simulate.mqtt_sink import REJECTED as REJECTED_OVER_MQTT
from deploy.simulate.mqtt_sink import MqttSink
from deploy.simulate.signals import Signals
from deploy.simulate.truth import Truth
from schemas.catalog import ALERTS, CONTRACTS, DEAD_LETTERS, LATE, READINGS, WINDOWS
from schemas.registry import Registry
from streams.clickhouse import ClickHouse
from tests.integration.line import CHANGE, SOURCE, WINDOW, Topics, actual, assert_equal, undisturbed
from tests.integration.readiness import Probe, lies

WORKERS = ("factory", "warehouse", "gateway")
VICTIMS = ("kafka", "registry", "mqtt", *WORKERS)
DEVICES = 60
"""Over each of the two ways; of six sensors, a reading a second from each."""
SENSORS = 6
HISTORY_SECONDS = 600
FAULTS = Faults(duplicates=0.02, disorder=0.05, late=0.002, garbage=0.002)
GAP_SECONDS = (2.0, 7.0)
DOWN_SECONDS = (0.2, 6.0)
# Long enough for every worker that depends on it to have to say so.
LONG_SECONDS = {"kafka": 28.0, "mqtt": 14.0}
PATIENCE_SECONDS = 400
READING = ["device_id", "sensor_type", "timestamp"]


@dataclass
class Outcome:
    """What happened."""

    problems: list[str] = field(default_factory=list)
    killed: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    """Starts that ended as what the worker needs was away, by service."""
    back: dict[str, list[float]] = field(default_factory=dict)
    """Seconds from a start to the first answer, of a worker to ready, by service."""
    ready: dict[str, float] = field(default_factory=dict)
    """Share of the looks at which a worker said ready."""
    sent: int = 0
    stored: int = 0


class Recorded:
    """A sink that remembers what was sent."""

    def __init__(self, sink):
        self.sink, self.sent = sink, []

    async def send(self, records):
        self.sent.append(records)
        await self.sink.send(records)


class Load(threading.Thread):
    """All devices, from the start until `over` is set and everything is acknowledged."""

    def __init__(self, settings, seed):
        super().__init__(daemon=True)
        self.settings, self.seed = settings, seed
        channels = fleet(2 * DEVICES, seed)
        self.fleets = channels[: DEVICES * SENSORS], channels[DEVICES * SENSORS :]
        self.sinks: list[Recorded] = []
        self.opened, self.over, self.error = threading.Event(), threading.Event(), None

    def run(self):
        try:
            asyncio.run(self._run())
        except (OSError, RuntimeError, TimeoutError) as error:
            self.error = error
        finally:
            self.opened.set()

    async def _run(self):
        schema_id = Registry(self.settings.registry, self.settings.data / "load-schemas").register(READINGS)
        mqtt = MqttSink(self.fleets[0], self.settings.mqtt, schema_id)
        await mqtt.open()
        kafka = KafkaSink(self.fleets[1], self.settings.kafka, schema_id)
        self.sinks = [Recorded(mqtt), Recorded(kafka)]
        self.opened.set()
        now = int(time.time() * 1000)
        await asyncio.gather(
            self._feed(self.sinks[0], self.fleets[0], now, REJECTED_OVER_MQTT),
            self._feed(self.sinks[1], self.fleets[1], now - HISTORY_SECONDS * 1000, REJECTED),
        )

    async def _feed(self, sink, channels, start_ms, rejected):
        stop = asyncio.Event()
        for records in deliveries(Signals(channels, self.seed, start_ms, 1000), FAULTS, Truth(channels, rejected), None, 1, stop):
            await pace(sink, records, stop)
            if self.over.is_set():
                stop.set()
        await sink.send(records.clear())
        await sink.sink.close()

    def good(self):
        """Different readings sent that are fit to be stored."""
        found = []
        for channels, sink in zip(self.fleets, self.sinks, strict=True):
            sent = pl.concat(sink.sent).filter(pl.col("fault").is_null() | pl.col("fault").is_in(["disorder", "late", "duplicate"]))
            names = channels.select("device_id", "sensor_type").with_row_index("channel")
            found.append(sent.join(names, on="channel").select(*READING, "value"))
        return pl.concat(found).unique()


class Supervisor:
    """Starts again what was killed, or ended by itself, and knows when it answers."""

    def __init__(self, services):
        self.services = services
        self.outages = {name: [] for name in services}
        """When each was killed, or ended, and when it answered again."""
        self.started = {name: [] for name in WORKERS}
        self.killed = dict.fromkeys(services, 0)
        self.back = {name: [] for name in services}
        self.refused = dict.fromkeys(services, 0)
        """Starts that ended as what the worker needs was away."""
        self.problems = []
        self._due, self._answering = {}, {}

    def kill(self, name, down_seconds):
        """Kill it unless it is down, and start it after so long."""
        if name not in self._due and self.services[name].running:
            self.services[name].kill()
            self.killed[name] += 1
            self._mourn(name, down_seconds)

    def tick(self):
        """Start what is due, and see what answers."""
        for name, service in self.services.items():
            now = time.monotonic()
            if name in self._due:
                if now > self._due[name]:
                    del self._due[name]
                    service.start()
                    self._answering[name] = now
                    self.started.get(name, []).append(now)
            elif not service.running:
                self._ended(name)
                self._mourn(name, 1)
            elif name in self._answering and service.answers():
                self.back[name].append(time.monotonic() - self._answering.pop(name))
                self.outages[name][-1] = (self.outages[name][-1][0], time.monotonic())

    @property
    def well(self):
        """Whether everything runs and answers."""
        return not self._due and not self._answering and all(service.answers() for service in self.services.values())

    def down(self, name):
        """Whether it does not answer yet."""
        return name in self._due or name in self._answering

    def _mourn(self, name, seconds):
        # killed before it had answered: one outage
        if self._answering.pop(name, None) is None:
            self.outages[name].append((time.monotonic(), float("inf")))
        self._due[name] = time.monotonic() + seconds

    def _ended(self, name):
        """A worker may end at its start, when what it needs is away, and says so."""
        service = self.services[name]
        asked_for = any(
            self.down(needed) or any(back > time.monotonic() - 90 for _, back in self.outages[needed]) for needed in VICTIMS[:2]
        )
        if name in self._answering and service.process.poll() == 1 and asked_for:
            self.refused[name] += 1
        else:
            self.problems.append(service.ended())


def schedule(chance, seconds):
    """When (seconds) what dies, and for how long: everything once in every round; the brokers for long in the first."""
    at, rounds = 3.0, 0
    while True:
        for victim in chance.sample(VICTIMS, len(VICTIMS)):
            long = LONG_SECONDS.get(victim) if rounds == 0 or chance.random() < 0.15 else None
            yield at, victim, long or chance.uniform(*DOWN_SECONDS)
            at += chance.uniform(*GAP_SECONDS)
            if rounds and at > seconds:
                return
        rounds += 1
        if at > seconds:
            return


def run(folder, seconds, seed, say=lambda _: None):
    """Run the line for so long, kill by the seed's schedule, let it drain, and judge."""
    settings = on_free_ports(folder).model_copy(update={"instance": "chaos"})
    outcome = Outcome()
    with ExitStack() as held:
        stack = held.enter_context(LocalStack(settings, report=say))
        workers = {name: Worker(settings, name) for name in WORKERS}
        # their usual ports may be taken by others while they are dead
        for worker, port in zip(workers.values(), free_ports(len(workers)), strict=True):
            worker.port = port
        services = {service.name: service for service in stack.services} | workers
        for worker in workers.values():
            held.callback(worker.stop)
            worker.start()
        for worker in workers.values():
            worker.wait()
        groups = {name: held.enter_context(closing(Topics(settings, name))) for name in ("factory", "warehouse")}
        watched = {name: held.enter_context(closing(Topics(settings, name))) for name in ("factory", "warehouse")}
        load, supervisor, probe = Load(settings, seed), Supervisor(services), Probe(workers, watched)
        load.start()
        load.opened.wait()
        probe.start()
        _kill(supervisor, schedule(random.Random(seed), seconds), say)
        say("everything was killed; waiting until all has come through")
        _drain(supervisor, load, groups, outcome)
        probe.stop()
        for worker in workers.values():
            worker.stop()
            if worker.process.poll() != 0:
                outcome.problems.append(worker.ended())
        say("judging")
        outcome.problems += [*supervisor.problems, *lies(probe, supervisor.outages, supervisor.started)]
        outcome.killed, outcome.refused, outcome.back = supervisor.killed, supervisor.refused, supervisor.back
        for name in WORKERS:
            looks = [one.ready is True for one in probe.said if one.worker == name]
            outcome.ready[name] = sum(looks) / max(len(looks), 1)
        _judge(settings, load, groups["factory"], outcome)
    return outcome


def _kill(supervisor, kills, say):
    """Follow the schedule."""
    started = time.monotonic()
    for at, victim, down_seconds in kills:
        while time.monotonic() < started + at:
            supervisor.tick()
            time.sleep(0.1)
        say(f"{at:4.0f} s: kill -9 {victim}, for {down_seconds:.1f} s")
        supervisor.kill(victim, down_seconds)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not supervisor.well and time.monotonic() < deadline:
        supervisor.tick()
        time.sleep(0.1)


def _drain(supervisor, load, groups, outcome):
    """Return when all that was sent is acknowledged and read, and nothing comes any more."""
    load.over.set()
    deadline = time.monotonic() + PATIENCE_SECONDS
    before, same, behind = None, 0, []
    while same < 3 and time.monotonic() < deadline:
        time.sleep(1)
        supervisor.tick()
        if load.is_alive() or not supervisor.well:
            continue
        ends = {topic: groups["factory"].ends(topic) for topic, contract in CONTRACTS.items() if contract.sink}
        behind = [(n, t) for n, t in [("factory", READINGS.topic), *(("warehouse", t) for t in ends)] if groups[n].committed(t) != ends[t]]
        same = same + 1 if ends == before and not behind else 0
        before = ends
    if same < 3:
        state = f"load running {load.is_alive()}, well {supervisor.well}, behind {behind}"
        outcome.problems.append(f"after {PATIENCE_SECONDS} s it had not come through: {state}")
    if load.error:
        outcome.problems.append(f"the load ended with {load.error!r}")


def _judge(settings, load, topics, outcome):
    good = load.good()
    outcome.sent = sum(part.height for sink in load.sinks for part in sink.sent)
    try:
        assert_equal(actual(settings, topics), undisturbed(settings, topics))
    except AssertionError as unequal:
        outcome.problems.append(str(unequal))
    with closing(ClickHouse("", settings.data.resolve() / "clickhouse")) as clickhouse:
        columns = ", ".join([*READING[:2], "toUnixTimestamp64Milli(timestamp) AS timestamp", "value"])
        stored = clickhouse.query(f"SELECT {columns} FROM readings FINAL")
        stored = stored.with_columns(pl.col("device_id", "sensor_type").cast(pl.String), pl.col("timestamp").cast(pl.Int64))
        outcome.stored = stored.height
        lost, foreign = good.join(stored, on=[*READING, "value"], how="anti"), stored.join(good, on=[*READING, "value"], how="anti")
        for what, rows in {"lost": lost, "stored but never sent": foreign}.items():
            if rows.height:
                outcome.problems.append(f"{rows.height} readings were {what}, such as {rows.row(0)}")
        if stored.height != stored.unique(READING).height:
            outcome.problems.append(f"{stored.height - stored.unique(READING).height} readings are stored twice")
        for contract, key in {WINDOWS: WINDOW, ALERTS: CHANGE, LATE: SOURCE, DEAD_LETTERS: [*SOURCE, "timestamp", "value"]}.items():
            told = topics.frame(contract).unique(key).height
            rows = clickhouse.query(f"SELECT count() AS n FROM {contract.sink} FINAL")["n"][0]
            if rows != told:
                outcome.problems.append(f"{contract.sink} has {rows} rows, {contract.topic} tells of {told}")


def main(
    seconds: Annotated[float, typer.Option("--for", min=1, help="Seconds to go on killing; everything dies once at least.")] = 600,
    seed: Annotated[int | None, typer.Option(help="The same seed kills the same in the same order; default: a new one.")] = None,
) -> None:
    """Kill every part of the line -9 at random under load, start it again, and judge what it leaves. Exits 0 only if nothing is wrong."""
    console = Console()
    logging.disable(logging.CRITICAL)  # clients say of every broker that it is away
    seed = random.randrange(2**31) if seed is None else seed
    console.print(f"seed {seed}: repeat with --seed {seed} --for {seconds:.0f}")
    folder = Path(tempfile.mkdtemp(prefix="headrace-chaos-"))
    outcome = run(folder, seconds, seed, lambda text: console.print(text, highlight=False))
    table = Table("", "killed", "starts in vain", "answers again after s, median", "worst", "said ready")
    for name, times in outcome.killed.items():
        back = outcome.back[name]
        figures = (f"{statistics.median(back):.1f}", f"{max(back):.1f}") if back else ("", "")
        table.add_row(name, str(times), str(outcome.refused[name]), *figures, f"{outcome.ready[name]:.0%}" if name in outcome.ready else "")
    console.print(table)
    console.print(f"{outcome.sent:,} records sent; {outcome.stored:,} stored")
    for problem in outcome.problems:
        console.print(f"WRONG: {problem}", style="red", markup=False, highlight=False, soft_wrap=True)
    console.print(f"Data and logs are in {folder}." if outcome.problems else "Nothing is wrong.")
    raise typer.Exit(1 if outcome.problems else 0)


if __name__ == "__main__":
    typer.run(main)
