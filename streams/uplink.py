"""`faust -A streams.uplink worker`: runs in a plant and carries its aggregates to the centre; everything else stays in the plant."""

from schemas.catalog import CONTRACTS
from streams.assembly import App
from streams.centre import Centre
from streams.forwarding import Forwarding

app = App("uplink", web_port=6070)

centre = Centre(app)
forwardings = [Forwarding(app, centre, contract) for contract in CONTRACTS.values() if contract.central]
