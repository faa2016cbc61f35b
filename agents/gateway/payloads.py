"""What a payload says, whatever its format: JSON text for the envelope. What cannot be decoded stays as it is, in hexadecimal."""

from collections.abc import Mapping, Set
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from agents.gateway.mapping import Target
from agents.gateway.message import Message
from agents.gateway.readings import FORMATS
from schemas import json_text
from schemas.bounds import TEXT_BYTES
from schemas.codec import FRAME_BYTES, GREATEST_SCHEMA_ID, Codec
from schemas.protobuf_schema import message_type
from schemas.quoting import brief, quoted
from schemas.reference import read_record


class Content(NamedTuple):
    """What a message says."""

    text: bytes
    """JSON, or hexadecimal."""
    document: Any
    """The same as a value; None where it is raw."""
    defect: str = ""
    """Why it is raw, in the words of whatever should have read it."""


def awaited(message: Message, writers: Mapping[int, Codec], missing: Set[int]) -> int | None:
    """The schema id that has to be asked for before the message can be read; None if there is none."""
    if not message.content_type or _format(message.content_type) != "Avro":
        return None
    schema_id = _schema_id(message.payload)
    if schema_id is None or schema_id in writers or schema_id in missing or not 0 < schema_id <= GREATEST_SCHEMA_ID:
        return None
    return schema_id


def read(message: Message, target: Target, writers: Mapping[int, Codec]) -> Content:
    """Read a message; total: no input raises. Avro has Confluent's frame, and `writers` its schemas by id."""
    payload = message.payload
    try:
        if (name := _format(message.content_type)) == "JSON" and target.layout is None:
            return Content(payload, json_text.loads(payload))
        document = _document(payload, message.content_type, name, target, writers)
        return Content(json_text.dumps(document), document)
    except DecodeError as error:
        defect = f"not this Protobuf message: {error}"
    except ValueError as error:
        defect = str(error)
    return raw(payload, defect)


def raw(payload: bytes, defect: str) -> Content:
    """A payload as it is, and why it could not be read."""
    return Content(payload.hex().encode(), None, brief(defect, TEXT_BYTES))


def _format(content_type: str) -> str:
    return FORMATS.get(content_type) or FORMATS.get(content_type.partition(";")[0].strip().lower(), "")


def _document(payload: bytes, content_type: str, name: str, target: Target, writers: Mapping[int, Codec]) -> object:
    """Raises ValueError or DecodeError, which say what is wrong with it."""
    if target.layout is not None:
        return target.layout.read(payload)
    if name == "Protobuf" and target.record is not None:
        message = message_type(target.record).FromString(payload)
        return {field.name: _plain(value) for field, value in message.ListFields()}
    if name == "Protobuf":
        raise ValueError("Protobuf, and the mapping row of this topic names no record")
    if name == "Avro":
        return _avro(payload, writers)
    raise ValueError(f"content type {quoted(content_type)} is none that is read")


def _avro(payload: bytes, writers: Mapping[int, Codec]) -> object:
    schema_id = _schema_id(payload)
    if schema_id is None:
        raise ValueError(f"Avro without Confluent's frame: {len(payload)} bytes, starting {payload[:FRAME_BYTES].hex() or 'empty'}")
    writer = writers.get(schema_id)
    if writer is None:
        raise ValueError(f"the registry has no schema {schema_id}")
    if writer.defect is not None:
        raise ValueError(f"schema {schema_id} cannot be used: {writer.defect}")
    return read_record(writer, payload)


def _plain(value: Any) -> Any:  # noqa: ANN401
    return dict(value) if hasattr(value, "items") else value


def _schema_id(payload: bytes) -> int | None:
    return int.from_bytes(payload[1:FRAME_BYTES]) if len(payload) >= FRAME_BYTES and payload[0] == 0 else None
