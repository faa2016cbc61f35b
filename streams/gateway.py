"""`faust -A streams.gateway worker`: what devices publish over MQTT in, sensor readings out; commands in, to the machines."""

from typing import Final

from agents.gateway.answers import ANSWERS
from agents.gateway.readings import SUBSCRIPTION
from schemas.catalog import COMMANDS
from streams.assembly import App
from streams.dispatch import Dispatching
from streams.inbox import Inbox
from streams.ingest import Ingest
from streams.publisher import Publisher
from streams.settings import settings
from streams.subscription import Session
from streams.web import State

GROUP: Final = "gateway"

app = App("gateway", web_port=6068)
app.producer_only = True  # Faust consumes nothing: it has no group to join, no assignment to wait for

# The broker knows a gateway by its name: with another one it would keep the messages for a gateway that never comes back.
session = Session(settings().mqtt, f"gateway-{settings().instance or '0'}", SUBSCRIPTION, GROUP)
ingest = Ingest(app, session)
dispatching = Dispatching(app, Inbox(settings().kafka, COMMANDS, GROUP), Publisher(settings().mqtt, ANSWERS))


def mqtt() -> State:
    """Whether messages can come; a session that another gateway took, too, is not ours."""
    return State(session.subscribed, {"client_id": session.client_id, "received": ingest.received})


def commands() -> State:
    """Whether commands can reach machines."""
    return State(dispatching.publisher.connected.is_set(), {"unsettled": dispatching.inbox.unsettled})


def schemas() -> State:
    """Whether every schema that messages name is known; messages of others go on."""
    return State(not ingest.waiting, {"known": len(app.writers.known), "waiting": ingest.waiting})


app.checks |= {"mqtt": mqtt, "commands": commands, "schemas": schemas}
