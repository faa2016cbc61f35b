"""The gateway's door for HTTP, WebSocket and CoAP: what a device may publish, and no faster than it may, goes to the gate."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from agents.gateway.identity import Credential
from agents.gateway.message import Message, Sender, Source, Verdict
from agents.gateway.rates import Rates
from agents.gateway.standing import Key
from streams.assembly import App
from streams.exposition import Sample
from streams.gate import Gate
from streams.logins import Claim, Logins
from streams.settings import settings


class Visitor(NamedTuple):
    """Who is at the door."""

    sender: Sender
    credential: Credential | None
    """None: anybody, on a loopback address of a tenant without any."""


class Door:
    """Each listener's way in."""

    def __init__(self, app: App, gate: Gate) -> None:
        """Run with `app`."""
        self._gate = gate
        self._logins = Logins(app)
        self._rates = Rates(settings().gateway_tenant_rate, settings().gateway_device_rate)
        self.turned_away: Counter[tuple[str, str]] = Counter()
        """Messages by protocol and reason, forbidden or rate; the gate knows nothing of them."""
        app.metrics.sources.append(self._samples)

    async def enter(self, claim: Claim, address: str, *, local: bool) -> Visitor:
        """Who it is. Raises Refused."""
        credential = await self._logins.identify(claim, address, local=local)
        if credential is None:
            return Visitor(Sender(settings().tenant), None)
        return Visitor(Sender(credential.tenant, credential.device), credential)

    async def accept(self, source: Source, visitor: Visitor, messages: Sequence[Message]) -> list[Verdict]:
        """What became of each, in their order; those beyond the sender's rate are FULL, and so are all that follow them."""
        allowed = [message for message in messages if self._may_publish(visitor, message.topic)]
        forbidden = len(messages) - len(allowed)
        passing = self._rates.admit(*visitor.sender, len(allowed), time.monotonic())
        self.turned_away[source, "forbidden"] += forbidden
        self.turned_away[source, "rate"] += len(allowed) - passing
        verdicts = await self._gate.accept(source, visitor.sender, allowed[:passing]) if passing else []
        verdicts += [Verdict.FULL] * (len(allowed) - passing)
        if not forbidden:
            return verdicts
        of_allowed = iter(verdicts)
        let_in = {id(message) for message in allowed}
        return [next(of_allowed) if id(message) in let_in else Verdict.FORBIDDEN for message in messages]

    def commanded(self, visitor: Visitor) -> Key | None:
        """The device whose commands a visitor may hear and answer: itself, while its credential stands."""
        credential = visitor.credential
        return (credential.tenant, credential.device) if credential and self._logins.identities.stands(credential) else None

    def _may_publish(self, visitor: Visitor, topic: str) -> bool:
        # asked each time: a connection lives longer than what it was opened with
        if visitor.credential is None:
            return not self._logins.identities.guarded(visitor.sender.tenant)
        return self._logins.identities.stands(visitor.credential) and visitor.credential.may_publish(
            topic, self._gate.place.speaks_as(topic, visitor.sender.tenant)
        )

    def _samples(self) -> Iterator[Sample]:
        for labels, messages in self.turned_away.items():
            yield Sample("headrace_turned_away_messages_total", labels, messages)
