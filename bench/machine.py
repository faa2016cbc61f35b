"""On what a benchmark ran: a figure without this means nothing."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil

from bench.jobs import BENCH
from deploy.embedded.artifacts import pins

PACKAGES: Final = (
    "faust-streaming",
    "aiokafka",
    "confluent-kafka",
    "polars",
    "pyarrow",
    "pyruhvro",
    "fastavro",
    "clickhouse-connect",
    "chdb",
)


def machine() -> dict[str, str]:
    """Processor, cores, memory, kernel, and how busy it was before the benchmark began."""
    return {
        "processor": _processor(),
        "cores": str(psutil.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "busy before": f"{psutil.cpu_percent(interval=2):.0f} %",
    }


def versions() -> dict[str, str]:
    """Python, broker and libraries; Quix Streams from its own environment."""
    broker = next(pin.coordinates.split(":")[2] for pin in pins("kafka") if ":kafka_2.13:" in pin.coordinates)
    quix = [str(BENCH / ".venv-quix" / "bin" / "python"), "-c", "from importlib.metadata import version; print(version('quixstreams'))"]
    return {
        "Python": platform.python_version(),
        "Apache Kafka": broker,
        **{package: version(package) for package in PACKAGES},
        "quixstreams": subprocess.run(quix, capture_output=True, text=True, check=True).stdout.strip(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        if cpuinfo.exists()
        else []
    )
    return names[0] if names else platform.processor()
