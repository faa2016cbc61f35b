"""What a message of Sparkplug B comes to at a gateway: contents of envelopes, who is gone, and a birth to be kept."""

from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from agents.gateway.payloads import Content, raw
from agents.gateway.place import Address, Place
from agents.gateway.sparkplug.nodes import Birth
from agents.gateway.sparkplug.session import Heard
from schemas import json_text
from schemas.rejects import Reason


class Spoken(NamedTuple):
    """What a message comes to."""

    contents: list[Content]
    """An envelope each."""
    name: str = ""
    """What tells the message from others of its topic; empty where nothing does."""
    birth: Birth | None = None
    """What has to be kept to read what comes after it."""
    reason: Reason = Reason.UNDECODABLE
    defect: str = ""
    """What of it could not be read, and why; empty: all could."""


def spoken(place: Place, address: Address, payload: bytes, at: int) -> Spoken:
    """Take in what an edge node or a device says, at that time (ms); total: no payload raises."""
    speaker = address.target.speaker
    assert speaker is not None
    try:
        heard, birth = place.nodes.hear(address.tenant, speaker, payload, at)
    except DecodeError as error:
        return Spoken([raw(payload, f"no Sparkplug B payload: {error}")])
    _part(place, address, heard)
    contents, defects = [], [*heard.said.defects]
    for document in heard.said.documents:
        try:
            contents.append(Content(json_text.dumps(document), document))
        except ValueError as error:
            defects.append(str(error))
    reason = Reason.UNTOLD_METRIC if heard.said.untold else Reason.UNDECODABLE
    return Spoken(contents, heard.name, birth, reason, "; ".join(defects))


def _part(place: Place, address: Address, heard: Heard) -> None:
    """Note who is gone. A device that the gateway does not know does not come to be by its end."""
    speaker: Any = address.target.speaker
    for device, since in heard.gone:
        there = place.fleet.devices.get((address.tenant, place.named_at(speaker.node, device)))
        if there is not None:
            there.leave(max(since, there.last_seen, there.seen_at))
