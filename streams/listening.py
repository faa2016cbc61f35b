"""Where the gateway listens, and on what terms: nobody else's machine reaches it without TLS and credentials."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from schemas.bounds import PAYLOAD_BYTES
from streams.assembly import NotReady
from streams.settings import settings
from streams.worker.loopback import is_loopback

STOP_SECONDS: Final = 10.0
"""How long stopping waits until what is in hand is answered; who gets no answer sends again."""
MAX_BYTES: Final = PAYLOAD_BYTES


class Place(NamedTuple):
    """An address to listen on."""

    host: str
    port: int

    @classmethod
    def of(cls, address: str) -> "Place":
        """That of a setting, host:port."""
        host, _, port = address.rpartition(":")
        return cls(host.strip("[]"), int(port))

    @property
    def local(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)


@contextmanager
def binding(place: Place, setting: str) -> Iterator[None]:
    """While a listener binds to its address. Raises NotReady, with what to do, where that cannot be."""
    try:
        yield
    except OSError as error:
        raise NotReady(
            f"The gateway cannot listen on {place.host}:{place.port}, {error.strerror or error}: "
            f"stop what listens there, or set {setting} to an address of this machine that is free."
        ) from error


def require_safe(addresses: Sequence[str], anybody: Callable[[], bool]) -> None:
    """Refuse to listen where others reach it without a certificate, or before `anybody` could come in. Raises NotReady."""
    public = [address for address in addresses if not Place.of(address).local]
    if public and not settings().gateway_certificate:
        raise NotReady(
            f"The gateway is to listen on {', '.join(public)}, which others can reach: set HEADRACE_GATEWAY_CERTIFICATE and "
            "HEADRACE_GATEWAY_KEY to PEM files, or let it listen on 127.0.0.1."
        )
    if public and not anybody():
        raise NotReady(
            f"The gateway is to listen on {', '.join(public)}, and no device has a credential: headrace device token <device> makes one."
        )
