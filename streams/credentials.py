"""How this process comes into Kafka by aiokafka, which is Faust's way, too."""

import ssl
from typing import Any, cast

from faust.auth import SASLCredentials, SSLCredentials
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from faust.types.auth import CredentialsT

from streams.access import MECHANISM
from streams.settings import settings


def credentials() -> CredentialsT | None:
    """As Faust takes them; None where Kafka is spoken to in plain text by nobody in particular."""
    ours = settings()
    context = ssl.create_default_context(cafile=ours.kafka_ca) if ours.kafka_ca else None
    if ours.kafka_user:
        secret = ours.kafka_password.get_secret_value()
        return SASLCredentials(username=ours.kafka_user, password=secret, ssl_context=context, mechanism=MECHANISM)
    return SSLCredentials(context=context) if context else None


def arguments() -> dict[str, Any]:
    """The same as arguments of any client of aiokafka's."""
    return {"bootstrap_servers": settings().kafka, **cast(dict[str, Any], credentials_to_aiokafka_auth(credentials()))}
