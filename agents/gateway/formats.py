"""What a content type says of a payload, the same for every protocol: the format to read it in, or that nobody here reads it."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

FORMATS: Final[Mapping[str, str]] = {
    "": "JSON",  # nor has MQTT 3.1.1 any content types
    "application/json": "JSON",
    "text/json": "JSON",
    "application/protobuf": "Protobuf",
    "application/x-protobuf": "Protobuf",
    "application/vnd.google.protobuf": "Protobuf",
    "application/avro": "Avro",
}
"""By content type. Avro has Confluent's frame, which names its schema in the registry: without it no newer device could be read."""
_JSON_SUFFIX: Final = "+json"
"""A structured syntax suffix (RFC 6839, 3.1): senml+json, cloudevents+json."""
_SAYS_NOTHING: Final = frozenset({"text/plain", "application/octet-stream", "application/x-www-form-urlencoded"})
"""What clients and tools say for want of anything better (`curl -d`, CoAP's format 0): read as JSON, which most of it is."""
_CHARSETS: Final = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii"})
"""JSON is UTF-8 (RFC 8259, 8.1), of which ASCII is a part."""


@lru_cache(maxsize=1024)
def format_of(content_type: str) -> str:
    """The format's name; empty if a payload of this type, or in this charset, is not read."""
    kind, *parameters = content_type.split(";")
    kind = kind.strip().lower()
    named = FORMATS.get(kind, "JSON" if kind.endswith(_JSON_SUFFIX) or kind in _SAYS_NOTHING else "")
    return named if named != "JSON" or all(_charset(each) in _CHARSETS for each in parameters) else ""


def _charset(parameter: str) -> str:
    name, _, value = parameter.partition("=")
    return value.strip().strip('"').lower() if name.strip().lower() == "charset" else ""
