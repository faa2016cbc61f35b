"""All devices' ways to the gateway, and what came back on them."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Final

import polars as pl

from agents.gateway.message import Source
from deploy.patience import Patience
from deploy.simulate.city.coap_lane import CoapLane
from deploy.simulate.city.fleet import MOST_CONNECTED
from deploy.simulate.city.http_lane import HUBS, HttpLane
from deploy.simulate.city.lanes import Lane, Lanes
from deploy.simulate.city.mqtt_link import Links
from deploy.simulate.city.outgoing import Outgoing, Pending, Sender, Settle, Unreachable
from deploy.simulate.city.truth import Truth
from deploy.simulate.city.websocket_lane import WebSocketLane
from streams.base.pem import defect
from streams.settings import Settings

ON_THEIR_WAY: Final = 20_000
"""Unanswered messages, from which on there is no room for more."""
HEARTBEAT: Final = "devices/{}/heartbeat"
_NEEDS: Final = {Source.HTTP: "gateway_http", Source.WEBSOCKET: "gateway_websocket", Source.COAP: "gateway_coap"}


def reachable(settings: Settings) -> list[Source]:
    """The protocols that the settings have an address for."""
    return [source for source in Source if source not in _NEEDS or getattr(settings, _NEEDS[source])]


class Air:
    """Takes the fleet's messages; a `delivery.Sink`."""

    def __init__(self, fleet: pl.DataFrame, truth: Truth, senders: Callable[[Source, Settle], Sender]) -> None:
        self._topics = fleet["topic"].to_list()
        self._ids = fleet["device_id"].to_list()
        self._qos = fleet["qos"].to_list()
        self._protocols = fleet["protocol"].to_list()
        self._truth = truth
        self._pending = Pending()
        self._senders = {name: senders(Source(name), self._settle) for name in fleet["protocol"].unique(maintain_order=True)}

    @property
    def pending(self) -> int:
        """Messages nobody has answered for."""
        return self._pending.count

    async def open(self) -> None:
        """Connect. Raises Unreachable."""
        for sender in self._senders.values():
            await sender.open()

    async def room(self) -> None:
        """Wait while too many messages are on their way."""
        await self._pending.at_most(ON_THEIR_WAY)

    async def send(self, records: pl.DataFrame) -> None:
        """Send messages (`device`, `number`, `payload`, `fault`), in order; wait for `room` before."""
        self._truth.delivered(records)
        self._pending.add(records.height)
        by_protocol: dict[str, list[Outgoing]] = {name: [] for name in self._senders}
        for device, number, payload, fault in records.select("device", "number", "payload", "fault").iter_rows():
            if fault == "heartbeat":
                message = Outgoing(device, number, HEARTBEAT.format(self._ids[device]), payload, 0, readable=True)
            else:
                message = Outgoing(device, number, self._topics[device], payload, self._qos[device], fault != "garbage")
            by_protocol[self._protocols[device]].append(message)
        for name, messages in by_protocol.items():
            self._senders[name].send(messages)

    async def reconnect(self) -> None:
        """Break every link at once."""
        for sender in self._senders.values():
            await sender.reconnect()

    async def finish(self, seconds: float) -> None:
        """Wait for the answers that are still to come until none comes for so long, and hang up."""
        await Patience(seconds).run_down(lambda: self.pending)
        await self.close()

    async def close(self) -> None:
        """Hang up."""
        for sender in self._senders.values():
            await sender.close()

    def _settle(self, message: Outgoing, verdict: str) -> None:
        self._pending.add(-1)
        self._truth.settled(message.number, self._protocols[message.device], verdict)


def senders(
    ours: Settings, counts: dict[str, int], connections: int, token: str, name: str, group: asyncio.TaskGroup
) -> Callable[[Source, Settle], Sender]:
    """What makes each protocol's sender for so many devices as `counts` says. It raises Unreachable where the settings have no address."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # a gateway's own certificate is trusted here, whoever made it
    try:
        tls = ssl.create_default_context(cafile=ours.gateway_certificate) if ours.gateway_certificate else None
    except OSError as error:
        raise Unreachable(f"HEADRACE_GATEWAY_CERTIFICATE: {defect(ours.gateway_certificate) or error}") from error

    def made(source: Source, settle: Settle) -> Sender:
        devices = counts[source]
        if source is Source.MQTT:
            return Links(ours.mqtt, min(connections, devices), name, settle, group)
        address = getattr(ours, _NEEDS[source])
        if not address:
            variable = f"HEADRACE_{_NEEDS[source].upper()}"
            raise Unreachable(f"{variable} says where the gateway takes messages over {source}, and is empty: set it, for both alike")
        secure = "s" if tls else ""
        lanes: Sequence[Lane]
        match source:
            case Source.HTTP:
                where = f"http{secure}://{address}/messages"
                lanes = [HttpLane(where, headers, tls) for _ in range(min(HUBS, devices))]
            case Source.WEBSOCKET:
                where = f"ws{secure}://{address}/messages"
                lanes = [WebSocketLane(where, headers, tls) for _ in range(min(MOST_CONNECTED, devices))]
            case _:
                where = f"coap://{address}"
                lanes = [CoapLane(where, token) for _ in range(min(MOST_CONNECTED, devices))]
        return Lanes(lanes, settle, group, where)

    return made
