"""One edge node as a host sees it: its session, from birth to death, the births of its devices, and what is missing in between."""

from enum import StrEnum
from typing import Any, Final, NamedTuple

from agents.gateway.sparkplug.births import Birth, birth_number
from agents.gateway.sparkplug.documents import Said, said
from agents.gateway.sparkplug.names import Kind, Node

REORDER_MS: Final = 2_000
"""How long a message whose successor came is waited for (section 5.6): clustered brokers may change their order."""
ASK_MS: Final = 60_000
"""Between two requests of one node for another birth, at least; twice as long after each that brought none."""
MOST_ASK_MS: Final = 3_600_000
MOST_DEVICES: Final = 10_000
"""Of a node."""
SESSION_BYTES: Final = 1_000
BIRTH_BYTES: Final = 500
"""What a node, and a birth without a metric, take in memory, about."""
_NOTHING: Final = Said([], [], untold=False)


class State(StrEnum):
    """How far a node's session is known."""

    UNBORN = "unborn"
    """Its birth was not heard: what it says by alias is not understood."""
    REMEMBERED = "remembered"
    """Its birth was heard by an earlier start; what came since is not known."""
    BORN = "born"
    """All is known since its birth."""
    DEAD = "dead"
    """It died, and nothing was heard since."""
    REBORN = "reborn"
    """It died and spoke since: its birth in between was not heard."""


class Heard(NamedTuple):
    """What a message comes to."""

    said: Said
    gone: tuple[tuple[str, int], ...] = ()
    """Devices that are offline, the node itself under the empty name, and since when (ms)."""
    is_birth: bool = False
    """Whether it has to be kept to read what comes after it."""
    name: str = ""
    """What tells the message from others of its topic: its number and time; empty where it lacks one."""


