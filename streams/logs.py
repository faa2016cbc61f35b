"""What others write to our log, kept to what a person can read at three in the morning."""

import logging
from dataclasses import dataclass
from typing import Final

from aiohttp.http_exceptions import HttpProcessingError

from schemas.quoting import quoted

# aiokafka asks again some times a second, and says so each time. What goes on is told ever more seldom.
SECONDS: Final = 10.0
MOST_SECONDS: Final = 640.0
LOQUACIOUS: Final = (
    "aiokafka",  # its client
    "aiokafka.cluster",
    "aiokafka.conn",
    "aiokafka.consumer.fetcher",
    "aiokafka.consumer.group_coordinator",
    "aiohttp.server",  # a traceback for each request that is none
    "coap-server",  # a line for each datagram that is none
    "streams.transport",
    "streams.fetching",
)


@dataclass
class _Place:
    """A line of the code that logs."""

    passed: float
    seen: float
    rest: float = SECONDS


class Seldom(logging.Filter):
    """Lets through one record of each place in the code in `SECONDS`, then in twice that and so on, until it was silent as long."""

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[tuple[str, int], _Place] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is that one."""
        key, now = (record.pathname, record.lineno), record.created
        place = self._places.get(key)
        if place is None or now - place.seen >= place.rest:
            self._places[key] = _Place(now, now)
            return True
        place.seen = now
        if now - place.passed < place.rest:
            return False
        place.passed, place.rest = now, min(2 * place.rest, MOST_SECONDS)
        return True


class OneLine(logging.Filter):
    """Tells of a request that is none in one line: it is its sender's fault, and where aiohttp found out helps nobody."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always, without the traceback."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.msg, record.args, record.exc_info = "http_refused status=%d reason=%s", (error.code, quoted(error.message)), None
        return True


def quieten() -> None:
    """Thin out what is repeated while Kafka is away or somebody sends noise; no line for each request to the registry or over CoAP."""
    logging.getLogger("aiohttp.server").addFilter(OneLine())
    for name in LOQUACIOUS:
        logging.getLogger(name).addFilter(Seldom())
    for name in ("httpx", "coap-server"):
        logging.getLogger(name).setLevel(logging.WARNING)
