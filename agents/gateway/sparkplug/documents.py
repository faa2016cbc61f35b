"""What a payload says, as documents: one for each time at which something was measured, or several where a metric comes repeatedly."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from agents.gateway.sparkplug.births import Birth, is_control
from agents.gateway.sparkplug.values import INTEGERS, Untold, properties, value
from agents.gateway.sparkplug.wire import text
from schemas.bounds import MEMBERS
from schemas.quoting import quoted

MOST: Final = 5_000
"""Documents of one payload: each is a record, some 300 bytes longer than what it says."""
MOST_MEMBERS: Final = MEMBERS // 2
"""Of a document: more of one time are told by several."""
_DEFECTS: Final = 5
"""That are told of one payload."""
QUALITY: Final = "Quality"
GOOD: Final = 192
"""Section 6.4.11.1; without the property a value is good."""
RESERVED: Final = frozenset({"timestamp", "sequence", "seq", "message_id", "is_historical", "properties", "metadata", "uuid", "body"})
"""Members that documents have beside metrics: a metric of such a name is one with `metric/` before it."""
_TEXTS: Final = ("content_type", "file_name", "file_type", "md5", "description")

_Documents = dict[tuple[int | None, bool, int], dict[str, Any]]
"""By time, whether it is of the past, and number among those of that time."""


class Said(NamedTuple):
    """What a payload says."""

    documents: Sequence[dict[str, Any]]
    """Plain data, the earliest first."""
    defects: Sequence[str]
    """What could not be read, and why."""
    untold: bool
    """Whether a birth would tell what could not be read."""


def said(payload: Any, birth: Birth, *, source: int, is_birth: bool = False) -> Said:  # noqa: ANN401
    """Read a payload by the birth that came before it, or by itself; total for any payload. `source` tells payloads apart."""
    documents: _Documents = {}
    met: Counter[tuple[str, int | None, bool]] = Counter()
    defects: list[str] = []
    untold = False
    sent = payload.timestamp if payload.HasField("timestamp") else None
    for number, metric in enumerate(payload.metrics, 1):
        at = metric.timestamp if metric.HasField("timestamp") else sent
        name = ""
        try:
            name = _name(metric, birth)
            told, extras = _value(metric, birth), _extras(metric)
        except ValueError as wrong:
            untold |= isinstance(wrong, Untold)
            called = f"alias {metric.alias}" if metric.HasField("alias") else f"metric {number}"
            defects.append(f"{quoted(name) if name else called}: {wrong}")
            continue
        came_before = not metric.is_historical and birth.take(name, hash((at, repr(told))), source)
        if is_control(name) or (is_birth and came_before and metric.HasField("timestamp")):
            continue
        key = name, at, metric.is_historical
        met[key] += 1
        document = _with_room(documents, at, metric.is_historical, met[key])
        member = f"metric/{name}" if name in RESERVED else name
        document[member] = told
        for extra, found in extras.items():
            document.setdefault(extra, {})[member] = found
    if payload.HasField("body"):
        documents.setdefault((sent, False, 1), {}).update(uuid=payload.uuid.decode(errors="replace"), body=payload.body.hex())
    if len(documents) > MOST:
        return Said([], [f"values of {len(documents)} times, at most {MOST} are read of one payload"], untold=False)
    ordered = sorted(documents.items(), key=lambda item: (item[0][0] is None, item[0][0] or 0, not item[0][1], item[0][2]))
    return Said([_complete(payload, *key, document) for key, document in ordered], _bounded(defects), untold)


def _with_room(documents: _Documents, at: int | None, historical: bool, number: int) -> dict[str, Any]:
    while len(document := documents.setdefault((at, historical, number), {})) >= MOST_MEMBERS:
        number += 1
    return document


def _complete(payload: Any, at: int | None, historical: bool, _: int, document: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    if at is not None:
        document["timestamp"] = at
    if payload.HasField("seq"):
        document["sequence"] = payload.seq
    if historical:
        document["is_historical"] = True
    return document


def _name(metric: Any, birth: Birth) -> str:  # noqa: ANN401
    """Raises ValueError; Untold where a birth has to tell it."""
    if metric.name:
        return text(metric.name, "a metric's name")
    defined = birth.find(metric)
    if defined is not None:
        return defined.name
    if not metric.HasField("alias"):
        raise ValueError("a metric without name and alias")
    raise Untold("its birth was not heard" if not birth.valid else "no metric of its birth has it, or two have")


def _value(metric: Any, birth: Birth) -> Any:  # noqa: ANN401
    """Raises ValueError. One whose quality is not good is told with it: it is no measurement."""
    told = value(metric, birth.find(metric))
    said_so = (each for key, each in _pairs(metric) if key == QUALITY.encode() and each.WhichOneof("value") in INTEGERS)
    quality = next((each.int_value or each.long_value for each in said_so), GOOD)
    return told if quality == GOOD else {"value": told, "quality": quality}


def _pairs(metric: Any) -> Iterable[tuple[bytes, Any]]:  # noqa: ANN401
    return zip(metric.properties.keys, metric.properties.values, strict=False) if metric.HasField("properties") else ()


def _extras(metric: Any) -> dict[str, dict[str, Any]]:  # noqa: ANN401
    found = {}
    if metric.HasField("properties"):
        found["properties"] = properties(metric.properties)
    if metric.HasField("metadata"):
        fields = {field.name: content for field, content in metric.metadata.ListFields()}
        found["metadata"] = {name: text(content, name) if name in _TEXTS else content for name, content in fields.items()}
    return found


def _bounded(defects: Sequence[str]) -> Sequence[str]:
    more = len(defects) - _DEFECTS
    return [*defects[:_DEFECTS], f"and {more} more"] if more > 0 else defects
