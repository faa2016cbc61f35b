"""Whether a device is there: its messages, what it or its last will says of itself, and what other gateways saw."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from agents.gateway.registration import Registration
from agents.gateway.terms import Policy
from schemas import json_text


class Signal(StrEnum):
    """What messages are that tell of a device alone, or are not of it: they are noted, and not kept."""

    HEARTBEAT = "heartbeat"
    """It lives, whatever the payload is."""
    PRESENCE = "presence"
    """`online` or `offline`, from the device or as its last will."""
    COMMAND = "host-command"
    """A host says it to the device, or of itself: it is no sign of life of anybody."""
    DEATH = "death"
    """An edge node of Sparkplug, or its last will, says that it or a device under it is gone."""


SIGNALS: Final[Mapping[str, Signal]] = {str(signal): signal for signal in (Signal.HEARTBEAT, Signal.PRESENCE, Signal.COMMAND)}
"""Those that a row of the mapping can say."""
STRANGERS: Final = frozenset({Signal.COMMAND, Signal.DEATH})
"""Those that a device does not send."""


class Status(StrEnum):
    """How a device is."""

    UNSEEN = "unseen"
    """Registered, and nothing has come of it yet."""
    ONLINE = "online"
    OFFLINE = "offline"
    """It said so, or its last will did."""
    SILENT = "silent"
    """Nothing has come for longer than its type is allowed, while its gateway listened."""
    UNWATCHED = "unwatched"
    """It was online, and now no gateway could hear it: that says nothing about the device."""


MOST_REPEATS: Final = 5


class Presence:
    """One device. The gateway writes `seen_at` and `source` with every message, and nothing else: `fold` does the rest, when there is time.

    What it ends in does not depend on how often, or when, it is folded in between. Times: Unix milliseconds; 0: never.
    """

    __slots__ = (
        "barred",
        "device",
        "enrolled",
        "first_seen",
        "here",
        "kind",
        "last_seen",
        "node",
        "offline_at",
        "registration",
        "repeats",
        "reported_seen",
        "seen_at",
        "since",
        "source",
        "status",
        "tenant",
    )

    def __init__(self, tenant: str, device: str) -> None:
        self.tenant, self.device = tenant, device
        self.registration: Registration | None = None
        self.enrolled = False
        """Whether it was let in without being registered."""
        self.barred: Policy | None = None
        """What becomes of its messages; None: they go where they belong."""
        self.kind = ""
        """Its type, as the mapping of its messages says."""
        self.seen_at = 0
        """Its last message here since it was folded."""
        self.source = ""
        """The protocol it last came by."""
        self.first_seen = self.last_seen = 0
        self.offline_at = 0
        """When it was said to be offline, if nothing came since."""
        self.here, self.node = False, ""
        """Whether this gateway heard it last, and otherwise which did."""
        self.status, self.since = Status.UNSEEN, 0
        """As was last reported, by whichever gateway, and since when."""
        self.reported_seen = 0
        self.repeats = 0
        """How many of its last messages here were all duplicates."""

    @property
    def repeats_only(self) -> bool:
        """Whether it seems to say nothing new: a weak link sends a message again a few times, a number that starts anew each one."""
        return self.repeats >= MOST_REPEATS

    @property
    def type(self) -> str:
        """As it is registered, or as its messages are mapped."""
        return self.registration.device_type if self.registration else self.kind

    def fold(self) -> None:
        """Take in what came since."""
        if self.seen_at:
            self.last_seen = max(self.last_seen, self.seen_at)
            self.first_seen = self.first_seen or self.seen_at
            self.offline_at = self.seen_at = 0
            self.here = True

    def leave(self, at: int) -> None:
        """It is offline, until the next message."""
        self.fold()
        self.first_seen = self.first_seen or at
        self.offline_at = at
        self.here = True

    def hear(self, report: Mapping[str, Any], *, ours: bool) -> None:
        """Take in what a gateway reported, a record of the topic; `ours`: this one did, before it started anew."""
        self.fold()
        self.enrolled = True
        self.first_seen = min(self.first_seen or report["first_seen"], report["first_seen"])
        self.kind = self.kind or report["device_type"]
        self.status, self.since, self.reported_seen = Status(report["status"]), report["since"], report["last_seen"]
        offline = self.status is Status.OFFLINE
        if report["last_seen"] > self.last_seen or (offline and report["since"] >= self.last_seen):
            self.here, self.node, self.source = ours, report["node"], report["protocol"]
        if offline and report["since"] >= self.last_seen:
            self.offline_at = max(self.offline_at, report["since"])
        elif not offline and report["last_seen"] >= self.offline_at:
            # of two at one moment the later in the topic counts, for everybody
            self.offline_at = 0
        self.last_seen = max(self.last_seen, report["last_seen"])


def says_offline(payload: bytes) -> bool:
    """Whether a presence message says that the device is gone. Raises ValueError where it says neither."""
    word = payload.strip()
    if word.startswith((b"{", b'"')):
        said = json_text.loads(word)
        word = str(said.get("state", said.get("status", "")) if isinstance(said, dict) else said).encode()
    word = word.lower()
    if word not in (b"online", b"offline"):
        raise ValueError("a presence message says online or offline")
    return word == b"offline"
