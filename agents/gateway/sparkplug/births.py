"""What a birth tells of the metrics of a node or device: names, aliases, data types; and the least of it that has to be kept."""

from typing import Any, Final

from agents.gateway.sparkplug.values import INTEGERS, Definition, definition
from agents.gateway.sparkplug.wire import PAYLOAD, text
from schemas.bounds import MEMBERS

METRIC_BYTES: Final = 500
"""What one takes in memory beside its name, about."""
BD_SEQ: Final = "bdSeq"
_CONTROL: Final = "Node Control/"


class Birth:
    """The metrics of one node or device since its latest birth."""

    __slots__ = ("_latest", "by_alias", "by_name", "bytes", "defects", "valid")

    def __init__(self) -> None:
        self.by_name: dict[str, Definition] = {}
        self.by_alias: dict[int, Definition | None] = {}
        """None: two metrics have it, so what is said by it cannot be told apart."""
        self._latest: dict[str, tuple[int, int]] = {}
        """Of each, a hash of its latest value and time, and the payload that told it: a birth that tells the same is no new reading."""
        self.valid = False
        """Whether its node has not died or been born again since."""
        self.bytes = 0
        """What it takes in memory, about."""
        self.defects: list[str] = []
        """What is wrong with the birth."""

    def define(self, payload: Any) -> None:  # noqa: ANN401
        """Take the metrics of a birth in, in the place of those before."""
        self.by_name, self.by_alias, self.defects, self.valid = {}, {}, [], True
        for metric in payload.metrics[:MEMBERS]:
            try:
                defined = definition(metric)
            except ValueError as wrong:
                self.defects.append(str(wrong))
                continue
            if metric.name:
                self.by_name[defined.name] = defined
            if metric.HasField("alias"):
                self.by_alias[metric.alias] = None if metric.alias in self.by_alias else defined
        if len(payload.metrics) > MEMBERS:
            self.defects.append(f"{len(payload.metrics)} metrics, of which {MEMBERS} are remembered")
        self.defects += [f"alias {alias} is that of two metrics" for alias, defined in self.by_alias.items() if defined is None]
        self._latest = {name: latest for name, latest in self._latest.items() if name in self.by_name}
        self.bytes = sum(map(_bytes, self.by_name.values())) + METRIC_BYTES * len(self.by_alias)

    def find(self, metric: Any) -> Definition | None:  # noqa: ANN401
        """The definition of a metric that is said by name or by alias; None where the birth has none. Raises ValueError."""
        if metric.name:
            return self.by_name.get(text(metric.name, "a metric's name")) if self.valid else None
        return self.by_alias.get(metric.alias) if self.valid and metric.HasField("alias") else None

    def take(self, name: str, latest: int, source: int) -> bool:
        """Remember a metric's latest value and time, by their hash; whether another payload told the same last."""
        if name not in self.by_name:
            return False
        before = self._latest.get(name)
        if before is not None and before[0] == latest and before[1] != source:
            return True
        self._latest[name] = latest, source
        return False


def _bytes(defined: Definition) -> int:
    return METRIC_BYTES + len(defined.name) + sum(map(_bytes, defined.members.values()))


def stripped(payload: Any) -> bytes:  # noqa: ANN401
    """What of a birth has to be kept to read what comes after it: the payload less what is only said of its values."""
    kept = PAYLOAD()
    kept.CopyFrom(payload)
    for field in ("uuid", "body"):
        kept.ClearField(field)
    del kept.metrics[MEMBERS:]
    for metric in kept.metrics:
        for field in ("metadata", "properties"):
            metric.ClearField(field)
    return bytes(kept.SerializeToString())


def birth_number(payload: Any) -> int | None:  # noqa: ANN401
    """The bdSeq of a birth or death, which tells which birth a death is the end of; None where it has none."""
    for metric in payload.metrics:
        if metric.name == BD_SEQ.encode() and metric.WhichOneof("value") in INTEGERS:
            return int(metric.int_value or metric.long_value)
    return None


def is_control(name: str) -> bool:
    """Whether a metric is about the session with the node, not measured."""
    return name == BD_SEQ or name.startswith(_CONTROL)
