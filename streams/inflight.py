"""Which messages are delivered and not yet acknowledged, and so what may be committed."""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, MutableSet

from faust.types import TP, Message


class InFlight(MutableSet[Message]):
    """Messages delivered, per partition in offset order: what may be committed is what precedes the first unacknowledged.

    Takes the place of Faust's WeakSet of unacknowledged messages and of its lists of acknowledged offsets, which commit past a
    message that is still being worked on when it is the first one (faust-streaming issue 606).
    """

    def __init__(self) -> None:
        self._queues: dict[TP, deque[Message]] = defaultdict(deque)
        self._committable: dict[TP, int] = {}

    def add(self, message: Message) -> None:
        """Called by Faust's streams when a message is first seen."""
        self._queues[message.tp].append(message)

    def discard(self, message: Message) -> None:
        """Nothing to do: the message's own `acked` says it."""

    def committable(self, tp: TP) -> int | None:
        """The offset to commit: that of the first unacknowledged message, or the one after the last acknowledged."""
        queue = self._queues[tp]
        while queue and queue[0].acked:
            self._committable[tp] = queue.popleft().offset + 1
        return self._committable.get(tp)

    def forget(self, tps: Iterable[TP]) -> None:
        """Drop what was delivered of revoked partitions."""
        for tp in tps:
            self._queues.pop(tp, None)
            self._committable.pop(tp, None)

    def partitions(self) -> list[TP]:
        """Partitions with anything delivered."""
        return list(self._queues)

    def __contains__(self, message: object) -> bool:
        """Whether the message was delivered and is unacknowledged."""
        return any(m is message for m in self)

    def __iter__(self) -> Iterator[Message]:
        """The unacknowledged messages."""
        return (m for queue in list(self._queues.values()) for m in list(queue) if not m.acked)

    def __len__(self) -> int:
        """How many messages are unacknowledged."""
        return sum(1 for _ in self)