class Session:
    """The session of one node. Times: Unix milliseconds; 0: never."""

    __slots__ = (
        "_asked_at",
        "_expected",
        "_missing",
        "_patience_ms",
        "_sent_at",
        "_wanted_at",
        "bd_seq",
        "births",
        "bytes",
        "node",
        "state",
    )

    def __init__(self, node: Node) -> None:
        self.node = node
        self.state = State.UNBORN
        self.bytes = SESSION_BYTES
        """What it takes in memory, about."""
        self.bd_seq: int | None = None
        """Of its latest birth."""
        self.births: dict[str, Birth] = {}
        """By device, the node's own under the empty name; of those that only sent data one without a metric."""
        self._expected: int | None = None
        """Sequence number of its next message."""
        self._sent_at = 0
        """By the node's clock, of the message before that."""
        self._missing: set[int] = set()
        self._wanted_at = self._asked_at = 0
        """Since when another birth is wanted, and when it was asked for."""
        self._patience_ms = ASK_MS

    def hear(self, kind: Kind, device: str, payload: Any, source: int, at: int, *, in_order: bool = True) -> Heard:  # noqa: ANN401
        """Take a message in that came at that time. `in_order`: this gateway hears all of the node's."""
        if kind is Kind.NDEATH:
            return self._die(payload, at)
        gone: tuple[tuple[str, int], ...] = ()
        if kind is Kind.NBIRTH:
            gone = self._be_born(payload, at)
        elif in_order and payload.HasField("seq"):
            self._follow(payload, at)
        if kind is Kind.DDEATH:
            if (birth := self.births.get(device)) is not None:
                birth.valid = False
            return Heard(_NOTHING, ((device, min(payload.timestamp or at, at)),))
        if self.state is State.DEAD:
            self.state = State.REBORN
        if self.state is not State.BORN:
            self._want(at)
        birth = self._birth(device)
        if is_birth := kind in (Kind.NBIRTH, Kind.DBIRTH):
            self._define(birth, payload)
            if self.state is State.BORN and not self._missing:
                self._wanted_at = 0
        found = said(payload, birth, source=source, is_birth=is_birth)
        if is_birth:
            found = found._replace(defects=[*birth.defects[:5], *found.defects], untold=False)
        elif found.untold:
            self._want(at)
        name = f"{payload.seq}@{payload.timestamp}" if payload.HasField("seq") and payload.HasField("timestamp") else ""
        return Heard(found, gone, is_birth, name)

    def recall(self, kind: Kind, device: str, payload: Any, *, fresh: bool) -> None:  # noqa: ANN401
        """Take up a birth that another gateway heard just now or, if not `fresh`, an earlier start."""
        if kind is Kind.NBIRTH:
            self._be_born(payload, 0)
            self._expected = None
            self.state = State.BORN if fresh else State.REMEMBERED
        birth = self._birth(device)
        self._define(birth, payload)
        said(payload, birth, source=0, is_birth=True)

    def asks(self, now: int) -> bool:
        """Whether the node is to be asked for another birth now; then it was."""
        if not self._wanted_at or now < self._wanted_at or (self._asked_at and now < self._asked_at + self._patience_ms):
            return False
        if self._asked_at:
            self._patience_ms = min(2 * self._patience_ms, MOST_ASK_MS)
        self._asked_at, self._wanted_at = now, 0
        self._missing.clear()
        return True

    @property
    def wants(self) -> bool:
        """Whether another birth is wanted, now or if what is missing does not come."""
        return self._wanted_at > 0

    def _birth(self, device: str) -> Birth:
        birth = self.births.get(device)
        if birth is None:
            birth = Birth()
            if len(self.births) <= MOST_DEVICES:
                self.births[device] = birth
                self.bytes += BIRTH_BYTES
        return birth

    def _define(self, birth: Birth, payload: Any) -> None:  # noqa: ANN401
        self.bytes -= birth.bytes
        birth.define(payload)
        self.bytes += birth.bytes

    def _be_born(self, payload: Any, at: int) -> tuple[tuple[str, int], ...]:  # noqa: ANN401
        """The devices that are not there until they are born again: those of a session whose death was not heard."""
        number = birth_number(payload)
        is_another = self.state in (State.BORN, State.REMEMBERED) and (number is None or number != self.bd_seq)
        self.state, self.bd_seq = State.BORN, number
        for birth in self.births.values():
            birth.valid = False
        self._expected = (payload.seq + 1) % 256 if payload.HasField("seq") else None
        self._sent_at = payload.timestamp
        self._missing.clear()
        self._wanted_at, self._patience_ms = 0, ASK_MS
        return tuple((device, at) for device in self.births if device) if is_another else ()

    def _die(self, payload: Any, at: int) -> Heard:  # noqa: ANN401
        """The end of the session that had the same bdSeq, and of no later one; without a bdSeq of the one there is.

        A host marks a node offline after any NDEATH (host-action-ndeath-node-offline); bdSeq only tells which birth a death belongs to.
        """
        number = birth_number(payload)
        is_known = number is not None and self.bd_seq is not None
        is_told = is_known and number == self.bd_seq  # which is that of the session before, of a node whose birth was not heard
        if self.state is State.DEAD or (is_told if self.state is State.REBORN else is_known and not is_told):
            return Heard(_NOTHING)
        self.bd_seq = self.bd_seq if number is None else number
        self.state = State.DEAD
        for birth in self.births.values():
            birth.valid = False
        self._missing.clear()
        self._wanted_at = 0
        return Heard(_NOTHING, tuple((device, at) for device in dict.fromkeys(("", *self.births))))

    def _follow(self, payload: Any, at: int) -> None:  # noqa: ANN401
        """Note what is missing between the message before and this one."""
        seq, expected = payload.seq, self._expected
        if expected is not None and seq != expected and self._is_late(payload):
            self._missing.discard(seq)
            if not self._missing and self._wanted_at > at:
                self._wanted_at = 0
            return
        if expected is not None and seq != expected:
            self._missing.update((expected + step) % 256 for step in range((seq - expected) % 256))
            self._want(at + REORDER_MS)
        self._expected, self._sent_at = (seq + 1) % 256, payload.timestamp

    def _is_late(self, payload: Any) -> bool:  # noqa: ANN401
        """Whether a message was sent before the one that came before it, or is that one again."""
        return payload.seq in self._missing or payload.timestamp < self._sent_at or (payload.seq + 1) % 256 == self._expected

    def _want(self, at: int) -> None:
        """Ask for another birth, then or before."""
        self._wanted_at = min(self._wanted_at or at, at)
