"""Commands and where they stand, from `commands` and `command-events`: whatever the order in which they are read, the same comes out."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from agents.gateway.commands import Outcome

ANSWER_MS: Final = 10_000
"""What a device may take to say what came of a command, before that is told; and after which it is sent again."""
KEPT_MS: Final = 24 * 3_600_000
"""How long after it expired it is known what became of a command."""
MOST_KEPT: Final = 50_000
"""Commands that are over and still known; each takes some 2 kB."""
MOST_EARLY: Final = 10_000
"""Commands of which something is known before themselves."""

Key = tuple[str, str]
"""A device: its tenant and id."""


class Order:
    """One command and where it stands."""

    __slots__ = ("at", "command", "delivered", "detail", "first_sent_at", "sent_at", "status")

    def __init__(self, command: Mapping[str, Any]) -> None:
        self.command = command
        self.status, self.at, self.detail = Outcome.QUEUED, 0, ""
        self.delivered = False
        self.first_sent_at = self.sent_at = 0
        """When it was sent first and last, ms; 0: never."""

    @property
    def id(self) -> str:
        """The command's."""
        return str(self.command["command_id"])

    @property
    def key(self) -> Key:
        """Whose it is."""
        return self.command["tenant"], self.command["device_id"]

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take in what became of it; what was taken in before, or is out of order, changes nothing that is true."""
        status = Outcome(event["status"])
        if (status.rank, event["at"], status) > (self.status.rank, self.at, self.status):
            self.status, self.at, self.detail = status, event["at"], event["detail"]
        self.delivered |= status is Outcome.DELIVERED
        if status is Outcome.DISPATCHED:
            self.first_sent_at = min(self.first_sent_at or event["at"], event["at"])
            self.sent_at = max(self.sent_at, event["at"])

    def waits(self, now_ms: int) -> bool:
        """Whether its device is to be told, should it come: it did not say yet that it has it."""
        return not self.status.is_final and not self.delivered and now_ms < self.command["expires_at"]

    def is_due(self, now_ms: int) -> bool:
        """Whether it is to be sent to a device that is there: it never was, or long ago, each time twice as long."""
        return self.waits(now_ms) and (not self.sent_at or now_ms - self.sent_at >= max(ANSWER_MS, self.sent_at - self.first_sent_at))

    def outcome(self, now_ms: int) -> tuple[Outcome, str] | None:
        """What is to be told of it as nothing came by now; None if nothing is."""
        if self.status is Outcome.QUEUED and now_ms >= self.command["expires_at"]:
            return Outcome.EXPIRED, "the device was not there in time"
        if self.status in (Outcome.DISPATCHED, Outcome.DELIVERED) and now_ms - self.at >= ANSWER_MS:
            return Outcome.UNANSWERED, f"no answer within {ANSWER_MS / 1000:g} s"
        return None

    def is_over(self, now_ms: int) -> bool:
        """Whether nothing is to be done about it any more."""
        return self.status.is_final or (self.status is Outcome.UNANSWERED and not self.waits(now_ms))


class Standing:
    """All commands that are not long over."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.live: dict[str, Order] = {}
        """Those that something is still to be done about."""
        self._of_device: dict[Key, dict[str, Order]] = {}
        self._of_request: dict[str, list[Order]] = {}
        self._early: dict[str, list[Mapping[str, Any]]] = {}

    def take(self, commands: Iterable[Mapping[str, Any]]) -> list[Order]:
        """Take in commands; those that are new."""
        new = []
        for command in commands:
            if command["command_id"] in self.orders:
                continue
            order = Order(command)
            self.orders[order.id] = self.live[order.id] = order
            self._of_device.setdefault(order.key, {})[order.id] = order
            if command["request_id"]:
                self._of_request.setdefault(command["request_id"], []).append(order)
            self.hear(self._early.pop(order.id, ()))
            new.append(order)
        return new

    def hear(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Take in what became of commands; what another device says of one does not count."""
        for event in events:
            order = self.orders.get(event["command_id"])
            if event["status"] not in Outcome.__members__:  # of a later version
                continue
            if order is None:
                self._early.setdefault(event["command_id"], []).append(event)
                if len(self._early) > MOST_EARLY:
                    del self._early[next(iter(self._early))]
            elif order.command["device_id"] == event["device_id"]:
                order.hear(event)

    def of_device(self, key: Key, now_ms: int) -> list[Order]:
        """What a device is to be told when it comes, in the order it was asked for."""
        return [order for order in self._of_device.get(key, {}).values() if order.waits(now_ms)]

    def of_request(self, request_id: str) -> list[Order]:
        """All of one request."""
        return self._of_request.get(request_id, [])

    def tend(self, now_ms: int) -> Iterator[tuple[Order, Outcome, str]]:
        """What is to be told now of those that nothing came of; those that are over are put aside."""
        for order in [*self.live.values()]:
            if found := order.outcome(now_ms):
                yield order, *found
            elif order.is_over(now_ms):
                del self.live[order.id]
                mine = self._of_device[order.key]
                del mine[order.id]
                if not mine:
                    del self._of_device[order.key]

    def forget(self, now_ms: int) -> None:
        """Of those that are over, keep the latest, for a day."""
        over = [order for order in self.orders.values() if order.id not in self.live]
        for position, order in enumerate(over):
            if position < len(over) - MOST_KEPT or now_ms - order.command["expires_at"] > KEPT_MS:
                del self.orders[order.id]
                if of_request := self._of_request.get(order.command["request_id"]):
                    of_request.remove(order)
                    if not of_request:
                        del self._of_request[order.command["request_id"]]
