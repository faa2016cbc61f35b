"""How many files and connections this process may have open at once."""

import resource
from typing import Final

ENOUGH: Final = 4_096
"""A gateway with a thousand devices, its spool and its connections to Kafka."""
OWN: Final = 256
"""Of the process itself: Kafka's and the MQTT broker's connections, spool, schema cache, ClickHouse. Listeners leave them free."""


def raise_limit() -> int:
    """Take as many as the system allows, as most give a process 1,024 unless it asks; how many that are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return most()


def most() -> int:
    """How many this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 2**31
