"""Which devices were lately heard over MQTT, and over nothing else since."""

from collections.abc import Callable, Sequence
from typing import Final

from agents.gateway.message import Message, Source
from agents.gateway.place import Place
from agents.gateway.presence import STRANGERS
from agents.gateway.standing import Key
from agents.row_model import Unfit
from schemas.bounds import REMEMBERED_BYTES

FRESH_MS: Final = 3_600_000
"""How long a device that says nothing is taken for connected: some report once an hour."""
MOST: Final = 200_000
"""Devices, and topics, that are remembered; some 30 MB. Who is forgotten is heard again."""


class Heard:
    """What a gateway's own traffic says of where devices are."""

    def __init__(self, place: Place, news: Callable[[Sequence[Key]], None]) -> None:
        """`news` is told whom it heard over MQTT."""
        self._place, self._news = place, news
        self._at: dict[Key, int] = {}
        self._topics: dict[str, Key | None] = {}
        self._named = 0
        """Characters of these together."""

    def witness(self, source: Source, messages: Sequence[Message], at_ms: int) -> None:
        """Messages came."""
        topics = {message.topic for message in messages}
        devices = [device for topic in topics if (device := self._device(topic))]
        if source is not Source.MQTT:
            for device in devices:
                self._at.pop(device, None)
            return
        if len(self._at) > MOST:
            self._at.clear()
        self._at |= dict.fromkeys(devices, at_ms)
        self._news(devices)

    def lately(self, device: Key, now_ms: int) -> bool:
        """Whether a device was last heard over MQTT, and not long ago."""
        return now_ms - self._at.get(device, -FRESH_MS) < FRESH_MS

    def _device(self, topic: str) -> Key | None:
        try:
            return self._topics[topic]
        except KeyError:
            pass
        self._named += len(topic)
        if len(self._topics) > MOST or self._named > REMEMBERED_BYTES:
            self._topics.clear()
            self._named = len(topic)
        try:
            address = self._place.address(topic, "")
        except Unfit:
            found = None
        else:
            # what a host tells a device, or a broker of its end, says nothing of where it is
            found = None if address.signal in STRANGERS else (address.tenant, address.target.device_id)
        self._topics[topic] = found
        return found
