"""The types of settings: what their texts have to look like, with words for who got one wrong."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, SecretStr

from streams.base import pem

TENANT: Final = re.compile("[a-z0-9][a-z0-9-]*")
"""What tenants are called: in Kafka their names come first, then a dot."""

_PORT: Final = r"(6553[0-5]|655[0-2]\d|65[0-4]\d{2}|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3})"
_HOST: Final = r"(\[[0-9a-fA-F:.]+\]|[^\s:/,@\[\]]+)"
_SERVERS: Final = rf"{_HOST}:{_PORT}(,{_HOST}:{_PORT})*"
_LEVEL: Final = r"([^#+,/]*|\+)"
_FILTER: Final = rf"(#|{_LEVEL}(/{_LEVEL})*(/#)?)"
_POLICY: Final = r"([a-zA-Z0-9._-]+=)?(accept|quarantine|reject)"
_SECONDS: Final = r"([a-z0-9_-]+=)?\d{1,9}"
_SEVERAL: Final = ", or several with commas between,"


def _form(pattern: str, words: str) -> AfterValidator:
    """The whole text is as `pattern` says, which in words is `words`."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(f"{words} is needed")
        return text

    return AfterValidator(check)


def _url(schemes: str, path: str = r"(/\S*)?") -> str:
    """A pattern of addresses with one of these schemes."""
    return rf"({schemes})://([^\s/@]*@)?{_HOST}(:{_PORT})?{path}"


def _pairs(secret: SecretStr) -> SecretStr:
    if not all(all(pair.partition("=")[::2]) for pair in secret.get_secret_value().split(",") if pair):
        raise ValueError(f"tenant=TOKEN{_SEVERAL} is needed")
    return secret


def _pem(file: str) -> str:
    if file and (wrong := pem.defect(file)):
        raise ValueError(wrong)
    return file


Servers = Annotated[str, _form(_SERVERS, f"host:port{_SEVERAL}")]
MaybeServers = Annotated[str, _form(rf"({_SERVERS})?", f"host:port{_SEVERAL} or nothing")]
Web = Annotated[str, _form(_url("https?"), "http://host:port or https://host:port")]
MaybeWeb = Annotated[str, _form(f"({_url('https?')})?", "http://host:port, https://host:port or nothing")]
Origin = Annotated[str, _form(f"({_url('https?', '/?')})?", "http://host:port, https://host:port or nothing")]
Mqtt = Annotated[str, _form(_url("mqtts?", "/?"), "mqtt://host:port or mqtts://host:port, with user:password@ before the host if need be,")]
MqttFilters = Annotated[str, _form(rf"(?!,|$){_FILTER}(,(?!,|$){_FILTER})*", f"an MQTT topic filter{_SEVERAL}")]
ClickHouse = Annotated[
    str, _form(f"({_url('clickhouse|clickhouses|clickhousedb|https?')})?", "clickhouse://user:password@host:8123/database or nothing")
]
Listening = Annotated[str, _form(rf"({_HOST}:{_PORT})?", "host:port with a port from 1 to 65535, or nothing,")]
Address = Annotated[str, _form(r"[^\s/]+", "an address of this machine without a port")]
Tenant = Annotated[str, _form(TENANT.pattern, "a name of small letters, digits and hyphens")]
Tenants = Annotated[str, _form(f"({TENANT.pattern}(,{TENANT.pattern})*)?", "names of small letters, digits and hyphens")]
Policies = Annotated[str, _form(rf"({_POLICY}(,|$))*", "accept, quarantine or reject, or e.g. accept,acme=reject,")]
Patience = Annotated[str, _form(rf"({_SECONDS}(,|$))*", "a number of seconds, or e.g. 900,manhole_cover=86400,")]
Pem = Annotated[str, AfterValidator(_pem)]
Tokens = Annotated[SecretStr, AfterValidator(_pairs)]
