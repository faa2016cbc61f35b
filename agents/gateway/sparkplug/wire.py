"""The message of a Sparkplug B payload (Eclipse Sparkplug 3.0, section 6.4.1): all of its fields by number, texts as bytes.

Texts are bytes here as a proto2 string may hold any bytes: one that is no UTF-8 is to cost its metric, not the payload.
Of the packages of PyPI that have the message, pysparkplug and mqtt-spb-wrapper need an older paho or protobuf, the others bring none.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field: Final = descriptor_pb2.FieldDescriptorProto
# name:number:type of each field; `*` after a type: repeated. Of those called `…_value` a message has one at most.
_SPECIFIED: Final[Mapping[str, str]] = {
    "Payload": "timestamp:1:uint64 metrics:2:Metric* seq:3:uint64 uuid:4:bytes body:5:bytes",
    "Metric": "name:1:bytes alias:2:uint64 timestamp:3:uint64 datatype:4:uint32 is_historical:5:bool is_transient:6:bool is_null:7:bool "
    "metadata:8:MetaData properties:9:PropertySet int_value:10:uint32 long_value:11:uint64 float_value:12:float double_value:13:double "
    "boolean_value:14:bool string_value:15:bytes bytes_value:16:bytes dataset_value:17:DataSet template_value:18:Template "
    "extension_value:19:Extension",
    "MetaData": "is_multi_part:1:bool content_type:2:bytes size:3:uint64 seq:4:uint64 file_name:5:bytes file_type:6:bytes md5:7:bytes "
    "description:8:bytes",
    "PropertySet": "keys:1:bytes* values:2:PropertyValue*",
    "PropertySetList": "propertyset:1:PropertySet*",
    "PropertyValue": "type:1:uint32 is_null:2:bool int_value:3:uint32 long_value:4:uint64 float_value:5:float double_value:6:double "
    "boolean_value:7:bool string_value:8:bytes propertyset_value:9:PropertySet propertysets_value:10:PropertySetList "
    "extension_value:11:Extension",
    "DataSet": "num_of_columns:1:uint64 columns:2:bytes* types:3:uint32* rows:4:Row*",
    "Row": "elements:1:DataSetValue*",
    "DataSetValue": "int_value:1:uint32 long_value:2:uint64 float_value:3:float double_value:4:double boolean_value:5:bool "
    "string_value:6:bytes extension_value:7:Extension",
    "Template": "version:1:bytes metrics:2:Metric* parameters:3:Parameter* template_ref:4:bytes is_definition:5:bool",
    "Parameter": "name:1:bytes type:2:uint32 int_value:3:uint32 long_value:4:uint64 float_value:5:float double_value:6:double "
    "boolean_value:7:bool string_value:8:bytes extension_value:9:Extension",
    "Extension": "",
}
_VALUE: Final = "_value"


class DataType(IntEnum):
    """How a value is to be read; section 6.4.16."""

    UNKNOWN = 0
    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATE_TIME = 13
    TEXT = 14
    UUID = 15
    DATA_SET = 16
    BYTES = 17
    FILE = 18
    TEMPLATE = 19
    PROPERTY_SET = 20
    PROPERTY_SET_LIST = 21
    INT8_ARRAY = 22
    INT16_ARRAY = 23
    INT32_ARRAY = 24
    INT64_ARRAY = 25
    UINT8_ARRAY = 26
    UINT16_ARRAY = 27
    UINT32_ARRAY = 28
    UINT64_ARRAY = 29
    FLOAT_ARRAY = 30
    DOUBLE_ARRAY = 31
    BOOLEAN_ARRAY = 32
    STRING_ARRAY = 33
    DATE_TIME_ARRAY = 34


def _payload_type() -> Any:  # noqa: ANN401  # a class made at run time
    file = descriptor_pb2.FileDescriptorProto(name="headrace/sparkplug_b.proto", package="headrace.sparkplug", syntax="proto2")
    for name, fields in _SPECIFIED.items():
        message = file.message_type.add(name=name)
        one_of = {"oneof_index": 0} if _VALUE in fields else {}
        if one_of:
            message.oneof_decl.add(name="value")
        for field in fields.split():
            label, number, kind = field.split(":")
            repeated, kind = kind.endswith("*"), kind.rstrip("*")
            message.field.add(
                name=label,
                number=int(number),
                label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL,
                **({"type_name": f".headrace.sparkplug.{kind}"} if kind in _SPECIFIED else {}),
                type=_Field.TYPE_MESSAGE if kind in _SPECIFIED else _Field.Type.Value(f"TYPE_{kind.upper()}"),
                **(one_of if label.endswith(_VALUE) else {}),
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("headrace.sparkplug.Payload"))


PAYLOAD: Final = _payload_type()
"""`PAYLOAD.FromString` reads one. Raises protobuf's DecodeError."""


def text(found: bytes, what: str) -> str:
    """A text of a payload. Raises ValueError, which says of `what` it is, where it is none."""
    try:
        return found.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{what} is no UTF-8: byte {error.start} of {len(found)}") from error
