"""What a payload says, whatever its format: JSON text for the envelope. What cannot be decoded stays as it is, in hexadecimal."""

from collections.abc import Mapping, Set
from functools import partial
from typing import Any, Final, NamedTuple

import orjson
from google.protobuf.message import DecodeError

from agents.gateway.mapping import Target
from agents.gateway.message import Message
from agents.gateway.readings import FORMATS
from agents.gateway.sparkplug import Sparkplug
from schemas.codec import FRAME_BYTES, Codec
from schemas.protobuf_schema import message_type
from schemas.reference import read_record

# orjson writes what JSON has no word for as text.
_dumps: Final = partial(orjson.dumps, default=lambda value: value.hex() if isinstance(value, bytes) else str(value))


class Content(NamedTuple):
    """What a message says."""

    text: bytes
    """JSON, or hexadecimal."""
    document: Any
    """The same as a value; None where it is raw."""


def awaited(message: Message, writers: Mapping[int, Codec], missing: Set[int]) -> int | None:
    """The schema id that has to be asked for before the message can be read; None if there is none."""
    if not message.content_type or _format(message.content_type) != "Avro":
        return None
    schema_id = _schema_id(message.payload)
    return None if schema_id is None or schema_id in writers or schema_id in missing else schema_id


def read(message: Message, target: Target, writers: Mapping[int, Codec], sparkplug: Sparkplug) -> Content:
    """Read a message; total: no input raises. Avro has Confluent's frame, and `writers` its schemas by id."""
    payload = message.payload
    try:
        if target.sparkplug:
            document: object = sparkplug.read(message.topic, payload)
        elif (name := _format(message.content_type)) == "JSON" and target.layout is None:
            return Content(payload, orjson.loads(payload))
        else:
            document = _document(payload, name, target, writers)
    except (ValueError, DecodeError):
        return Content(payload.hex().encode(), None)
    return Content(_dumps(document), document)


def _format(content_type: str) -> str:
    return FORMATS.get(content_type) or FORMATS.get(content_type.partition(";")[0].strip().lower(), "")


def _document(payload: bytes, name: str, target: Target, writers: Mapping[int, Codec]) -> object:
    """Raises what says that it is none."""
    if target.layout is not None:
        return target.layout.read(payload)
    if name == "Protobuf" and target.record is not None:
        message = message_type(target.record).FromString(payload)
        return {field.name: _plain(value) for field, value in message.ListFields()}
    if name == "Avro" and (writer := writers.get(_schema_id(payload) or 0)) is not None and writer.defect is None:
        return read_record(writer, payload)
    raise ValueError("not a format that can be read")


def _plain(value: Any) -> Any:  # noqa: ANN401
    return dict(value) if hasattr(value, "items") else value


def _schema_id(payload: bytes) -> int | None:
    return int.from_bytes(payload[1:FRAME_BYTES]) if len(payload) >= FRAME_BYTES and payload[0] == 0 else None
