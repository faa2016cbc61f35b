"""Who a device is: the credentials operators gave out, by what each is known, and what its holder may publish."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from hashlib import blake2b, sha256
from typing import Any, Final

from paho.mqtt.matcher import MQTTMatcher
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from agents.devices.device_id import DeviceId
from agents.gateway.sparkplug.names import NAMESPACE, is_under, named
from schemas.bounds import TOPIC_CHARACTERS

PUBLISH: Final = "+/{device}/#"
"""What a device may publish unless its credential says otherwise: topics that name it in their second level.

An edge node of Sparkplug, `group~node`, may publish to its topics of that namespace, too, and those of devices under it.
"""
_DEVICE: Final = "{device}"


class Kind(StrEnum):
    """How a credential is proved."""

    PASSWORD = "password"
    TOKEN = "token"
    CERTIFICATE = "certificate"


class Credential(BaseModel):
    """One way for a device to prove who it is; `<tenant>/<device>/<name>` keys it in the topic `credentials`."""

    model_config = ConfigDict(frozen=True, ignored_types=(cached_property,))

    tenant: str = Field(pattern=r"^[a-zA-Z0-9._-]{1,60}$")
    device: DeviceId
    kind: Kind
    name: str = Field(min_length=1, max_length=300)
    """Tells those of one device apart."""
    secret: str = Field(min_length=1)
    """What it is proved by: a password's Argon2 hash, a token's SHA-256 in hexadecimal, a certificate's subject (`CN=lamp-7`)."""
    mosquitto: str = ""
    """What a password or token is proved by at Mosquitto, as its password file takes it."""
    publish: str = PUBLISH
    """MQTT topic filters, separated by spaces; `{device}` stands for the device's id."""
    revoked: bool = False

    @field_validator("publish")
    @classmethod
    def _are_filters(cls, publish: str) -> str:
        for pattern in publish.split():
            levels = pattern.split("/")
            if any(len(level) > 1 and ("+" in level or "#" in level) for level in levels) or "#" in levels[:-1]:
                raise ValueError(f"{pattern!r}: + and # stand for whole levels, and # for the last ones")
        return publish

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Credential":
        """The credential of a record of the topic. Raises pydantic's ValidationError."""
        return cls.model_validate({name: record[name] for name in cls.model_fields})

    @property
    def known_by(self) -> tuple[Kind, str]:
        """What finds it when somebody comes: a user's name, or what it is proved by."""
        return self.kind, f"{self.tenant}/{self.device}" if self.kind is Kind.PASSWORD else self.secret

    @property
    def filters(self) -> list[str]:
        """MQTT topic filters of what it may publish."""
        return [*self._held_to]

    @property
    def is_default(self) -> bool:
        """Whether all it may publish is what any device may."""
        return self.publish == PUBLISH

    @cached_property
    def _held_to(self) -> Mapping[str, str]:
        """By filter the device that the messages have to be of; empty: a filter that names others, or nobody, speaks for these."""
        found = {}
        for pattern in self.publish.split():
            held = _DEVICE in pattern.split("/") and not pattern.startswith(f"{NAMESPACE}/")
            found[pattern.replace(_DEVICE, self.device)] = self.device if held else ""
            if pattern == PUBLISH and (node := named(self.device)):
                found |= dict.fromkeys(
                    (f"{NAMESPACE}/{node.group}/+/{node.node}", f"{NAMESPACE}/{node.group}/+/{node.node}/+"), self.device
                )
        return found

    @cached_property
    def _matcher(self) -> MQTTMatcher:
        matcher = MQTTMatcher()  # type: ignore[no-untyped-call]
        for pattern, held_to in self._held_to.items():
            matcher[pattern] = held_to
        return matcher

    def may_publish(self, topic: str, mapped: str = "") -> bool:
        """Whether one of its filters matches the topic, as an MQTT broker would say, and the mapping finds no other device than it.

        `mapped`: that device; empty where the topic maps to none. A filter without `{device}` as a level speaks for any.
        """
        held_to = self._matcher.iter_match(topic)  # type: ignore[no-untyped-call]
        return any(not device or not mapped or is_under(mapped, device) for device in held_to)


