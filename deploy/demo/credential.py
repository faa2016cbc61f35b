"""What the simulated city proves itself by where devices need a credential: one of its own, taken back at the end."""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from agents.gateway.identity import Credential, Kind, digest
from schemas.catalog import CREDENTIALS
from streams import operators
from streams.settings import Settings

DEVICE: Final = "headrace-demo"
TOKEN_BYTES: Final = 32


@contextmanager
def credential(ours: Settings) -> Iterator[str]:
    """Inside, a token that lets all simulated devices in; empty where nobody needs one: the first would lock all others out."""
    if ours.tenant not in set(operators.latest(CREDENTIALS)["tenant"]):
        yield ""
        return
    token = secrets.token_urlsafe(TOKEN_BYTES)
    ours_alone = Credential(tenant=ours.tenant, device=DEVICE, kind=Kind.TOKEN, name="demo", secret=digest(token), publish="#")
    _apply(ours, ours_alone)
    try:
        yield token
    finally:
        _apply(ours, ours_alone.model_copy(update={"revoked": True}))


def _apply(ours: Settings, one: Credential) -> None:
    asyncio.run(operators.apply(ours, CREDENTIALS, f"{one.tenant}/{one.device}", [one]))
