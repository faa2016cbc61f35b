"""Everything that differs between machines, read from the environment once (prefix `HEADRACE_`); nothing else reads it."""

import os
import re
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from streams.base import forms
from streams.base.variables import PREFIX, unknown

# A worker is scaled by processes. On columns of one batch Polars' own threads cost a tenth more CPU and gain no time (measured, two cores).
POLARS_THREADS: Final = os.environ.setdefault("POLARS_MAX_THREADS", "1")
"""How many threads Polars is to take; it reads the variable once, when it is loaded."""


class Settings(BaseSettings):
    """Each field is an environment variable: `kafka` is `HEADRACE_KAFKA`. Defaults are those of the local stack."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    kafka: forms.Servers = Field(default="127.0.0.1:19092", description="Kafka bootstrap servers, comma-separated host:port.")
    kafka_user: str = Field(default="", description="Who this process is to Kafka (SASL, SCRAM-SHA-512); empty: nobody in particular.")
    kafka_password: SecretStr = Field(default=SecretStr(""), description="That user's password.")
    kafka_ca: forms.Pem = Field(default="", description="PEM file of the authorities of Kafka's certificate; empty: plain text.")
    registry: forms.Web = Field(
        repr=False, default="http://127.0.0.1:18081/apis/ccompat/v7", description="Schema registry, Confluent REST API."
    )
    centre: forms.MaybeServers = Field(default="", description="Kafka bootstrap servers of the centre a plant's uplink writes to.")
    centre_registry: forms.MaybeWeb = Field(repr=False, default="", description="Schema registry of that centre, Confluent REST API.")
    mqtt: forms.Mqtt = Field(repr=False, default="mqtt://127.0.0.1:11883", description="MQTT broker of gateway and simulator.")
    mqtt_ca: forms.Pem = Field(
        default="", description="PEM file of the authorities of the MQTT broker's certificate; empty: the machine's."
    )
    mqtt_certificate: forms.Pem = Field(default="", description="PEM file of a certificate of our own for the MQTT broker; empty: none.")
    mqtt_key: forms.Pem = Field(default="", description="PEM file of that certificate's key; empty: the certificate's holds it, too.")
    clickhouse: forms.ClickHouse = Field(
        repr=False, default="", description="ClickHouse DSN, e.g. clickhouse://user:pass@host:8123/headrace; empty: the embedded engine."
    )
    data: forms.Folder = Field(
        default=Path(".headrace"), description="Folder of the local stack: logs, broker, registry, database, schema cache."
    )
    tenant: forms.Tenant = Field(
        default="default",
        description="Whose devices these are; part of every alert's id. Any but default has its name before its topics' and groups'.",
    )
    tenants: forms.Tenants = Field(default="", description="Other tenants of the gateway, comma-separated.")
    unknown_devices: forms.Policies = Field(
        default="accept",
        description="What becomes of devices that nobody registered: accept, quarantine or reject; of a tenant's own: accept,acme=reject.",
    )
    silence_seconds: forms.Patience = Field(
        default="900",
        description="How long a device may say nothing before it is silent; of a type's: 900,manhole_cover=86400.",
    )
    mqtt_topics: forms.MqttFilters = Field(
        default="#",
        description="MQTT topic filters the gateway subscribes to, comma-separated; what comes by one holds up no other.",
    )
    spool_mb: int = Field(default=256, ge=1, description="Disk a tenant's messages may take on a gateway while Kafka is away, MiB.")
    web_bind: forms.Address = Field(default="127.0.0.1", description="Address the workers' web endpoints listen on.")
    advertise: forms.Origin = Field(
        repr=False,
        default="",
        description="Where other workers of the group reach this one's web endpoints, http://host:port; empty: where they listen.",
    )
    web_token: forms.Token = Field(
        default=SecretStr(""),
        description="What all but /live asks for (Authorization: Bearer …); needed where web_bind is no loopback address.",
    )
    tenant_tokens: forms.Tokens = Field(
        default=SecretStr(""), description="The tokens of tenants, a=TOKEN,b=TOKEN: who comes with one is told about that tenant alone."
    )
    desk: forms.Web = Field(repr=False, default="http://127.0.0.1:6069", description="Where headrace alerts finds a desk worker.")
    gateway: forms.Web = Field(
        repr=False, default="http://127.0.0.1:6068", description="Where headrace command finds a gateway's web endpoint."
    )
    escalate_minutes: forms.Minutes = Field(
        default=0, description="An alert that nobody acknowledged for so long goes one severity up; 0: never."
    )
    gateway_http: forms.Listening = Field(default="", description="Where the gateway takes messages over HTTP, host:port; empty: nowhere.")
    gateway_websocket: forms.Listening = Field(default="", description="The same over WebSocket.")
    gateway_coap: forms.Listening = Field(
        default="",
        description="The same over CoAP: UDP where only this machine reaches it; with a certificate, TLS over TCP on the next port.",
    )
    gateway_certificate: str = Field(default="", description="PEM file of the gateway's certificate: devices are spoken to over TLS only.")
    gateway_key: str = Field(default="", description="PEM file of that certificate's key; empty: the certificate's holds it, too.")
    gateway_client_ca: str = Field(default="", description="PEM file of the authorities whose certificates devices may come with.")
    gateway_tenant_rate: forms.Rate = Field(
        default=10_000, description="Messages a second a tenant may send over HTTP, WebSocket and CoAP each gateway; 0: no limit."
    )
    gateway_device_rate: forms.Rate = Field(default=100, description="The same of one device.")
    log_format: Literal["plain", "json"] = Field(default="plain", description="A worker's log: lines for people, or JSON objects.")
    log_mb: int = Field(default=16, ge=1, description="How large a worker's --logfile gets, MiB; the one before it is kept.")
    instance: forms.Instance = Field(
        default="", description="Static group membership: a stable name of this worker; empty: dynamic membership."
    )
    broker_heap_mb: int = Field(default=512, ge=256, description="Java heap of the local stack's Kafka broker.")
    registry_heap_mb: int = Field(default=192, ge=96, description="Java heap of the local stack's schema registry.")
    mqtt_heap_mb: int = Field(default=256, ge=128, description="Java heap of the local stack's MQTT broker.")

    def environment(self, **extra: str) -> dict[str, str]:
        """The environment of a child process that is to run with these settings: ours, each field's variable, and `extra`."""
        values = {name: value.get_secret_value() if isinstance(value, SecretStr) else str(value) for name, value in self}
        return {**os.environ, **{f"HEADRACE_{name.upper()}": value for name, value in values.items()}, **extra}


@cache
def settings() -> Settings:
    """The settings of this process. Raises SystemExit, exit code 1, that names the variables that cannot be used, and why."""
    problems = [*unknown(os.environ, {f"{PREFIX}{field.upper()}" for field in Settings.model_fields})]
    try:
        ours = Settings()
    except ValidationError as wrong:
        raise SystemExit("\n".join([*problems, *map(_problem, wrong.errors())])) from None
    if problems:
        raise SystemExit("\n".join(problems))
    return ours


def _problem(error: Any) -> str:  # noqa: ANN401  # pydantic's ErrorDetails
    """What is wrong with a variable, without what is secret in it."""
    field = str(error["loc"][0])
    said = f"{PREFIX}{field.upper()}: {error['msg'].removeprefix('Value error, ')}"
    # what stands before the last @ may be a password, be the address a good one or not
    value = re.sub(r"(?s)^(\w+://)?.*@", r"\1…@", str(error["input"]))
    told = Settings.model_fields[field].annotation is SecretStr or repr(value) in said
    return said if told else f"{said}, not {value!r}"
