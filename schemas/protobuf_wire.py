"""Protobuf messages to a contract's columns and back; the message is that of `schemas/protobuf_schema.py`."""

from collections.abc import Sequence, Set

import polars as pl
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from schemas.codec import Codec
from schemas.nodes import kind
from schemas.protobuf_schema import message_type
from schemas.rejects import Reason, Reject
from schemas.sorting import ABSENT, sort_out
from schemas.wire import Decoded


def parse(kind_of: type[Message], value: bytes) -> Message:
    """A message of that class. Raises ValueError for bytes that are none, and for a field of it in another type's encoding.

    A parser puts such a field aside with those it does not know, and its value would be lost in silence.
    """
    try:
        message = kind_of.FromString(value)
    except DecodeError as error:
        raise ValueError(f"not this Protobuf message: {error}") from error
    known, aside = kind_of.DESCRIPTOR.fields_by_number, UnknownFieldSet(message)
    for field in map(aside.__getitem__, range(len(aside))):
        if field.field_number in known:
            raise ValueError(f"not this Protobuf message: {known[field.field_number].name} is of wire type {field.wire_type}")
    return message


def decode(values: Sequence[bytes], reader: Codec, given: Set[str] = frozenset()) -> Decoded:
    """Read a batch of messages into the reader's columns; fields it does not know are left out. Never raises on what they hold.

    Fields without a default have to be there, but those that are `given` from elsewhere. Raises ValueError for a reader without message.
    """
    kind_of = message_type(reader)
    rows: list[int] = []
    messages: list[Message] = []
    unread: list[Reject] = []
    for row, value in enumerate(values):
        try:
            messages.append(parse(kind_of, value))
        except ValueError as error:
            unread.append(Reject(row, Reason.UNDECODABLE, str(error)))
        else:
            rows.append(row)
    found = {
        name: [dict(getattr(message, name)) for message in messages]
        if kind(field["type"]) == "map"
        else [getattr(message, name) if message.HasField(name) else ABSENT for message in messages]
        for name, field in reader.fields.items()
    }
    return sort_out(reader, rows, found, unread, given)


def encode(codec: Codec, frame: pl.DataFrame) -> list[bytes]:
    """Write a message for each row; other columns are ignored. Raises ValueError for a record without message."""
    write = message_type(codec)
    names = list(codec.fields)
    maps = {name for name, field in codec.fields.items() if kind(field["type"]) == "map"}
    return [
        write(**{name: dict(value) if name in maps else value for name, value in zip(names, row, strict=True)}).SerializeToString()
        for row in frame.select(names).iter_rows()
    ]
