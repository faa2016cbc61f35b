"""Everything that differs between machines, read from the environment once (prefix `HEADRACE_`); nothing else reads it."""

import os
from functools import cache
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

# A worker is scaled by processes. On columns of one batch Polars' own threads cost a tenth more CPU and gain no time (measured, two cores).
os.environ.setdefault("POLARS_MAX_THREADS", "1")


class Settings(BaseSettings):
    """Each field is an environment variable: `kafka` is `HEADRACE_KAFKA`. Defaults are those of the local stack."""

    model_config = SettingsConfigDict(env_prefix="HEADRACE_")

    kafka: str = Field(default="127.0.0.1:19092", description="Kafka bootstrap servers, comma-separated host:port.")
    registry: str = Field(default="http://127.0.0.1:18081/apis/ccompat/v7", description="Schema registry, Confluent REST API.")
    centre: str = Field(default="", description="Kafka bootstrap servers of the centre a plant's uplink writes to.")
    centre_registry: str = Field(default="", description="Schema registry of that centre, Confluent REST API.")
    mqtt: str = Field(default="mqtt://127.0.0.1:11883", description="MQTT broker the gateway subscribes at and the simulator publishes to.")
    clickhouse: str = Field(
        default="", description="ClickHouse DSN, e.g. clickhouse://user:pass@host:8123/headrace; empty: the embedded engine."
    )
    data: Path = Field(default=Path(".headrace"), description="Folder of the local stack: logs, broker, registry, database, schema cache.")
    tenant: str = Field(default="default", description="Whose devices these are; part of every alert's id.")
    web_bind: str = Field(default="127.0.0.1", description="Address the workers' web endpoints listen on.")
    advertise: str = Field(
        default="",
        pattern="^(https?://[^/?#]+/?)?$",
        description="Where other workers of the group reach this one's web endpoints, http://host:port; empty: where they listen.",
    )
    web_token: SecretStr = Field(
        default=SecretStr(""), description="What all but /live asks for (Authorization: Bearer …) where web_bind is no loopback address."
    )
    desk: str = Field(default="http://127.0.0.1:6069", description="Where headrace alerts finds a desk worker.")
    escalate_minutes: float = Field(
        default=0, ge=0, description="An alert that nobody acknowledged for so long goes one severity up; 0: never."
    )
    instance: str = Field(default="", description="Static group membership: a stable name of this worker; empty: dynamic membership.")
    broker_heap_mb: int = Field(default=512, ge=256, description="Java heap of the local stack's Kafka broker.")
    registry_heap_mb: int = Field(default=192, ge=96, description="Java heap of the local stack's schema registry.")

    def environment(self, **extra: str) -> dict[str, str]:
        """The environment of a child process that is to run with these settings: ours, each field's variable, and `extra`."""
        fields = {f"HEADRACE_{name.upper()}": str(value) for name, value in self.model_dump(exclude={"web_token"}).items()}
        fields["HEADRACE_WEB_TOKEN"] = self.web_token.get_secret_value()
        return {**os.environ, **fields, **extra}


@cache
def settings() -> Settings:
    """The settings of this process. Raises SystemExit, exit code 1, that names the variables that cannot be used."""
    try:
        return Settings()
    except ValidationError as wrong:
        problems = (f"HEADRACE_{str(error['loc'][0]).upper()}: {error['msg']}, not {error['input']!r}" for error in wrong.errors())
        raise SystemExit("\n".join(problems)) from wrong
