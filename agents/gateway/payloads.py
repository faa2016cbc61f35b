"""What a payload says, whatever its format: JSON text for the envelope. What cannot be decoded stays as it is, in hexadecimal."""

import re
from collections.abc import Mapping, Set
from typing import Any, Final, NamedTuple

from agents.gateway.formats import format_of
from agents.gateway.mapping import Target
from agents.gateway.message import Message
from agents.gateway.times import plausible
from schemas import json_text
from schemas.bounds import TEXT_BYTES
from schemas.codec import FRAME_BYTES, GREATEST_SCHEMA_ID, Codec
from schemas.protobuf_schema import message_type
from schemas.protobuf_wire import parse
from schemas.quoting import brief, quoted
from schemas.reference import read_sound
from schemas.wire import unheard_of

_LOCAL: Final = "local-"
"""What the names of Avro's logical types of times without a zone begin with."""
LONGEST_WORD: Final = 64
_WORD: Final = re.compile(rb"[A-Za-z][A-Za-z0-9_ -]*")


class BadTime(Exception):
    """A message's time is not what its mapping row says; the text says how."""


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
    if not message.content_type or format_of(message.content_type) != "Avro":
        return None
    schema_id = _schema_id(message.payload)
    if schema_id is None or schema_id in writers or schema_id in missing or not 0 < schema_id <= GREATEST_SCHEMA_ID:
        return None
    return schema_id


def read(message: Message, target: Target, writers: Mapping[int, Codec]) -> Content:
    """Read a message; no input raises anything but BadTime, where its row says how times are written.

    Avro has Confluent's frame, and `writers` its schemas by id.
    """
    payload = message.payload
    try:
        if (name := format_of(message.content_type)) == "JSON" and target.layout is None:
            document = _json(payload)
            if not target.time and document is not None and type(document) is not str:
                return Content(payload, document)
        else:
            document = _document(payload, message.content_type, name, target, writers)
        if target.time:
            document = _timed(document, target.time, target.time_unit)
        if document is None:
            return raw(payload, "null is no value")
        return Content(json_text.dumps(document), document)
    except ValueError as error:
        return raw(payload, str(error))


def raw(payload: bytes, defect: str) -> Content:
    """A payload as it is, and why it could not be read."""
    return Content(payload.hex().encode(), None, brief(defect, TEXT_BYTES))


def _json(payload: bytes) -> Any:  # noqa: ANN401  # whatever JSON may be
    """A document, or a word by itself: many devices publish ON, or open, on a topic for each value."""
    try:
        return json_text.loads(payload)
    except ValueError:
        if len(payload) <= LONGEST_WORD and (word := payload.strip()) and _WORD.fullmatch(word):
            return word.decode()
        raise


def _timed(document: object, member: str, unit: str) -> object:
    """The document with its time, where it has one, as `timestamp` in milliseconds. Raises BadTime."""
    if not isinstance(document, dict) or document.get(member) is None:
        return document
    try:
        return document | {"timestamp": plausible(document[member], unit)}
    except ValueError as error:
        raise BadTime(f"{member}: {error}") from error


def _document(payload: bytes, content_type: str, name: str, target: Target, writers: Mapping[int, Codec]) -> object:
    """Raises ValueError, which says what is wrong with it."""
    if target.layout is not None:
        return target.layout.read(payload)
    if name == "Protobuf" and target.record is not None:
        return {field.name: _plain(value) for field, value in parse(message_type(target.record), payload).ListFields()}
    if name == "Protobuf":
        raise ValueError("Protobuf, and the mapping row of this topic names no record")
    if name == "Avro":
        return _avro(payload, writers, target.time or "timestamp")
    raise ValueError(f"content type {quoted(content_type)} is none that is read")


def _avro(payload: bytes, writers: Mapping[int, Codec], time: str) -> object:
    """Raises ValueError; BadTime where the member `time` is of no zone."""
    schema_id = _schema_id(payload)
    if schema_id is None:
        raise ValueError(f"Avro without Confluent's frame: {len(payload)} bytes, starting {payload[:FRAME_BYTES].hex() or 'empty'}")
    writer = writers.get(schema_id)
    if not schema_id:
        raise ValueError(unheard_of(schema_id, payload))
    if writer is None:
        raise ValueError(f"the registry has no schema {schema_id}")
    if writer.defect is not None:
        raise ValueError(f"schema {schema_id} cannot be used: {writer.defect}")
    if (unit := writer.logical_types.get(time) or "").startswith(_LOCAL):
        raise BadTime(f"{time}: a {unit} names no zone, a timestamp is needed")
    return read_sound(writer, payload)


def _plain(value: Any) -> Any:  # noqa: ANN401
    return dict(value) if hasattr(value, "items") else value


def _schema_id(payload: bytes) -> int | None:
    return int.from_bytes(payload[1:FRAME_BYTES]) if len(payload) >= FRAME_BYTES and payload[0] == 0 else None
