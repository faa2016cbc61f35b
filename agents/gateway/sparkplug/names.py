"""Who speaks on a Sparkplug topic, and what Headrace calls them: an edge node is `group~node`, a device of it `group~node~device`."""

from enum import StrEnum
from typing import Final, NamedTuple

NAMESPACE: Final = "spBv1.0"
"""First level of its MQTT topics: namespace/group/message type/edge node[/device]."""
UNDER: Final = "~"
"""Between the names of an edge node and of a device under it."""
_ESCAPE: Final = "="
_PLAIN: Final = frozenset("._-@")


class Kind(StrEnum):
    """Message types, section 4.2."""

    NBIRTH = "NBIRTH"
    NDEATH = "NDEATH"
    DBIRTH = "DBIRTH"
    DDEATH = "DDEATH"
    NDATA = "NDATA"
    DDATA = "DDATA"
    NCMD = "NCMD"
    DCMD = "DCMD"
    STATE = "STATE"

    @property
    def of_host(self) -> bool:
        """Whether a host says it, to nodes or of itself: it is nobody's data."""
        return self in (Kind.NCMD, Kind.DCMD, Kind.STATE)

    @property
    def is_death(self) -> bool:
        """Whether it says that somebody is gone."""
        return self in (Kind.NDEATH, Kind.DDEATH)

    @property
    def of_device(self) -> bool:
        """Whether the topic names a device under the node."""
        return self.startswith("D")


class Node(NamedTuple):
    """An edge node."""

    group: str
    node: str

    def id_of(self, device: str = "") -> str:
        """What the node is called here, or a device under it: distinct ones have distinct ids, which any id may be."""
        return UNDER.join(map(escaped, (self.group, self.node, device) if device else (self.group, self.node)))

    def topic(self, kind: Kind, device: str = "") -> str:
        """The MQTT topic of messages of that type, for or from the node or a device under it."""
        return "/".join((NAMESPACE, self.group, kind, self.node, *([device] if device else [])))


class Speaker(NamedTuple):
    """Who a message is from, or to."""

    kind: Kind
    node: Node
    device: str
    """Empty: the node itself."""

    @property
    def id(self) -> str:
        """What it is called here; a host by its own name."""
        return self.node.id_of(self.device) if self.node.group else escaped(self.node.node)


def speaker(topic: str) -> Speaker | None:
    """Who speaks on an MQTT topic; None where it is not of the namespace. Raises ValueError where it is and cannot be."""
    namespace, *levels = topic.split("/")
    of_host = [namespace, *levels] if namespace == Kind.STATE else levels  # version 2.2 had STATE outside of the namespace
    if namespace != NAMESPACE and of_host is levels:
        return None
    if len(of_host) == 2 and of_host[0] == Kind.STATE and of_host[1]:
        return Speaker(Kind.STATE, Node("", of_host[1]), "")
    if of_host is not levels:
        return None
    kind = Kind.__members__.get(levels[1]) if len(levels) > 1 else None
    if kind is None or not all(levels) or len(levels) != (4 if kind.of_device else 3):
        raise ValueError(f"{NAMESPACE}/<group>/<message type>/<edge node>, and /<device> for a message type of devices")
    return Speaker(kind, Node(levels[0], levels[2]), levels[3] if kind.of_device else "")


def named(device_id: str) -> Node | None:
    """The edge node that has an id; None where it is no edge node's."""
    parts = device_id.split(UNDER)
    if len(parts) != 2 or not all(parts):
        return None
    try:
        group, node = map(_unescaped, parts)
    except ValueError:
        return None
    # what is escaped may be anything, and is to be neither a wildcard of a filter nor a line of a file
    is_name = all(each.isprintable() and not set(each) & set("+/#") for each in (group, node))
    return found if is_name and (found := Node(group, node)).id_of() == device_id else None


def is_under(device_id: str, other: str) -> bool:
    """Whether a device is the other one, or one that is under it: what that one speaks for."""
    return device_id == other or device_id.startswith(f"{other}{UNDER}")


def escaped(name: str) -> str:
    """A name of Sparkplug, in which any character but `/+#` may be, as a part of an id: others than letters and digits as `=` and hex."""
    if name.isascii() and name.isalnum():
        return name
    return "".join(char if char.isalnum() or char in _PLAIN else "".join(f"{_ESCAPE}{byte:02X}" for byte in char.encode()) for char in name)


def _unescaped(part: str) -> str:
    plain, *escapes = part.split(_ESCAPE)
    return b"".join([plain.encode(), *(bytes.fromhex(each[:2]) + each[2:].encode() for each in escapes)]).decode()
