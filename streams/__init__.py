"""Where it runs: transport, assembly, and one module per worker (`faust -A streams.<group> worker`)."""

import sys
from pathlib import Path

import streams.settings  # noqa: F401  # before anything loads Polars: it sets how many threads that takes
from streams.worker.names import refusal

# Faust finds out by an AttributeError of forty lines, and offers no other place to say it.
if Path(sys.argv[0]).name == "faust" and (_said := refusal(sys.argv[1:])):
    raise SystemExit(_said)
