"""What a metric's value is, by its data type: plain data, as JSON has it. What cannot be read is told, never guessed."""

import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Final, NamedTuple

from agents.gateway.sparkplug.wire import DataType, text
from schemas.json_text import number_or_text
from schemas.quoting import quoted

NESTING: Final = 8
"""Templates in templates, and property sets in these: nobody reads deeper ones, and JSON is read to a depth of 64."""
_INTEGERS: Final[Mapping[int, tuple[int, bool]]] = {
    **{number: (8 << number - DataType.INT8, True) for number in range(DataType.INT8, DataType.INT64 + 1)},
    **{number: (8 << number - DataType.UINT8, False) for number in range(DataType.UINT8, DataType.UINT64 + 1)},
    DataType.DATE_TIME: (64, False),
}
"""Bits, and whether signed: signed ones travel as the unsigned ones of the same bits."""
_FORMATS: Final = dict(zip(range(DataType.INT8_ARRAY, DataType.DOUBLE_ARRAY + 1), "bhiqBHIQfd", strict=True)) | {
    DataType.DATE_TIME_ARRAY: "Q"
}
INTEGERS: Final = frozenset({"int_value", "long_value"})
"""Fields of whole numbers: some writers put a small one into the large field, or the other way round."""
_FLOAT, _STRING, _BYTES = {"float_value", "double_value"}, {"string_value"}, {"bytes_value"}
_FIELDS: Final[Mapping[int, Set[str]]] = {
    **dict.fromkeys(_INTEGERS, INTEGERS),
    **dict.fromkeys((DataType.FLOAT, DataType.DOUBLE), _FLOAT),
    DataType.BOOLEAN: {"boolean_value"},
    **dict.fromkeys((DataType.STRING, DataType.TEXT, DataType.UUID), _STRING),
    DataType.DATA_SET: {"dataset_value"},
    **dict.fromkeys((DataType.BYTES, DataType.FILE, *range(DataType.INT8_ARRAY, DataType.DATE_TIME_ARRAY + 1)), _BYTES),
    DataType.TEMPLATE: {"template_value"},
    DataType.PROPERTY_SET: {"propertyset_value"},
    DataType.PROPERTY_SET_LIST: {"propertysets_value"},
}
"""Where the values of a data type are."""
_SAME_IN_ALL: Final = 128
"""A whole number below it is the same whatever the data type; Int8 has no greater one."""


class Untold(ValueError):
    """What cannot be read without the data type that a birth tells."""


class Definition(NamedTuple):
    """What a birth tells of a metric."""

    name: str
    datatype: int
    members: Mapping[str, "Definition"] = {}
    """Of a template."""


def definition(metric: Any, depth: int = 0) -> Definition:  # noqa: ANN401  # a message of a class made at run time
    """What a metric of a birth defines. Raises ValueError."""
    name = text(metric.name, "a metric's name")
    if depth > NESTING:
        raise ValueError(f"{name}: templates in templates are read to a depth of {NESTING}")
    members = [definition(member, depth + 1) for member in metric.template_value.metrics] if metric.HasField("template_value") else []
    return Definition(name, metric.datatype, {member.name: member for member in members})


def value(metric: Any, defined: Definition | None = None, depth: int = 0) -> Any:  # noqa: ANN401
    """The value of a metric that a birth defined so. Raises ValueError with the reason; Untold where only a birth could tell."""
    if metric.is_null:
        return None
    datatype = metric.datatype or (defined.datatype if defined else 0)
    if metric.WhichOneof("value") == "template_value" and datatype in (DataType.UNKNOWN, DataType.TEMPLATE):
        return _template(metric.template_value, defined.members if defined else {}, depth + 1)
    return plain(metric, datatype, depth)


def plain(holder: Any, datatype: int, depth: int = 0) -> Any:  # noqa: ANN401
    """The value that a metric, property, parameter or element holds. Raises ValueError as `value` does."""
    field = holder.WhichOneof("value")
    if field is None:
        return None
    if datatype == DataType.UNKNOWN:
        return _untyped(holder, field, depth)
    if field not in _FIELDS.get(datatype, ()):
        known = datatype in _FIELDS
        raise ValueError(f"{DataType(datatype).name} in its {field}" if known else f"data type {datatype} is none of the specification's")
    return _read(getattr(holder, field), field, datatype, depth)


def properties(found: Any, depth: int = 0) -> dict[str, Any]:  # noqa: ANN401
    """A property set by key. Raises ValueError."""
    if len(found.keys) != len(found.values):
        raise ValueError(f"a property set of {len(found.keys)} keys and {len(found.values)} values")
    if depth > NESTING:
        raise ValueError(f"property sets are read to a depth of {NESTING}")
    keys = _each_once([text(key, "a property's key") for key in found.keys], "properties of a set")
    return dict(zip(keys, (None if each.is_null else plain(each, each.type, depth) for each in found.values), strict=True))


