"""Mosquitto's files of who may come in and publish what, made of the devices' credentials: mosquitto.conf(5)."""

from collections.abc import Iterable, Iterator

from agents.gateway.commands import CITY, slow_down_topic, topic_of
from agents.gateway.identity import Credential
from agents.gateway.identity import Kind as Proof
from agents.gateway.readings import DOMAIN
from agents.gateway.sparkplug.names import NAMESPACE, Kind, named


def user(credential: Credential) -> str | None:
    """The name a device gives to Mosquitto; None where there can be none.

    A password's is `<tenant>/<device>`, a token's that and the token's name, a certificate's its common name.
    """
    if credential.kind is Proof.CERTIFICATE:
        attribute, _, name = credential.secret.partition("=")
        return name if attribute == "CN" else None
    name = "/".join((credential.tenant, credential.device, *([credential.name] if credential.kind is Proof.TOKEN else [])))
    return name if credential.mosquitto and ":" not in name else None


def passwords(credentials: Iterable[Credential]) -> str:
    """The password file: a line for each password and token."""
    return "".join(f"{name}:{each.mosquitto}\n" for each in credentials if each.mosquitto and (name := user(each)))


def _hears(device: str) -> Iterator[str]:
    """What a device is told, and an edge node of Sparkplug by hosts."""
    yield from filter(None, (topic_of({"domain": CITY, "device_id": device}), slow_down_topic(device)))
    if node := named(device):
        yield from (node.topic(Kind.NCMD), node.topic(Kind.DCMD, "+"), f"{NAMESPACE}/{Kind.STATE}/+")


def rules(credentials: Iterable[Credential], gateway: str) -> str:
    """The ACL file: a device publishes what its credential says and hears what it is told, the gateway everything."""
    paragraphs = [[f"user {gateway}", "topic readwrite #"]]
    for each in credentials:
        if name := user(each):
            may = [f"topic write {pattern}" for pattern in each.filters]
            # a machine is named by the third level there; a plant's name is no machine's right to speak for all of it
            may += [f"topic deny {DOMAIN}{each.device}/#"] if each.is_default else []
            may += [f"topic read {topic}" for topic in _hears(each.device)]
            paragraphs.append([f"user {name}", *may])
    return "\n".join("".join(f"{line}\n" for line in lines) for lines in paragraphs)
