"""What a gateway is and knows, and so where the messages of a topic go."""

from collections.abc import Mapping, Set
from typing import Final, NamedTuple

from agents.gateway.fleet import Fleet
from agents.gateway.mapping import Priority, Routes, Target
from agents.gateway.presence import SIGNALS, STRANGERS, Presence, Signal
from agents.gateway.sparkplug.names import Kind, Node
from agents.gateway.sparkplug.nodes import Nodes
from agents.row_model import Unfit
from schemas.bounds import REMEMBERED_BYTES
from schemas.catalog import DEFAULT_TENANT, LIGHTS, QUARANTINE, in_kafka
from schemas.codec import Codec
from schemas.parts import part
from schemas.quoting import quoted

Header = tuple[str, bytes]
ENVELOPE: Final = LIGHTS.codec
"""All topics of messages share its schema."""
_REMEMBERED: Final = 200_000
_TYPES: Final = {
    "environment": "environment_sensor",
    "lighting": "street_light",
    "parking": "parking_sensor",
    "manhole": "manhole_cover",
    "traffic": "traffic_camera",
}
"""Device type by the data type of its messages (requirement document, case 2); of any other both are one."""


class Address(NamedTuple):
    """Where the messages go that are published to one topic by one tenant's devices."""

    target: Target
    tenant: str
    topic: str
    """Kafka's, with the name of the tenant."""
    key: bytes
    headers: list[Header]
    urgent: bool
    device: Presence
    """Kept up to date as messages come."""
    signal: Signal | None
    """Of what tells of the device alone."""
    whose: bytes
    """The envelope's `device_id` and `tenant_id` as they stand in a record."""
    origin: bytes
    """Its `original_topic`."""
    under: str = ""
    """The edge node of Sparkplug whose device it is."""


class Place:
    """One gateway."""

    def __init__(
        self,
        node: str,
        run: str,
        tenant: str,
        tenants: Set[str] = frozenset(),
        fleet: Fleet | None = None,
        *,
        hears_all: bool = True,
    ) -> None:
        """`run`: of this start of it, no two are the same. `tenant`: whose messages are that no other of `tenants` claims.

        `hears_all`: no other gateway shares its MQTT subscription.
        """
        self.node, self.run, self.tenant, self.tenants = node, run, tenant, tenants
        self.fleet = fleet or Fleet(node)
        self.filled: dict[str, set[str]] = {}
        """What devices' names were filled into Kafka's topics, see `Routes`."""
        self.routes = Routes(filled=self.filled)
        self.writers: Mapping[int, Codec] = {}
        self.nodes = Nodes(in_order=hears_all)
        """The edge nodes of Sparkplug B."""
        self.taken = 0
        """Messages so far: with node and run it names those that name themselves by nothing."""
        self._addresses: dict[tuple[str, str], Address] = {}
        self._named = 0
        """Characters of their topics together: devices choose how long those are."""

    def adopt(self, routes: Routes) -> None:
        """Map by other rows from now on."""
        self.routes = routes
        self._addresses.clear()
        self._named = 0

    def address(self, topic: str, proven: str) -> Address:
        """Where a message goes; `proven`: the tenant its sender is of, empty where it did not have to say. Raises Unfit."""
        found = self._addresses.get((topic, proven))
        if found is None:
            found = self._find(topic, proven)
            if not found.signal and not found.device.barred:
                self.routes.keep(found.target)
            elif found.target.is_made:
                return found  # its topic's name is not counted among those devices made: to be asked for again
            self._named += len(topic)
            if len(self._addresses) >= _REMEMBERED or self._named > REMEMBERED_BYTES:
                self._addresses.clear()
                self._named = len(topic)
            self._addresses[topic, proven] = found
        return found

    def speaks_as(self, topic: str, proven: str) -> str:
        """Which device's the messages of a topic are, without a trace of having been asked; empty if they go nowhere."""
        if (found := self._addresses.get((topic, proven))) is not None:
            return found.target.device_id
        try:
            return self.routes.target(topic).device_id
        except Unfit:
            return ""

    def named_at(self, node: Node, device: str = "") -> str:
        """What an edge node, or a device under it, is called by the mapping."""
        return self.speaks_as(node.topic(Kind.DDATA if device else Kind.NDATA, device), "")

    def tenant_at(self, topic: str) -> str:
        """Whose the messages of a topic are that nobody proved to be anybody's; the gateway's own if they go nowhere."""
        try:
            return self.address(topic, "").tenant
        except Unfit:
            return self.tenant

    def device_at(self, topic: str) -> str:
        """Which device's the messages of a topic are that nobody proved to be anybody's; empty if they go nowhere."""
        try:
            return self.address(topic, "").target.device_id
        except Unfit:
            return ""

    def aside(self, address: Address) -> Address:
        """Where the messages of that address go while nobody vouches for the device."""
        return address._replace(topic=in_kafka(address.tenant, QUARANTINE.topic), urgent=False)

    def tenant_of(self, device_id: str) -> str:
        """Whose a device is by its name, TENANT_TYPE_NUMBER; the gateway's own unless it says so."""
        prefix = device_id.partition("_")[0]
        return prefix if prefix in self.tenants else self.tenant

    def _find(self, topic: str, proven: str) -> Address:
        """As the sender proved, as the mapping says, or as the device is called: TENANT_TYPE_NUMBER (requirement document, case 2)."""
        target = self.routes.target(topic)
        tenant = proven or (target.tenant if target.tenant in self.tenants else self.tenant_of(target.device_id))
        if tenant == DEFAULT_TENANT and target.topic.partition(".")[0] in self.tenants - {tenant}:
            raise Unfit("topic", f"{quoted(topic)} maps to {target.topic}, a topic of another tenant")
        key = target.device_id.encode()
        headers = [("device_id", key), ("tenant_id", tenant.encode()), ("priority", target.priority.encode())]
        signal = _signal(target)
        if signal in STRANGERS:
            # what is said to a device, or of its end, makes none
            device = Presence(tenant, target.device_id)
        else:
            device = self.fleet.presence(tenant, target.device_id, "" if signal else _TYPES.get(target.data_type, target.data_type))
        urgent = target.priority == Priority.CRITICAL.name
        whose = part(ENVELOPE, device_id=target.device_id, tenant_id=tenant)
        origin = part(ENVELOPE, original_topic=topic)
        under = self.named_at(target.speaker.node) if target.speaker and target.speaker.device else ""
        return Address(target, tenant, in_kafka(tenant, target.topic), key, headers, urgent, device, signal, whose, origin, under)


def _signal(target: Target) -> Signal | None:
    """What its messages tell that are not kept; of Sparkplug's the topic says it, whatever the row."""
    if target.speaker is None:
        return SIGNALS.get(target.data_type)
    kind = target.speaker.kind
    return Signal.COMMAND if kind.of_host else Signal.DEATH if kind.is_death else None
