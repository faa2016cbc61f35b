"""A contract's Protobuf message, made of its Avro schema: one source of truth, and a .proto file for those who write devices.

Each field of the Avro schema says its Protobuf field number (`field_number`), which is what Protobuf knows a field by: it is never changed
and never given to another field. Every field but maps tells whether it is there (`optional`), as a missing measurement is no zero.
"""

import json
from functools import lru_cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from schemas.codec import Codec
from schemas.nodes import Node, kind, nullable

SCALARS: Final = {
    "boolean": "bool",
    "int": "int32",
    "long": "int64",
    "float": "float",
    "double": "double",
    "string": "string",
    "bytes": "bytes",
}
"""Protobuf's name of an Avro type."""
_Field: Final = descriptor_pb2.FieldDescriptorProto


@lru_cache(maxsize=64)
def message_type(codec: Codec) -> type[Message]:
    """The class of the record's message. Raises ValueError for a record that has none: a field without a number, or of another type."""
    schema = _schema(codec)
    name, package = schema["name"], schema.get("namespace", "headrace")
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.{name}.proto", package=package, syntax="proto3")
    message = file.message_type.add(name=name)
    for field in schema["fields"]:
        added = message.field.add(name=field["name"], number=_number(field), label=_Field.LABEL_OPTIONAL)
        node = codec.fields[field["name"]]["type"]
        if kind(node) == "map":
            entry = message.nested_type.add(name="".join(part.title() for part in field["name"].split("_")) + "Entry")
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_STRING)
            entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL, type=_scalar(node["values"])[1])
            added.label, added.type, added.type_name = _Field.LABEL_REPEATED, _Field.TYPE_MESSAGE, f".{package}.{name}.{entry.name}"
        else:
            added.type, added.proto3_optional = _scalar(node)[1], True
            added.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{field['name']}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))


def proto(codec: Codec) -> str:
    """The text of the .proto file. Raises ValueError as `message_type`."""
    schema = _schema(codec)
    lines = ['syntax = "proto3";', "", f"package {schema.get('namespace', 'headrace')};", ""]
    lines += [*_comment(schema, ""), f"message {schema['name']} {{"]
    for field in schema["fields"]:
        node = codec.fields[field["name"]]["type"]
        wanted = f"map<string, {_scalar(node['values'])[0]}>" if kind(node) == "map" else f"optional {_scalar(node)[0]}"
        unit = codec.logical_types[field["name"]]
        lines += _comment({"doc": " ".join(filter(None, [field.get("doc"), unit and f"({unit})"]))}, "  ")
        lines.append(f"  {wanted} {field['name']} = {_number(field)};")
    return "\n".join([*lines, "}", ""])


def _schema(codec: Codec) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(codec.text)
    return schema


def _number(field: Node) -> int:
    if "field_number" not in field:
        raise ValueError(f"{field['name']} has no field_number, so its record is not written as Protobuf")
    return int(field["field_number"])


def _scalar(node: Node) -> tuple[str, Any]:
    name = SCALARS.get(kind(nullable(node)[1]))
    if name is None:
        raise ValueError(f"{kind(node)} is written as Avro only")
    return name, getattr(_Field, f"TYPE_{name.upper()}")


def _comment(node: Node, indent: str) -> list[str]:
    return [f"{indent}// {node['doc']}"] if node.get("doc") else []
