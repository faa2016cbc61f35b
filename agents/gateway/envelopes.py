"""Messages of any protocol to records of Kafka in the standard envelope: a row each, or a reject."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from agents.gateway.mapping import RAW
from agents.gateway.message import Message, Sender, Source
from agents.gateway.payloads import BadTime, Content, read
from agents.gateway.place import ENVELOPE, Address, Header, Place
from agents.gateway.presence import STRANGERS, Signal, says_offline
from agents.gateway.sparkplug.nodes import Birth
from agents.gateway.spoken import Spoken, spoken
from agents.gateway.terms import Policy
from agents.gateway.times import whole
from agents.row_model import Unfit
from schemas.bounds import (
    DETAIL_LETTERS,
    DEVICE_ID_BYTES,
    HEADER_BYTES,
    MESSAGE_ID_BYTES,
    PAYLOAD_BYTES,
    RECORD_BYTES,
    TEXT_BYTES,
    TOPIC_CHARACTERS,
)
from schemas.codec import FRAME_BYTES
from schemas.parts import length, part
from schemas.quoting import brief, quoted
from schemas.rejects import Reason, Reject

OURS: Final = frozenset({"device_id", "tenant_id", "priority"})
"""Headers that the gateway alone writes: nobody is to say whose a message is but what proved it."""


class Delivery(NamedTuple):
    """Messages that came together from one sender."""

    messages: Sequence[Message]
    source: Source
    sender: Sender
    received_at: int
    """Unix milliseconds."""


@dataclass
class Enveloped:
    """Envelopes in the order of the messages; columns of equal length."""

    values: list[bytes]
    """As they stand in Kafka."""
    rows: list[int]
    """Which message each is of, counted through all deliveries."""
    addresses: list[Address]
    headers: list[list[Header]]
    marks: list[str | None]
    """Equal where a device sent the same once more; None where it gives messages no number."""
    rejects: list[Reject]
    coalesced: list[int]
    """Messages that told of their device alone."""
    tenants: dict[int, str]
    """Whose the messages are that make no envelope, where that is known."""
    births: list[tuple[int, Birth]]
    """Of Sparkplug's nodes and devices, to be kept; each with the message it is of."""
    misfits: int = 0
    """Messages of a lower quality of service than their mapping asks for."""

    def moved(self, rows: Sequence[int]) -> None:
        """Count messages as in a larger batch, in which those of this one have these places."""
        self.rows = [rows[row] for row in self.rows]
        self.rejects = [replace(reject, row=rows[reject.row]) for reject in self.rejects]
        self.coalesced = [rows[row] for row in self.coalesced]
        self.tenants = {rows[row]: tenant for row, tenant in self.tenants.items()}
        self.births = [(rows[row], birth) for row, birth in self.births]


def envelop(deliveries: Sequence[Delivery], place: Place, schema_id: int, now_ms: int) -> Enveloped:
    """Map and read messages, and write them by the envelope's schema, which has that id; total: no input raises."""
    made = Enveloped([], [], [], [], [], [], [], {}, [])
    frame = schema_id.to_bytes(FRAME_BYTES)
    row = -1
    for messages, source, (tenant, _), received_at in deliveries:
        protocol, times = part(ENVELOPE, source_protocol=source), part(ENVELOPE, ingestion_time=received_at, processing_time=now_ms)
        # a loop over records, as each has a format and a topic of its own: some 5 µs each
        for message in messages:
            row += 1
            topic = message.topic
            try:
                address = place.address(topic, tenant)
            except Unfit as unfit:
                reason = Reason.BAD_DEVICE_ID if unfit.field == "device" else Reason.UNMAPPED_TOPIC
                made.rejects.append(Reject(row, reason, brief(str(unfit), DETAIL_LETTERS)))
                continue
            device = address.device
            if address.signal or device.barred:
                if not _is_data(made, row, address, message, place, source, received_at):
                    continue
                address = place.aside(address)
            device.seen_at = received_at
            device.source = source
            target = address.target
            said = message.headers
            if target.speaker is None:
                try:
                    contents: Sequence[Content] = (read(message, target, place.writers),)
                except BadTime as wrong:
                    made.rejects.append(Reject(row, Reason.BAD_TIMESTAMP, brief(str(wrong), DETAIL_LETTERS)))
                    continue
                own = _identity(address.tenant, topic, contents[0].document, said, message.payload)
            else:
                heard = spoken(place, address, message.payload, received_at)
                _note(made, row, address, heard, place, source, received_at)
                contents = heard.contents
                own = _identity_of_node(address.tenant, topic, heard.name, said, message.payload)
            headers = _with(address.headers, said) if said else address.headers
            for number, (text, document, defect) in enumerate(contents):
                if large := _too_large(message, text, said):
                    made.rejects.append(Reject(row, Reason.TOO_LARGE, large))
                    break
                message_id, mark = own or (f"{place.node}-{place.run}-{place.taken + row:x}", None)
                if number:
                    message_id, mark = f"{message_id}.{number}", mark and f"{mark}\0{number}"
                name = message_id.encode()
                kind = _kind(RAW if document is None else target.data_type, message.qos, target.priority, place.node)
                why = part(ENVELOPE, defect=defect) if defect else _NO_DEFECT
                pieces = (
                    frame,
                    length(len(name)),
                    name,
                    address.whose,
                    protocol,
                    address.origin,
                    times,
                    length(len(text)),
                    text,
                    kind,
                    why,
                )
                made.values.append(b"".join(pieces))
                made.rows.append(row)
                made.addresses.append(address)
                made.headers.append(headers)
                made.marks.append(mark)
            made.misfits += message.qos < target.qos and source is Source.MQTT
    place.taken += row + 1
    return made


