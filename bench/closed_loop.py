"""`python -m bench.closed_loop`: time from the moment a critical reading was due to the arrival of the command it calls for at the machine.

Factory worker, gateway, broker, registry, MQTT broker, generator and machines share this computer. Readings leave by an open-loop
schedule, into Kafka as the gateway writes them, and at a lower rate over MQTT as machines do; the machines acknowledge every command.
"""

import sys
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import polars as pl
from confluent_kafka.admin import AdminClient
from rich.console import Console

from bench import report
from bench.jobs import BENCH, GATEWAY, OURS, Job, delete_group, fresh
from bench.latency import PATIENCE_SECONDS, Latency, percentiles
from bench.load import PERIOD_MS, load
from bench.machines import Machines
from bench.measure import Lag, check_alive, running, wait_until_ready
from bench.pace import Load
from bench.run import LEAD_SECONDS, WORK
from bench.stack import local_stack
from schemas.catalog import READINGS
from schemas.registry import Registry
from streams.settings import Settings

SENSOR: Final = "vibration"
"""The sensor type whose critical readings stop a machine: a sixth of all sensors."""
PATHS: Final = {"Kafka": ("bench.pace", 10_000, 200), "MQTT": ("bench.pace_mqtt", 1_000, 100)}
"""Where readings enter: generator, readings a second, and critical ones of all sensors among them."""
SECONDS: Final = 70
"""Of which the last sixty are measured: the end of a minute, when windows close, is among them once."""
WARM_UP_RECORDS: Final = 600_000
"""Read at full speed before: a broker that has just started runs interpreted."""
console = Console(stderr=True)


def measure(settings: Settings) -> list[dict[str, Any]]:
    """A row for each way in."""
    schema_id = Registry(settings.registry, WORK / "schemas").register(READINGS)
    fresh(settings, OURS, keep_readings=False)
    delete_group(AdminClient({"bootstrap.servers": settings.kafka, "log_level": 0}), GATEWAY.group)
    load(settings.kafka, schema_id, devices=100, records=WARM_UP_RECORDS)
    logs = {job: WORK / "logs" / f"{job.name}.log" for job in (OURS, GATEWAY)}
    commands = {job: job.command(settings, WORK / job.name) for job in logs}
    with (
        running(commands[OURS], env=_environment(OURS, settings), cwd=BENCH.parent, log=logs[OURS]) as factory,
        running(commands[GATEWAY], env=_environment(GATEWAY, settings), cwd=BENCH.parent, log=logs[GATEWAY]) as gateway,
        closing(Machines(settings.mqtt)) as machines,
        closing(Lag(settings.kafka, OURS.group, READINGS.topic)) as lag,
    ):
        lag.wait(factory, logs[OURS])
        wait_until_ready(f"http://127.0.0.1:{commands[GATEWAY][-1]}/ready")
        rows = []
        for way, (generator, rate, alerts) in PATHS.items():
            paced = Load(settings.kafka, schema_id, rate, SECONDS, time.time() + LEAD_SECONDS, alerts)
            found = _pace(settings, generator, paced, machines)
            check_alive(factory, logs[OURS])
            check_alive(gateway, logs[GATEWAY])
            rows.append({"readings_enter_at": way, **_named(found)})
            console.print(f"{way:6} {rate:7,} readings/s   p50 {found.p50_ms:.1f}  p99 {found.p99_ms:.1f}  max {found.max_ms:.1f} ms")
    return rows


def _pace(settings: Settings, generator: str, paced: Load, machines: Machines) -> Latency:
    load_file, sent_file, log = WORK / "load.json", WORK / "sent.parquet", WORK / "pace.log"
    sent_file.unlink(missing_ok=True)
    paced.write(load_file)
    command = [sys.executable, "-m", generator, str(load_file), str(sent_file)]
    with running(command, env=settings.environment(), cwd=BENCH.parent, log=log) as process:
        if process.wait():
            check_alive(process, log)
    # in the first second a sensor may still be in an episode of the load before, and its machine told already
    due = pl.read_parquet(sent_file).filter(pl.col("sensor_type") == SENSOR, pl.col("due") >= paced.start + PERIOD_MS / 1000)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := due.join(machines.frame(), on=["device_id", "timestamp"], how="left"))["arrived"].has_nulls():
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)
    return percentiles(paced, found)


def _named(found: Latency) -> dict[str, Any]:
    """Its alerts are commands here."""
    row = asdict(found)
    return {"commands" if name == "alerts" else name: value for name, value in row.items()}


def _environment(job: Job, settings: Settings) -> dict[str, str]:
    folder: Path = WORK / job.name
    folder.mkdir(parents=True, exist_ok=True)
    return job.environment(settings, folder)


def main() -> None:
    """Run, keep the figures, and write them into `bench/RESULTS.md`."""
    with local_stack(WORK / "stack", "kafka", "registry", "mqtt") as stack:
        report.keep("closed_loop", {"rows": measure(stack.settings)})


if __name__ == "__main__":
    main()
