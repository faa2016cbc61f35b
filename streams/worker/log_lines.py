"""A worker's log: one line an event, for people or as JSON; to a file that does not grow for ever."""

import logging
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import aiokafka
import faust
import mode
import orjson
from aiohttp.web import RequestPayloadError

from streams.worker.addresses import without_passwords

# Of Faust and what it is made of, which tell of each of their hundred services: what is no problem is told at this level only.
_LIBRARIES: Final = tuple(f"{Path(library.__file__).parent}/" for library in (aiokafka, faust, mode) if library.__file__)
# But these, which say how far a start is.
_TOLD: Final = ("Worker ready", "Successfully synced group")
# A timer that ends late: the machine is slow. The watchdog tells of what does not get on.
_SLOW: Final = ("Timer %s is overlapping",)
# Faust's own mark of a service and how deep it is: [^--Consumer]: …
_MARK: Final = re.compile(r"^\[\^-*([^\]]*)\]: ")


class Quiet(logging.Filter):
    """Leaves out what libraries say that is no problem, unless all is asked for."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is to be read."""
        if record.exc_info and isinstance(record.exc_info[1], RequestPayloadError):
            return False  # a client's broken body, met after its answer: the client's problem, and it has been told
        if not record.pathname.startswith(_LIBRARIES):
            return True
        said = str(record.msg)
        return any(text in said for text in _TOLD) or (record.levelno > logging.INFO and not said.startswith(_SLOW))


class Plain(logging.Formatter):
    """Time (UTC), level and message in a line; a traceback follows in lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        traceback = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return without_passwords(f"{at(record)} {record.levelname} {message(record)}{traceback}")


class Json(logging.Formatter):
    """A JSON object in a line: `time`, `level`, `logger`, `message`, and `exception` with its traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The object."""
        said = {"time": at(record), "level": record.levelname, "logger": record.name, "message": message(record)}
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return orjson.dumps({name: without_passwords(text) for name, text in said.items()}).decode()


def at(record: logging.LogRecord) -> str:
    """When it was, in UTC, to the millisecond."""
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message(record: logging.LogRecord) -> str:
    """What it says, in one line, without Faust's mark."""
    return _MARK.sub(r"\1: ", " ".join(record.getMessage().split()))


def config(form: Literal["plain", "json"], level: int, file: str, megabytes: int) -> dict[str, Any]:
    """As `logging.config.dictConfig` takes it; `file` empty: standard output. At DEBUG libraries tell more."""
    handler: dict[str, Any] = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
    if file:
        handler = {"class": "logging.handlers.RotatingFileHandler", "filename": file, "maxBytes": megabytes << 20, "backupCount": 1}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"ours": {"()": Json if form == "json" else Plain}},
        "filters": {"quiet": {"()": Quiet}},
        "handlers": {"ours": {**handler, "formatter": "ours", "filters": [] if level <= logging.DEBUG else ["quiet"]}},
        "loggers": {name: {"level": max(level, logging.INFO)} for name in ("aiokafka", "faust", "mode", "asyncio")},
        "root": {"level": level, "handlers": ["ours"]},
    }
