"""The gateway's listeners: whichever protocols the settings give an address."""

from agents.gateway.message import Source
from schemas.catalog import CREDENTIALS
from streams import operators
from streams.assembly import App
from streams.certificates import Certificates
from streams.coap_listener import CoapListener
from streams.door import Door
from streams.gate import Gate
from streams.http_listener import HttpListener
from streams.listening import require_safe
from streams.reaching import Reaching
from streams.settings import settings
from streams.websocket_listener import WebSocketListener


def listening() -> set[Source]:
    """Over which protocols the gateway listens itself."""
    ours = settings()
    addresses = {Source.HTTP: ours.gateway_http, Source.WEBSOCKET: ours.gateway_websocket, Source.COAP: ours.gateway_coap}
    return {source for source, address in addresses.items() if address}


def listen(app: App, gate: Gate, reaching: Reaching) -> None:
    """Have a gateway take messages in over them, and give commands out.

    They start after what `app` has already, and stop before it: call this last.
    """
    ours = settings()
    addresses = {HttpListener: ours.gateway_http, WebSocketListener: ours.gateway_websocket, CoapListener: ours.gateway_coap}
    open_ = {listener: address for listener, address in addresses.items() if address}
    if not open_:
        return

    def check(*_: object, **__: object) -> None:
        require_safe([*open_.values()], lambda: not operators.latest(CREDENTIALS)["revoked"].all())

    app.on_worker_init.connect(check, weak=False)
    certificates, door = Certificates(app), Door(app, gate)
    for listener, address in open_.items():
        listener(app, door, reaching, certificates, address)
