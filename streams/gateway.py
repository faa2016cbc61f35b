"""`faust -A streams.gateway worker`: what devices send in, sensor readings and messages out; commands in, to the machines."""

from typing import Final

from agents.gateway.answers import ANSWERS
from agents.gateway.place import Place
from schemas.catalog import COMMANDS
from streams import api, orders, registry
from streams.access import named
from streams.assembly import App
from streams.clock import now_ms
from streams.dispatch import Dispatching
from streams.filters import Filters
from streams.fleet import fleet
from streams.gate import Gate
from streams.gateway_checks import checks
from streams.groups import Groups
from streams.inbox import Inbox
from streams.ingest import Ingest
from streams.ingress.edge_nodes import EdgeNodes
from streams.listeners import listen
from streams.mappings import Mappings
from streams.publisher import Publisher
from streams.reaching import Reaching
from streams.settings import settings
from streams.subscription import SHARED_BY, Session

GROUP: Final = "gateway"

app = App("gateway", web_port=6068)
app.producer_only = True  # Faust consumes nothing: it has no group to join, no assignment to wait for

ours = settings()
NODE: Final = f"gateway-{ours.instance or '0'}"

tenants = frozenset(filter(None, ours.tenants.split(",")))
place = Place(NODE, f"{now_ms():x}", ours.tenant, tenants, fleet(NODE), hears_all=not ours.instance)
mappings = Mappings(app, place)
gate = Gate(app, place, ours.data / "spool" / f"{NODE}.sqlite")
# The broker knows a gateway by its name: with another one it would keep the messages for a gateway that never comes back.
noted = Filters(ours.data / "spool" / f"{NODE}.filters.json")
session = Session(ours.mqtt, NODE, ours.mqtt_topics, named(SHARED_BY) if ours.instance else "", noted)
publisher = Publisher(ours.mqtt, ANSWERS)
ingest = Ingest(app, session, gate, publisher)
EdgeNodes(app, place, publisher)
dispatching = Dispatching(app, Inbox(ours.kafka, COMMANDS, GROUP), publisher)
reaching = Reaching(app, place, gate, dispatching)
api.mount(app, *registry.keep(app, place, session), *orders.questions(reaching, Groups(app)))
listen(app, gate, reaching)
app.checks |= checks(session, ingest, dispatching, gate)
