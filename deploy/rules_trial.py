"""A file of rules, checked in a process of its own whose time and memory are bounded.

Rules are SQL that somebody wrote: one that takes Polars minutes, or all memory, must end with its trial, and not come to the workers.
"""

import json
import resource
import subprocess
import sys
from contextlib import suppress
from typing import Final

import psutil
import typer

from agents import rowfile, rulebook
from agents.domains import DOMAINS
from agents.reading import Domain
from agents.rowfile import Refused

CPU_SECONDS: Final = 10
MEMORY_MB: Final = 1_024
"""Of all rules of a file together; usual ones take some milliseconds each, and some megabytes."""


def tried(text: str, cpu_seconds: int = CPU_SECONDS, memory_mb: int = MEMORY_MB) -> None:
    """Check the rules of a file. Raises Refused at the first that does not fit, or is not checked within the bounds."""
    words = [sys.executable, "-P", "-m", "deploy.rules_trial", str(cpu_seconds), str(memory_mb)]
    done = subprocess.run(words, input=text.encode("utf-8", "surrogatepass"), capture_output=True, check=False)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode:
        rule = said[-1]["rule"] if said else "the first"
        raise Refused(1, 1, f"rule {rule} cannot be checked within {cpu_seconds} s and {memory_mb} MiB: say it in simpler terms")
    if refused := said[-1].get("refused"):
        raise Refused(*refused)


def main(cpu_seconds: int, memory_mb: int) -> None:
    """Check what standard input says, within bounds; a line of JSON for each rule before it is checked, and one at the end."""

    def row(rule: object, domain: Domain) -> rulebook.Row:
        typer.echo(json.dumps({"rule": str(rule.get("name")) if isinstance(rule, dict) else ""}))
        return rulebook.checked(rule, domain)

    text = sys.stdin.buffer.read().decode("utf-8", "surrogatepass")
    _bound(cpu_seconds, memory_mb)
    try:
        rowfile.parse(text, "rules", DOMAINS, row)
    except Refused as refused:
        typer.echo(json.dumps({"refused": [refused.line, refused.column, refused.problem]}))
    else:
        typer.echo(json.dumps({}))


def _bound(cpu_seconds: int, memory_mb: int) -> None:
    """End this process where it takes so much more than until now; memory only where the system holds processes to it."""
    process = psutil.Process()
    used = sum(process.cpu_times()[:2])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 1 + cpu_seconds, resource.RLIM_INFINITY))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (process.memory_info().vms + (memory_mb << 20), resource.RLIM_INFINITY))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
