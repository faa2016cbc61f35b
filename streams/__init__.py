"""Where it runs: transport, assembly, and one module per worker (`faust -A streams.<group> worker`)."""

import streams.settings  # noqa: F401  # before anything loads Polars: it sets how many threads that takes