def _untyped(holder: Any, field: str, depth: int) -> Any:  # noqa: ANN401
    """A value that says itself what it is. Raises Untold."""
    found = getattr(holder, field)
    if (field in INTEGERS and found >= _SAME_IN_ALL) or field in _BYTES or field == "extension_value":
        raise Untold(f"{field} without its data type")
    return _read(found, field, DataType.UNKNOWN, depth)


def _read(found: Any, field: str, datatype: int, depth: int) -> Any:  # noqa: ANN401
    if field in _FLOAT:
        return number_or_text(found)
    if field in _STRING:
        return text(found, "the value")
    if field == "propertyset_value":
        return properties(found, depth + 1)
    if field == "propertysets_value":
        return [properties(each, depth + 1) for each in found.propertyset]
    if field == "dataset_value":
        return _dataset(found)
    if field in INTEGERS and datatype:
        if datatype == DataType.INT64 and field == "int_value" and found >= 1 << 31:
            raise ValueError(f"INT64 of {found} in its int_value, whose sign cannot be told")
        return _integer(found, *_INTEGERS[datatype])
    if field in _BYTES:
        return _ARRAYS.get(datatype, bytes.hex)(found) if datatype not in _FORMATS else _packed(found, _FORMATS[datatype])
    return found


def _integer(found: int, bits: int, signed: bool) -> int:
    """Two's complement of so many bits; some writers extend its sign to the 32 or 64 bits of the field."""
    low, high = found & (1 << bits) - 1, found >> bits
    negative = signed and low >> bits - 1
    extended = {(1 << width - bits) - 1 for width in (32, 64) if width > bits} if negative else set()
    if high and high not in extended:
        raise ValueError(f"{found} is not within {bits} bits")
    return low - (1 << bits) if negative else low


def _dataset(found: Any) -> dict[str, Any]:  # noqa: ANN401
    columns = [text(name, "a column's name") for name in found.columns]
    if len(columns) != len(found.types) or any(len(row.elements) != len(columns) for row in found.rows):
        raise ValueError(f"a data set of {len(columns)} columns, {len(found.types)} types and rows of other lengths")
    rows = [[plain(each, kind) for each, kind in zip(row.elements, found.types, strict=True)] for row in found.rows]
    return {"columns": columns, "rows": rows}


def _template(found: Any, members: Mapping[str, Definition], depth: int) -> dict[str, Any]:  # noqa: ANN401
    if depth > NESTING:
        raise ValueError(f"templates in templates are read to a depth of {NESTING}")
    names = _each_once([text(metric.name, "a member's name") for metric in found.metrics], "members of a template")
    told: dict[str, Any] = {"template": text(found.template_ref, "a template's name")} if found.HasField("template_ref") else {}
    if found.HasField("version"):
        told["version"] = text(found.version, "a template's version")
    if found.is_definition:
        told["is_definition"] = True
    told["metrics"] = {name: value(each, members.get(name), depth) for name, each in zip(names, found.metrics, strict=True)}
    if found.parameters:
        parameters = _each_once([text(each.name, "a parameter's name") for each in found.parameters], "parameters of a template")
        told["parameters"] = {name: plain(each, each.type, depth) for name, each in zip(parameters, found.parameters, strict=True)}
    return told


def _each_once(names: list[str], what: str) -> list[str]:
    """The same names. Raises ValueError where a plain object would lose what the first of two of one name says."""
    twice = next((name for name, times in Counter(names).items() if times > 1), None)
    if twice is not None:
        raise ValueError(f"two {what} are called {quoted(twice)}")
    return names


def _packed(found: bytes, kind: str) -> list[Any]:
    """Little-endian, as the specification says; its examples of floats are not."""
    size = struct.calcsize(f"<{kind}")
    if len(found) % size:
        raise ValueError(f"{len(found)} bytes are no array of values of {size}")
    numbers: Sequence[Any] = struct.unpack(f"<{len(found) // size}{kind}", found)
    return [number_or_text(each) for each in numbers] if kind in "fd" else [*numbers]


def _booleans(found: bytes) -> list[bool]:
    """A count of four bytes, then bits, the highest of a byte first."""
    count = int.from_bytes(found[:4], "little")
    if len(found) != 4 + (count + 7) // 8:
        raise ValueError(f"{len(found)} bytes are no array of {count} booleans")
    return [bool(found[4 + at // 8] << at % 8 & 0x80) for at in range(count)]


def _strings(found: bytes) -> list[str]:
    """Each ends with a NUL."""
    if found and found[-1]:
        raise ValueError("the last text of an array does not end with NUL")
    return [text(each, "a text of an array") for each in found.split(b"\0")[:-1]]


_ARRAYS: Final[Mapping[int, Callable[[bytes], Any]]] = {DataType.BOOLEAN_ARRAY: _booleans, DataType.STRING_ARRAY: _strings}
