"""The types of settings: what their texts have to look like, with words for who got one wrong."""

import os
import re
from collections import Counter
from ipaddress import AddressValueError, IPv6Address
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from streams.base import pem

TENANT: Final = re.compile("[a-z0-9][a-z0-9-]{0,59}")
"""What tenants are called: in Kafka their names come first, then a dot, and a topic's name has 249 characters at most."""

_PORT: Final = r"(6553[0-5]|655[0-2]\d|65[0-4]\d{2}|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3})"
_LABEL: Final = r"\w([\w-]{0,61}\w)?"
_HOST: Final = rf"(\[[0-9a-fA-F:.]+\]|{_LABEL}(\.{_LABEL})*\.?)"
_SERVERS: Final = rf"{_HOST}:{_PORT}(,{_HOST}:{_PORT})*"
_LEVEL: Final = r"([^#+,/]*|\+)"
_FILTER: Final = rf"(#|{_LEVEL}(/{_LEVEL})*(/#)?)"
_POLICY: Final = r"([a-zA-Z0-9._-]+=)?(accept|quarantine|reject)"
_SECONDS: Final = r"([a-z0-9_-]+=)?[0-9]{1,9}"
_TOKEN: Final = re.compile("[!-~]*")
_UNREAD: Final = re.compile(r"^[\s'\"]|[\s'\"]$|\$[\w{(]")
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
    return rf"({schemes})://([^\s/@?#]*@)?{_HOST}(:{_PORT})?{path}"


def _pairs(secret: SecretStr) -> SecretStr:
    pairs = [pair.partition("=")[::2] for pair in secret.get_secret_value().split(",") if pair]
    if not all(TENANT.fullmatch(tenant) and token and _TOKEN.fullmatch(token) for tenant, token in pairs):
        raise ValueError(f"tenant=TOKEN{_SEVERAL} is needed, tenants of small letters, digits and hyphens, tokens of ASCII without spaces")
    tokens = Counter(token for _, token in pairs)
    if any(times > 1 for times in tokens.values()):
        raise ValueError("two tenants have one token: whose it is cannot be told")
    return secret


def _token(secret: SecretStr) -> SecretStr:
    if not _TOKEN.fullmatch(secret.get_secret_value()):
        raise ValueError("a token of printable ASCII without spaces is needed: a header of HTTP has it")
    return secret


def _once(text: str) -> str:
    names = Counter(pair.rpartition("=")[0] for pair in text.split(",") if pair)
    if twice := [name for name, times in names.items() if times > 1]:
        raise ValueError(f"one value for {twice[0] or 'all others'} is needed")
    return text


def _bare_address(text: str) -> str:
    if ":" in text:
        try:
            IPv6Address(text)
        except AddressValueError:
            raise ValueError("an address of this machine without a port is needed") from None
    return text


def _folder(said: object) -> object:
    text = str(said)
    if not text or not text.isprintable() or _UNREAD.search(text):
        raise ValueError("a folder is needed, without quotes or variables around it, which only a shell takes away")
    return Path(os.path.expanduser(text))  # of a user that is none, Path's raises RuntimeError


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
Address = Annotated[str, _form(rf"{_HOST}|[0-9a-fA-F:.]+", "an address of this machine without a port"), AfterValidator(_bare_address)]
Folder = Annotated[Path, BeforeValidator(_folder)]
Instance = Annotated[str, _form("(?!\\.{1,2}$)[a-zA-Z0-9._-]{0,200}", "a name of letters, digits, '.', '_' and '-', or nothing,")]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Minutes = Annotated[float, Field(ge=0, le=525_600)]
Tenant = Annotated[str, _form(TENANT.pattern, "a name of small letters, digits and hyphens, at most 60,")]
Tenants = Annotated[str, _form(f"({TENANT.pattern}(,{TENANT.pattern})*)?", "names of small letters, digits and hyphens")]
Policies = Annotated[str, _form(rf"({_POLICY}(,|$))*", "accept, quarantine or reject, or e.g. accept,acme=reject,"), AfterValidator(_once)]
Patience = Annotated[str, _form(rf"({_SECONDS}(,|$))*", "a number of seconds, or e.g. 900,manhole_cover=86400,"), AfterValidator(_once)]
Pem = Annotated[str, AfterValidator(_pem)]
Token = Annotated[SecretStr, AfterValidator(_token)]
Tokens = Annotated[SecretStr, AfterValidator(_pairs)]
