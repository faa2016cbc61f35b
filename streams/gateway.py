"""`faust -A streams.gateway worker`: what devices publish over MQTT in, sensor readings out."""

from typing import Final

from agents.gateway.readings import SUBSCRIPTION
from schemas.catalog import READINGS
from streams.assembly import App
from streams.ingest import Ingest
from streams.settings import settings
from streams.subscription import Session
from streams.web import State

GROUP: Final = "gateway"

app = App("gateway", web_port=6068, reads=[], writes=[READINGS])
app.producer_only = True  # consumes nothing from Kafka: no group to join, no assignment to wait for

# The broker knows a gateway by its name: with another one it would keep the messages for a gateway that never comes back.
session = Session(settings().mqtt, f"gateway-{settings().instance or '0'}", SUBSCRIPTION, GROUP)
ingest = Ingest(app, session)


def mqtt() -> State:
    """Whether messages can come; a session that another gateway took, too, is not ours."""
    return State(session.subscribed, {"client_id": session.client_id, "received": ingest.received})


app.checks["mqtt"] = mqtt
