"""What a gateway's `/ready` asks."""

from collections.abc import Mapping

from streams.dispatch import Dispatching
from streams.gate import Gate
from streams.ingest import Ingest
from streams.subscription import Session
from streams.web import Check, State


def checks(session: Session, ingest: Ingest, dispatching: Dispatching, gate: Gate) -> Mapping[str, Check]:
    """By name."""

    def mqtt() -> State:
        """Whether messages can come; a session that another gateway took, too, is not ours."""
        return State(session.subscribed, {"client_id": session.client_id, "received": ingest.received})

    def commands() -> State:
        """Whether commands can reach machines."""
        return State(dispatching.publisher.connected.is_set(), {"unsettled": dispatching.inbox.unsettled})

    def schemas() -> State:
        """Whether every schema that messages name is known; messages of others go on."""
        return State(not ingest.waiting, {"known": len(ingest.app.writers.known), "waiting": ingest.waiting})

    def spool() -> State:
        """Whether what devices send is taken; what Kafka has yet to get lies on the disk, and is no reason to send nothing."""
        return State(not gate.keeping.is_full, {"messages": gate.keeping.spool.rows.total(), "bytes": gate.keeping.spool.bytes.total()})

    return {"spool": spool, "mqtt": mqtt, "commands": commands, "schemas": schemas}
