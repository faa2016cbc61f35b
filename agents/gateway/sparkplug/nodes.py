"""All edge nodes a gateway hears, each tenant's by themselves, in bounded memory."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from agents.gateway.sparkplug.births import stripped
from agents.gateway.sparkplug.names import Kind, Node, Speaker
from agents.gateway.sparkplug.session import Heard, Session
from agents.gateway.sparkplug.wire import PAYLOAD, DataType

MOST_NODES: Final = 10_000
"""Of a tenant. The one born longest ago goes first, and is asked for another birth when it next speaks."""
MOST_BYTES: Final = 64 << 20
"""Of a tenant's births in memory, about: some 100,000 metrics."""
REBIRTH: Final = "Node Control/Rebirth"


class Birth(NamedTuple):
    """A birth as it is kept, for other gateways and the next start."""

    tenant: str
    speaker: Speaker
    payload: bytes
    """Without what only its values need."""


def birth_row(birth: Birth, node: str, at: int) -> dict[str, Any]:
    """A record of the topic `sparkplug-births`; `node`: the gateway that heard it."""
    kind, sender, device = birth.speaker
    return {
        "birth_key": f"{birth.tenant}/{birth.speaker.id}",
        "tenant_id": birth.tenant,
        "topic": sender.topic(kind, device),
        "payload": birth.payload,
        "node": node,
        "heard_at": at,
    }


class Nodes:
    """What it knows is a function of what it heard, and of the times at which that came."""

    def __init__(self, *, in_order: bool = True, most_nodes: int = MOST_NODES, most_bytes: int = MOST_BYTES) -> None:
        """`in_order`: all that a node sends comes here; not so where gateways share a subscription, and no gap can be told."""
        self._in_order, self._most_nodes, self._most_bytes = in_order, most_nodes, most_bytes
        self._sessions: dict[str, dict[Node, Session]] = {}
        self._bytes: dict[str, int] = {}
        self._wanting: dict[tuple[str, Node], Session] = {}

    def hear(self, tenant: str, speaker: Speaker, payload: bytes, at: int) -> tuple[Heard, Birth | None]:
        """Take a message of a node or device in, and what has to be kept of it. Raises protobuf's DecodeError."""
        kind, node, device = speaker
        message = PAYLOAD.FromString(payload)
        known = self._sessions.get(tenant, {}).get(node)
        if kind is Kind.NDEATH and known is None:
            return Session(node).hear(kind, device, message, 0, at), None
        session = self._session(tenant, node, known, born=kind is Kind.NBIRTH)
        before = session.bytes
        heard = session.hear(kind, device, message, hash(payload), at, in_order=self._in_order)
        self._account(tenant, session, session.bytes - before)
        return heard, Birth(tenant, speaker, stripped(message)) if heard.is_birth else None

    def recall(self, birth: Birth, *, fresh: bool) -> None:
        """Take up a birth that was kept. Raises protobuf's DecodeError."""
        kind, node, device = birth.speaker
        message = PAYLOAD.FromString(birth.payload)
        session = self._session(birth.tenant, node, self._sessions.get(birth.tenant, {}).get(node), born=kind is Kind.NBIRTH)
        before = session.bytes
        session.recall(kind, device, message, fresh=fresh)
        self._account(birth.tenant, session, session.bytes - before)

    def asked(self, now: int, most: int) -> Iterator[Node]:
        """Nodes that are to be asked for another birth now, at most so many; then they were."""
        for key, session in [*self._wanting.items()]:
            if most <= 0:
                return
            if not session.wants:
                del self._wanting[key]
            elif session.asks(now):
                most -= 1
                yield session.node

    def __len__(self) -> int:
        return sum(map(len, self._sessions.values()))

    def _session(self, tenant: str, node: Node, known: Session | None, *, born: bool) -> Session:
        """That of a node; one that is born is the youngest."""
        sessions = self._sessions.setdefault(tenant, {})
        if known is None:
            known = sessions[node] = Session(node)
            self._bytes[tenant] = self._bytes.get(tenant, 0) + known.bytes
        elif born:
            sessions[node] = sessions.pop(node)
        return known

    def _account(self, tenant: str, session: Session, more: int) -> None:
        self._bytes[tenant] += more
        sessions = self._sessions[tenant]
        while len(sessions) > 1 and (len(sessions) > self._most_nodes or self._bytes[tenant] > self._most_bytes):
            oldest = sessions.pop(next(iter(sessions)))
            self._bytes[tenant] -= oldest.bytes
            self._wanting.pop((tenant, oldest.node), None)
        if session.wants and session.node in sessions:
            self._wanting[tenant, session.node] = session


def rebirth(at: int) -> bytes:
    """The payload that asks a node for another birth, section 6.4.20: an NCMD has no sequence number."""
    message = PAYLOAD(timestamp=at)
    message.metrics.add(name=REBIRTH.encode(), timestamp=at, datatype=DataType.BOOLEAN, boolean_value=True)
    return bytes(message.SerializeToString())
