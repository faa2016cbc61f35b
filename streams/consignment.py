"""Records queued together whose sender asks what became of them."""

import asyncio

from confluent_kafka import KafkaError, Message

Header = tuple[str, bytes]


class Consignment:
    """What Kafka refuses of it is its sender's affair; the producer's flushes do not wait for it, nor fail by it."""

    __slots__ = ("_is_closed", "_settled", "outstanding", "refused")

    def __init__(self) -> None:
        self.outstanding = 0
        """Records queued and not yet reported on."""
        self.refused: dict[bytes, KafkaError] = {}
        """What Kafka will never take, by value, and why."""
        self._is_closed = False
        self._settled = asyncio.Event()

    def report(self, error: KafkaError | None, message: Message) -> None:
        """Called by librdkafka for each record."""
        self.outstanding -= 1
        if error is not None:
            self.refused[message.value() or b""] = error
        if self._is_closed and not self.outstanding:
            self._settled.set()

    def close(self) -> None:
        """Nothing more is queued."""
        self._is_closed = True
        if not self.outstanding:
            self._settled.set()

    async def settled(self) -> None:
        """Wait until Kafka has reported on every record."""
        await self._settled.wait()
