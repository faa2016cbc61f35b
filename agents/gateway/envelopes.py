"""Messages of any protocol to records of Kafka in the standard envelope: a row each, or a reject."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import polars as pl

from agents.gateway.mapping import RAW
from agents.gateway.message import Message, Sender, Source
from agents.gateway.payloads import read
from agents.gateway.place import Address, Header, Place
from agents.gateway.presence import Signal, says_offline
from agents.gateway.readings import MAX_DETAIL, MAX_PAYLOAD_BYTES
from agents.gateway.terms import Policy
from agents.rowfile import Unfit
from schemas.catalog import LIGHTS
from schemas.rejects import Reason, Reject

CODEC: Final = LIGHTS.codec
"""Of the envelope, which all topics of messages share."""
OURS: Final = frozenset({"device_id", "tenant_id", "priority"})
"""Headers that the gateway alone writes: nobody is to say whose a message is but what proved it."""
_MADE: Final = {
    "message_id": pl.String,
    "device_id": pl.String,
    "tenant_id": pl.String,
    "source_protocol": pl.String,
    "original_topic": pl.String,
    "ingestion_time": pl.Int64,
    "data": pl.String,
    "data_type": pl.String,
    "qos": pl.Int32,
    "priority": pl.String,
}
"""What the loop over messages says of each, in its order."""


class Delivery(NamedTuple):
    """Messages that came together from one sender."""

    messages: Sequence[Message]
    source: Source
    sender: Sender
    received_at: int
    """Unix milliseconds."""


@dataclass
class Enveloped:
    """Rows in the order of the messages; columns of equal length."""

    frame: pl.DataFrame
    """The envelope's fields."""
    rows: list[int]
    """Which message each is of, counted through all deliveries."""
    addresses: list[Address]
    headers: list[list[Header]]
    marks: list[object]
    """Equal where a device sent the same once more; None where it gives messages no number."""
    rejects: list[Reject]
    coalesced: list[int]
    """Messages that told of their device alone."""
    tenants: dict[int, str]
    """Whose the messages are that make no row, where that is known."""
    misfits: int
    """Messages of a lower quality of service than their mapping asks for."""


def envelop(deliveries: Sequence[Delivery], place: Place, now_ms: int) -> Enveloped:
    """Map and read messages; total: no input raises."""
    made = Enveloped(pl.DataFrame(), [], [], [], [], [], [], {}, 0)
    columns: list[tuple[Any, ...]] = []
    row = -1
    for messages, source, (tenant, _), received_at in deliveries:
        # a loop over records, as each has a format and a topic of its own: 2 µs each
        for message in messages:
            row += 1
            topic = message.topic
            try:
                address = place.address(topic, tenant)
            except Unfit as unfit:
                made.rejects.append(Reject(row, Reason.UNMAPPED_TOPIC, str(unfit)[:MAX_DETAIL]))
                continue
            device = address.device
            if address.signal or device.barred:
                if not _is_data(made, row, address, message, source, received_at):
                    continue
                address = place.aside(address)
            device.seen_at = received_at
            device.source = source
            target = address.target
            text, document = read(message, target, place.writers, place.sparkplug)
            if len(text) > MAX_PAYLOAD_BYTES:
                reason = f"{len(message.payload)} bytes, {len(text)} as they are kept, which is at most {MAX_PAYLOAD_BYTES}"
                made.rejects.append(Reject(row, Reason.TOO_LARGE, reason))
                continue
            said = message.headers
            own = _identity(address.tenant, topic, document, said, message.payload)
            message_id, mark = own or (f"{place.node}-{place.run}-{place.taken + row:x}", None)
            data_type = RAW if document is None else target.data_type
            line = (message_id, target.device_id, address.tenant, source, topic, received_at, text, data_type, message.qos, target.priority)
            columns.append(line)
            made.rows.append(row)
            made.addresses.append(address)
            made.headers.append(_with(address.headers, said) if said else address.headers)
            made.marks.append(mark)
            made.misfits += message.qos < target.qos and source is Source.MQTT
    place.taken += row + 1
    made.frame = _frame(columns, place.node, now_ms)
    return made


def _is_data(made: Enveloped, row: int, address: Address, message: Message, source: Source, at: int) -> bool:
    """Whether a message is data, though of a barred device; what is rejected, or tells of its device alone, is noted."""
    device = address.device
    if device.barred is Policy.REJECT:
        made.rejects.append(Reject(row, Reason.UNKNOWN_DEVICE, f"{device.tenant} has no device {device.device} in service"))
    elif address.signal is None:
        return True
    else:
        try:
            gone = address.signal is Signal.PRESENCE and says_offline(message.payload)
        except ValueError as neither:
            made.rejects.append(Reject(row, Reason.UNDECODABLE, str(neither)[:MAX_DETAIL]))
        else:
            made.coalesced.append(row)
            if gone:
                device.leave(at)
            else:
                device.seen_at = at
            device.source = source
    made.tenants[row] = address.tenant
    return False


def _with(headers: list[Header], said: Mapping[str, str]) -> list[Header]:
    return [*headers, *((name, value.encode("utf-8", "replace")) for name, value in said.items() if name not in OURS)]


def _identity(tenant: str, topic: str, document: object, said: Mapping[str, str], payload: bytes) -> tuple[str, object] | None:
    """A message's own name, and what is equal of the same message sent again; None if it has neither an id nor a sequence number.

    A device that starts anew counts from 0 again, so an equal number alone does not make two messages one: what they say has to be, too.
    """
    own = said["message_id"].encode("utf-8", "replace").decode() if "message_id" in said else None
    sequence = None
    if type(document) is dict:
        own = own or document.get("message_id")
        sequence = document.get("sequence", document.get("seq"))
    if type(own) is str and own:
        return own, (tenant, topic, own)
    if type(sequence) is int:
        at = document.get("timestamp", "")  # type: ignore[attr-defined]
        return f"{topic}#{sequence}@{at}", (tenant, topic, sequence, hash(payload))
    return None


def _frame(columns: Sequence[tuple[Any, ...]], node: str, now_ms: int) -> pl.DataFrame:
    by_name = zip(_MADE.items(), zip(*columns, strict=True) if columns else [()] * len(_MADE), strict=True)
    made = {name: pl.Series(name, values, dtype) for (name, dtype), values in by_name}
    # by hand: a round is small, and a query of Polars would cost as much as all the rest
    made["gateway_node"] = pl.Series("gateway_node", [node] * len(columns), pl.String)
    made["processing_time"] = pl.Series("processing_time", [now_ms] * len(columns), pl.Int64)
    made["metadata"] = pl.DataFrame([made[name] for name in ("qos", "priority", "gateway_node")]).to_struct("metadata")
    return pl.DataFrame([made[name] for name in CODEC.columns or ()])
