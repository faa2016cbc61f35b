"""What the simulated city proves itself by where devices need a credential: one of its own, taken back at the end."""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from confluent_kafka import KafkaException

from agents.gateway.identity import Credential, Kind, digest
from deploy.patience import answered
from schemas.catalog import CREDENTIALS
from schemas.registry import RegistryDown
from streams import operators
from streams.producer import DeliveryFailed
from streams.settings import Settings

DEVICE: Final = "headrace-demo"
TOKEN_BYTES: Final = 32
LAST_SECONDS: Final = 10.0
"""For a Kafka that may have ended."""
AWAY: Final = (KafkaException, RegistryDown, DeliveryFailed)
"""What is raised where Kafka or the registry does not answer in time."""


@contextmanager
def credential(ours: Settings, report: Callable[[str], None]) -> Iterator[str]:
    """Inside, a token for all simulated devices; empty where nobody needs one: the first would lock all others out."""
    if ours.tenant not in set(answered(lambda: operators.latest(CREDENTIALS), AWAY, report)["tenant"]):
        yield ""
        return
    token = secrets.token_urlsafe(TOKEN_BYTES)
    ours_alone = Credential(tenant=ours.tenant, device=DEVICE, kind=Kind.TOKEN, name="demo", secret=digest(token), publish="#")
    answered(lambda: _apply(ours, ours_alone), AWAY, report)
    try:
        yield token
    finally:
        try:
            answered(lambda: _apply(ours, ours_alone.model_copy(update={"revoked": True})), AWAY, report, LAST_SECONDS)
        except AWAY:
            report(f"the simulated city's credential stands: take it back with `headrace device revoke {DEVICE}`")


def _apply(ours: Settings, one: Credential) -> None:
    asyncio.run(operators.apply(ours, CREDENTIALS, f"{one.tenant}/{one.device}", [one]))