_NO_DEFECT: Final = part(ENVELOPE, defect="")
_AROUND_BYTES: Final = 4 * TOPIC_CHARACTERS + 4 * DEVICE_ID_BYTES + MESSAGE_ID_BYTES + TEXT_BYTES + 1_000
"""Of a record beside its payload and headers, at most."""
assert PAYLOAD_BYTES + HEADER_BYTES + _AROUND_BYTES < RECORD_BYTES


def _too_large(message: Message, text: bytes, said: Mapping[str, str]) -> str:
    """Why a message makes no record that Kafka takes; empty if it does."""
    if len(text) > PAYLOAD_BYTES:
        return f"{len(message.payload)} bytes, {len(text)} as they are kept, which is at most {PAYLOAD_BYTES}"
    if said and (size := sum(len(word.encode("utf-8", "replace")) for pair in said.items() for word in pair)) > HEADER_BYTES:
        return f"{size} bytes of headers, at most {HEADER_BYTES} are taken"
    return ""


@lru_cache(maxsize=4096)
def _kind(data_type: str, qos: int, priority: str, node: str) -> bytes:
    return part(ENVELOPE, data_type=data_type, metadata={"qos": qos, "priority": priority, "gateway_node": node})


def _note(made: Enveloped, row: int, address: Address, heard: Spoken, place: Place, source: Source, at: int) -> None:
    """Note of a message of Sparkplug what is no envelope: births, what could not be read, and that its edge node lives."""
    if node := place.fleet.devices.get((address.tenant, address.under)):
        node.seen_at, node.source = at, source
    if heard.birth is not None:
        made.births.append((row, heard.birth))
    if heard.defect:
        made.rejects.append(Reject(row, heard.reason, brief(heard.defect, DETAIL_LETTERS)))
    elif not heard.contents:
        made.coalesced.append(row)
    made.tenants[row] = address.tenant


def _is_data(made: Enveloped, row: int, address: Address, message: Message, place: Place, source: Source, at: int) -> bool:
    """Whether a message is data, though of a barred device; what is rejected, or tells of its device alone, is noted."""
    device = address.device
    if address.signal in STRANGERS:
        if address.signal is Signal.DEATH and (wrong := spoken(place, address, message.payload, at)).contents:
            made.rejects.append(Reject(row, Reason.UNDECODABLE, wrong.contents[0].defect))
        else:
            made.coalesced.append(row)
    elif device.barred is Policy.REJECT:
        made.rejects.append(Reject(row, Reason.UNKNOWN_DEVICE, f"{device.tenant} has no device {device.device} in service"))
    elif address.signal is None:
        return True
    else:
        try:
            gone = address.signal is Signal.PRESENCE and says_offline(message.payload)
        except ValueError as neither:
            made.rejects.append(Reject(row, Reason.UNDECODABLE, brief(str(neither), DETAIL_LETTERS)))
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


def _identity(tenant: str, topic: str, document: object, said: Mapping[str, str], payload: bytes) -> tuple[str, str] | None:
    """A message's own name, and what is equal of the same message sent again; None if it has neither an id nor a sequence number.

    That is text, as the garbage collector looks into tuples: 200,000 of them are a pause of 15 ms.

    A device that starts anew counts from 0 again, so an equal number alone does not make two messages one: what they say has to be, too.
    """
    own: object = said["message_id"].encode("utf-8", "replace").decode() if "message_id" in said else None
    sequence: object = None
    at: object = ""
    if type(document) is dict:
        own = own or document.get("message_id")
        sequence = document.get("sequence", document.get("seq"))
        at = document.get("timestamp", "")
    if type(own) is str and own:
        name = own if len(own) * 4 <= MESSAGE_ID_BYTES else _bounded(own)
        return name, _bounded(f"{tenant}\0{topic}\0name\0{name}")
    if (number := whole(sequence)) is not None:
        name = f"{topic}#{number}@{at if type(at) is int else quoted(at) if at else at}"
        return _bounded(name), _bounded(f"{tenant}\0{topic}\0number\0{number}\0{hash(payload)}")
    return None


def _identity_of_node(tenant: str, topic: str, name: str, said: Mapping[str, str], payload: bytes) -> tuple[str, str] | None:
    """The same of an edge node's, whose numbers begin anew after 255: only with its time a message is told from another."""
    if "message_id" in said:
        return _identity(tenant, topic, None, said, payload)
    return (_bounded(f"{topic}#{name}"), f"{tenant}\0{topic}\0number\0{name}\0{hash(payload)}") if name else None


def _bounded(name: str) -> str:
    """A name or a mark, or the digest of one that is too long: 200,000 marks are remembered, and devices choose their length."""
    encoded = name.encode()
    return name if len(encoded) <= MESSAGE_ID_BYTES else f"blake2b:{blake2b(encoded, digest_size=32).hexdigest()}"
