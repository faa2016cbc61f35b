"""Which sessions a gateway has at its MQTT broker, in a file: what an earlier start asked for and this one does not is to be given up.

A broker keeps subscriptions, and what comes by them, for whoever had them; it tells nobody which those are.
"""

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import orjson

from schemas.folders import private

logger = logging.getLogger(__name__)


class Filters:
    """Topic filters by the client id of their session, of all starts so far."""

    def __init__(self, file: Path) -> None:
        """Read and write nothing yet."""
        self._file: Final = file

    def earlier(self, wanted: Mapping[str, str]) -> Mapping[str, Sequence[str]]:
        """Note what is wanted from now on, a filter for each session; what earlier starts had beside that, by client id."""
        known = self._read()
        found = {name: [each for each in had if each != wanted.get(name)] for name, had in known.items()}
        self._write(known | {name: [*found.get(name, ()), wish] for name, wish in wanted.items()})
        return {name: had for name, had in found.items() if had}

    def forget(self, client_ids: Collection[str]) -> None:
        """These sessions are no more."""
        self._write({name: had for name, had in self._read().items() if name not in client_ids})

    def _read(self) -> dict[str, list[str]]:
        return cast(dict[str, list[str]], orjson.loads(self._file.read_bytes())) if self._file.exists() else {}

    def _write(self, known: Mapping[str, Sequence[str]]) -> None:
        whole = self._file.with_suffix(".new")
        try:
            private(self._file.parent)
            with whole.open("wb") as file:
                file.write(orjson.dumps(known))
                file.flush()
                os.fsync(file.fileno())
            whole.replace(self._file)
        except OSError as problem:  # a full disk is no reason not to take messages
            logger.warning("filters_not_noted file=%s reason=%s", self._file, problem)
