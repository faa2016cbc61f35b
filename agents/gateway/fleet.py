"""All devices a gateway knows: those registered, those it let in, and what the gateways together know of each."""

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from agents.devices.device_id import is_device_id
from agents.gateway.message import Source
from agents.gateway.presence import Presence, Status
from agents.gateway.registration import Registration, problem
from agents.gateway.terms import Policy, Terms

REPORT_MS: Final = 60_000
"""How far behind `last_seen` of the topic may be."""
GATEWAY_MS: Final = 30_000
"""A gateway that has said nothing of itself for so long is down, or Kafka does not bring it. It does every third of that."""
GATEWAY: Final = "gateway"
"""Device type of a gateway's record of itself."""
# Some 400 bytes each.
MOST_DEVICES: Final = 500_000


ONLY_DUPLICATES: Final = "its last {} messages were left out as duplicates: does its sequence start anew with each sleep?"


class Gateway(NamedTuple):
    """What a gateway last said of itself."""

    at: int
    hears: frozenset[str]
    """Protocols."""


class Fleet:
    """Devices by tenant and name. What it knows is in two topics and in what came here since: every gateway's is the same."""

    def __init__(self, node: str = "", terms: Terms | None = None, most: int = MOST_DEVICES) -> None:
        """`node`: the gateway's name; empty for who only looks."""
        self.node, self.terms = node, terms or Terms()
        self.devices: dict[tuple[str, str], Presence] = {}
        self.gateways: dict[str, Gateway] = {}
        self.started = False
        """Whether the topics are read to where they were at the start: from then on its own reports come back, and are no news."""
        self.outdated = False
        """Whether a device was registered that addresses made before have as unknown."""
        self._most = most
        self._strangers = False
        self._hears: dict[str, int] = {}
        """Since when, without a break, by protocol."""
        self._listened_at = 0

    # -- what comes

    def presence(self, tenant: str, device: str, kind: str) -> Presence:
        """That of a device a message came of; `kind`: its type if it is not registered, empty if the message does not tell."""
        found = self.devices.get((tenant, device))
        if found is None:
            found = Presence(tenant, device)
            self._admit(found)
            if found.barred is None and len(self.devices) < self._most:
                self.devices[tenant, device] = found
            else:
                self._strangers = True
        found.kind = found.kind or kind
        return found

    def register(self, records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        """Take records of `devices`, in their order; what is wrong with those that cannot be."""
        for record in records:
            try:
                registration = Registration.of(record)
            except ValidationError as wrong:
                yield f"{record['device_key'][:300]}: {problem(wrong)}"
                continue
            known = self._known(registration.tenant_id, registration.device_id)
            known.registration = registration
            self._admit(known)

    def hear(self, reports: Iterable[Mapping[str, Any]]) -> None:
        """Take records of `device-presence`, in their order."""
        for report in reports:
            node, ours = report["node"], report["node"] == self.node
            if not report["tenant_id"]:
                self.gateways[node] = Gateway(report["last_seen"], frozenset(filter(None, report["protocol"].split(","))))
            elif not (ours and self.started) and is_device_id(report["device_id"]):
                # what was let in under an older rule could never be taken out of service
                known = self._known(report["tenant_id"], report["device_id"])
                known.hear(report, ours=ours)
                self._admit(known)

    def listen(self, protocols: Set[str], now: int) -> dict[str, Any]:
        """Note what this gateway hears now, every few seconds; its record of itself for the topic."""
        if not 0 <= now - self._listened_at < GATEWAY_MS:  # it hung, or the clock was set
            self._hears.clear()
        self._listened_at = now
        self._hears = {protocol: self._hears.get(protocol, now) for protocol in protocols}
        return self._record(
            "", self.node, GATEWAY, ",".join(sorted(protocols)), Status.ONLINE, (min(self._hears.values(), default=now), now), now
        )

    # -- what is told

    def due(self, some: Iterable[Presence], now: int) -> list[dict[str, Any]]:
        """Records for the topic, of those devices of which it is behind."""
        rows = []
        for each in some:
            if each.seen_at:
                each.fold()
            elif each.status is not Status.ONLINE and not each.offline_at:
                continue
            if each.barred is not None or not (each.last_seen or each.offline_at):
                continue
            status = self._status(each, now)
            if status is not each.status or each.last_seen - each.reported_seen >= REPORT_MS:
                if status is not each.status:
                    each.since = each.offline_at if status is Status.OFFLINE else each.last_seen
                each.status, each.reported_seen, each.enrolled = status, each.last_seen, True
                seen = (each.first_seen, each.last_seen)
                rows.append(self._record(each.tenant, each.device, each.type, each.source, status, seen, now, each.since))
        return rows

    def shown(self, each: Presence, now: int) -> tuple[Status, str]:
        """How a device is, as far as can be said, and why."""
        if each.seen_at or (each.status is Status.ONLINE and not each.offline_at):
            why = self._unwatched(each, now)
            return (Status.UNWATCHED, why) if why else (Status.ONLINE, ONLY_DUPLICATES.format(each.repeats) if each.repeats_only else "")
        if each.offline_at:
            return Status.OFFLINE, "it said so, or its last will did"
        if each.status is Status.SILENT:
            return Status.SILENT, f"nothing for more than {self.terms.patience_ms(each.type) // 1000} s while its gateway listened"
        return each.status, "nothing has come of it yet" if each.status is Status.UNSEEN else ""

    def _status(self, each: Presence, now: int) -> Status:
        if each.offline_at:
            return Status.OFFLINE
        if self._is_silent(each, now):
            return Status.SILENT
        news = each.last_seen > each.reported_seen or each.status is not Status.SILENT
        return Status.ONLINE if news else Status.SILENT

    def _is_silent(self, each: Presence, now: int) -> bool:
        """Only time counts in which this gateway would have heard it."""
        since = self._hears.get(each.source)
        if since is None:
            return False
        late = 0
        if not each.here:
            # a shared subscription brings it to any gateway, other protocols to the one it speaks to
            if each.source != Source.MQTT or self._lags(now):
                return False
            late = REPORT_MS
        return now - max(each.last_seen + late, since) > self.terms.patience_ms(each.type)

    def _unwatched(self, each: Presence, now: int) -> str:
        node = self.node if each.here or each.seen_at else each.node
        if self.started and self._lags(now):
            return "Kafka is behind: this gateway's own reports do not come back"
        if each.source == Source.MQTT and any(
            Source.MQTT in there.hears for there in self.gateways.values() if now - there.at <= GATEWAY_MS
        ):
            return ""
        there = self.gateways.get(node, Gateway(0, frozenset()))
        if now - there.at > GATEWAY_MS:
            return f"{node or 'its gateway'} is down: it has said nothing for {(now - there.at) // 1000} s"
        return "" if each.source in there.hears else f"{node} hears nothing over {each.source or 'any protocol'}"

    def _lags(self, now: int) -> bool:
        ours = self.gateways.get(self.node)
        return ours is None or now - ours.at > GATEWAY_MS

    # -- who is let in

    def _known(self, tenant: str, device: str) -> Presence:
        found = self.devices.get((tenant, device))
        if found is None:
            found = self.devices[tenant, device] = Presence(tenant, device)
            self.outdated |= self._strangers
        return found

    def _admit(self, each: Presence) -> None:
        policy = self.terms.policy(each.tenant)
        if each.registration is None:
            each.barred = None if each.enrolled or policy is Policy.ACCEPT else policy
        elif each.registration.retired:
            # nothing that is out of service comes back by itself, and nothing it says is lost without a word
            each.barred = Policy.QUARANTINE if policy is Policy.ACCEPT else policy
        else:
            each.barred = None

    def _record(
        self, tenant: str, device: str, kind: str, source: str, status: Status, seen: tuple[int, int], now: int, since: int = 0
    ) -> dict[str, Any]:
        return {
            "device_key": f"{tenant}/{device}",
            "tenant_id": tenant,
            "device_id": device,
            "device_type": kind,
            "protocol": source,
            "first_seen": seen[0],
            "last_seen": seen[1],
            "status": str(status),
            "since": since or seen[0],
            "node": self.node,
            "reported_at": now,
        }
