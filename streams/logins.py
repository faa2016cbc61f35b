"""Devices prove who they are: what they come with, against the topic `credentials`, at a bounded cost however often they try."""

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Final, NamedTuple

import polars as pl

from agents.gateway.identity import Credential, Identities, Kind, Remembered, digest
from agents.gateway.rates import Buckets
from schemas.catalog import CREDENTIALS
from schemas.rejects import Reject
from streams.assembly import App
from streams.exposition import Sample
from streams.following import Following
from streams.passwords import fits, hashed
from streams.settings import settings

logger = logging.getLogger(__name__)

# What of the processor devices' first passwords may take from everything else.
HASHED_AT_ONCE: Final = 1
MOST_WAITING: Final = 500
"""Logins that wait for their turn, 10 s worth; others are told to come again."""
RETRY_SECONDS: Final = 10
# A person who mistypes, or a device with an old password: a few at once, then one in ten seconds.
NAME_TRIES: Final = 5
NAME_TRIES_PER_SECOND: Final = 0.1
# Thousands of devices may share an address; a right password gives its try back.
ADDRESS_TRIES: Final = 200
ADDRESS_TRIES_PER_SECOND: Final = 1.0


class Claim(NamedTuple):
    """What a device comes with. The first of these that is there counts, and no other."""

    subjects: Sequence[str] = ()
    """Of a certificate that TLS verified."""
    token: str = ""
    user: str = ""
    """`<tenant>/<device>`, or a device of the settings' tenant."""
    password: str = ""


class Refused(Exception):
    """The door stays shut. `retry_seconds`: 0 where trying again as it is does not help."""

    def __init__(self, problem: str, retry_seconds: int = 0) -> None:
        super().__init__(problem)
        self.retry_seconds = retry_seconds


def whose(address: str) -> str:
    """What tries are counted by: an address of IPv4, or the /64 of one of IPv6, which is a subscriber's least (RFC 6177)."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    return str(found.ipv4_mapped or ip_network((found, 64), strict=False))


class Logins:
    """Who may come in: the gateway's devices by their credentials, and on a loopback address anybody where a tenant never had one."""

    def __init__(self, app: App) -> None:
        """Run with `app`, before anything listens."""
        self.identities = Identities()
        self.counts: Counter[tuple[str, str]] = Counter()
        """By kind, or `anonymous`, and outcome: accepted, refused, limited."""
        self.unfit = 0
        self._remembered = Remembered(secrets.token_bytes(32))
        self._of_name = Buckets(NAME_TRIES_PER_SECOND, NAME_TRIES)
        self._of_address = Buckets(ADDRESS_TRIES_PER_SECOND, ADDRESS_TRIES)
        self._turn = asyncio.Semaphore(HASHED_AT_ONCE)
        self._waiting = 0
        # who asks for a device that is not there waits as long as for one that is
        self._decoy = hashed(secrets.token_hex())
        Following(app, CREDENTIALS, self._take)
        app.metrics.sources.append(self._samples)

    def _take(self, records: pl.DataFrame, rejects: Sequence[Reject]) -> None:
        problems = [f"{reject.reason}: {reject.detail}" for reject in rejects]
        problems += self.identities.take(records.iter_rows(named=True))
        self.unfit += len(problems)
        for problem in problems:
            logger.error("credential_unfit %s", problem)

    async def identify(self, claim: Claim, address: str, *, local: bool) -> Credential | None:
        """The credential a claim proves; None for anybody where that is enough. Raises Refused.

        `address`: the peer's; `local`: whether only this machine reaches the listener.
        """
        address = whose(address)
        if claim.subjects:
            return self._found(Kind.CERTIFICATE, claim.subjects, address)
        if claim.token:
            return self._found(Kind.TOKEN, [digest(claim.token)], address)
        if claim.user:
            return await self._by_password(claim, address)
        if local and not self.identities.guarded(settings().tenant):
            return None
        raise self._refusal("anonymous", "say who you are: a token, a user and password, or a client certificate")

    def _found(self, kind: Kind, names: Sequence[str], address: str) -> Credential:
        credential = self.identities.find(kind, names)
        if credential is None:
            limited = not self._of_address.room(address, 1, time.monotonic())
            self._of_address.take(address, not limited, time.monotonic())
            raise self._limited(kind) if limited else self._refusal(kind, f"this {kind} is not known")
        self.counts[kind, "accepted"] += 1
        return credential

    async def _by_password(self, claim: Claim, address: str) -> Credential:
        user = claim.user if "/" in claim.user else f"{settings().tenant}/{claim.user}"
        credential = self.identities.find(Kind.PASSWORD, [user])
        now = time.monotonic()
        if credential is None or not self._remembered.knows(credential, claim.password, now):
            name = (address, user)
            tries = self._of_name.room(name, 1, now) and self._of_address.room(address, 1, now)
            if not tries or self._waiting >= MOST_WAITING:
                raise self._limited(Kind.PASSWORD)
            self._of_name.take(name, 1, now)
            self._of_address.take(address, 1, now)
            if not await self._verify(credential.secret if credential else self._decoy, claim.password) or credential is None:
                raise self._refusal(Kind.PASSWORD, "user and password do not fit")
            now = time.monotonic()
            self._of_name.take(name, -1, now)
            self._of_address.take(address, -1, now)
            self._remembered.keep(credential, claim.password, now)
        self.counts[Kind.PASSWORD, "accepted"] += 1
        return credential

    async def _verify(self, secret: str, password: str) -> bool:
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(fits, secret, password)
        finally:
            self._waiting -= 1

    def _refusal(self, kind: str, problem: str) -> Refused:
        self.counts[kind, "refused"] += 1
        return Refused(problem)

    def _limited(self, kind: str) -> Refused:
        self.counts[kind, "limited"] += 1
        return Refused("too many tries", RETRY_SECONDS)

    def _samples(self) -> Iterator[Sample]:
        for labels, count in self.counts.items():
            yield Sample("headrace_gateway_logins_total", labels, count)
        yield Sample("headrace_unfit_credentials_total", (), self.unfit)