def digest(token: str) -> str:
    """What is kept of a token. It is as long as its hash, so nobody finds it by trying: no salt, no slow hash."""
    return sha256(token.encode()).hexdigest()


def subjects(certificate: Mapping[str, Any]) -> list[str]:
    """By what a verified certificate, as Python's ssl gives it, is known: `CN=…` and its alternative names, `DNS=…` or `URI=…`."""
    names = [f"CN={value}" for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    return names + [f"{key}={value}" for key, value in certificate.get("subjectAltName", ())]


def problem(topic: str) -> str | None:
    """Why nothing can be published to a topic; None if something can."""
    if not 1 <= len(topic) <= TOPIC_CHARACTERS:
        return f"a topic has 1 to {TOPIC_CHARACTERS} characters, not {len(topic)}"
    if "+" in topic or "#" in topic:
        return f"{topic[:200]!r} is no topic: wildcards are for those who read"
    if topic.startswith("$"):
        return f"{topic[:200]!r} is no topic of devices: those that begin with $ are the MQTT broker's own"
    if not topic.isprintable():
        return f"{topic[:200]!r} is no topic: it has a character that cannot be printed"
    return None


class Identities:
    """The credentials there are. What does not fit is said, and what was before it stays."""

    def __init__(self) -> None:
        self._known: dict[str, Credential] = {}
        self._found: dict[tuple[Kind, str], Credential] = {}
        self._tenants: set[str] = set()

    def take(self, records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        """Take records of the topic in, in their order; what is wrong with those that cannot be."""
        for record in records:
            try:
                credential = Credential.of(record)
            except ValidationError as wrong:
                # without the record: it holds secrets
                yield f"{record['credential_id'][:200]}: {wrong.errors(include_input=False)[0]['msg']}"
                continue
            before = self._known.get(record["credential_id"])
            if before is not None and self._found.get(before.known_by) is before:
                del self._found[before.known_by]
            self._known[record["credential_id"]] = credential
            self._tenants.add(credential.tenant)
            if not credential.revoked:
                self._found[credential.known_by] = credential

    def find(self, kind: Kind, names: Sequence[str]) -> Credential | None:
        """The credential known by one of the names: `<tenant>/<device>` of a password, a token's digest, a certificate's subjects."""
        return next((found for name in names if (found := self._found.get((kind, name)))), None)

    def stands(self, credential: Credential) -> bool:
        """Whether a credential is still the one in force."""
        return self._found.get(credential.known_by) is credential

    def guarded(self, tenant: str) -> bool:
        """Whether a tenant ever had a credential. One that revoked its last is not open again."""
        return tenant in self._tenants


class Remembered:
    """Passwords that proved right lately, by a keyed digest: a slow hash is for whoever steals the topic, not for every message."""

    def __init__(self, key: bytes, seconds: float = 600, most: int = 100_000) -> None:
        """`key`: random, of this process. Each takes some 150 bytes."""
        self._key, self._seconds, self._most = key, seconds, most
        self._until: dict[bytes, float] = {}

    def knows(self, credential: Credential, password: str, now: float) -> bool:
        """Whether it proved right within the time; `now` in seconds of any clock that does not go back."""
        return self._until.get(self._mark(credential, password), now) > now

    def keep(self, credential: Credential, password: str, now: float) -> None:
        """It has proved right."""
        mark = self._mark(credential, password)
        self._until.pop(mark, None)
        self._until[mark] = now + self._seconds
        if len(self._until) > self._most:
            del self._until[next(iter(self._until))]

    def _mark(self, credential: Credential, password: str) -> bytes:
        # with its hash: under a new one the old password is not known
        return blake2b(f"{credential.secret}\0{password}".encode(), key=self._key, digest_size=16).digest()
