"""Sparkplug B payloads (Eclipse Sparkplug 3.0, chapter 6) as plain documents: a member for each metric, `timestamp` and `sequence`."""

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

NAMESPACE: Final = "spBv1.0"
"""First level of its MQTT topics: namespace/group/message type/edge node[/device]."""
MOST_NODES: Final = 10_000
_Field: Final = descriptor_pb2.FieldDescriptorProto
# Fields of sparkplug_b.proto that are read; the specification's other ones (data sets, templates, properties) are skipped.
_METRIC: Final = (
    ("name", 1, _Field.TYPE_STRING),
    ("alias", 2, _Field.TYPE_UINT64),
    ("timestamp", 3, _Field.TYPE_UINT64),
    ("datatype", 4, _Field.TYPE_UINT32),
    ("is_null", 7, _Field.TYPE_BOOL),
    ("int_value", 10, _Field.TYPE_UINT32),
    ("long_value", 11, _Field.TYPE_UINT64),
    ("float_value", 12, _Field.TYPE_FLOAT),
    ("double_value", 13, _Field.TYPE_DOUBLE),
    ("boolean_value", 14, _Field.TYPE_BOOL),
    ("string_value", 15, _Field.TYPE_STRING),
    ("bytes_value", 16, _Field.TYPE_BYTES),
)
_VALUES: Final = tuple(name for name, _, _ in _METRIC if name.endswith("_value"))
_SIGNED_BITS: Final = {1: 8, 2: 16, 3: 32, 4: 64}
"""By data type: signed integers travel as the unsigned ones of the same bits."""


def _payload_type() -> Any:  # noqa: ANN401  # a class made at run time
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug_b.proto", package="sparkplug", syntax="proto2")
    payload = file.message_type.add(name="Payload")
    metric = payload.nested_type.add(name="Metric")
    for name, number, kind in _METRIC:
        metric.field.add(name=name, number=number, type=kind, label=_Field.LABEL_OPTIONAL)
    payload.field.add(name="timestamp", number=1, type=_Field.TYPE_UINT64, label=_Field.LABEL_OPTIONAL)
    payload.field.add(
        name="metrics", number=2, type=_Field.TYPE_MESSAGE, type_name=".sparkplug.Payload.Metric", label=_Field.LABEL_REPEATED
    )
    payload.field.add(name="seq", number=3, type=_Field.TYPE_UINT64, label=_Field.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("sparkplug.Payload"))


PAYLOAD: Final = _payload_type()


class Sparkplug:
    """Reads payloads; remembers the names that edge nodes gave their metrics' aliases at birth, of `MOST_NODES` nodes."""

    def __init__(self) -> None:
        self._aliases: dict[tuple[str, str], dict[int, str]] = {}

    def read(self, topic: str, payload: bytes) -> dict[str, Any]:
        """The document of a payload. A metric whose birth was not heard is called `alias-<number>`. Raises protobuf's DecodeError."""
        message = PAYLOAD.FromString(payload)
        names = self._names(topic)
        document: dict[str, Any] = {}
        for metric in message.metrics:
            if metric.name and metric.HasField("alias"):
                names[metric.alias] = metric.name
            document[metric.name or names.get(metric.alias, f"alias-{metric.alias}")] = _value(metric)
        if message.HasField("timestamp"):
            document["timestamp"] = message.timestamp
        if message.HasField("seq"):
            document["sequence"] = message.seq
        return document

    def _names(self, topic: str) -> dict[int, str]:
        """Aliases are an edge node's, whichever of its devices they are of."""
        _, group, _, node, *_ = [*topic.split("/"), "", "", ""]
        if (group, node) not in self._aliases and len(self._aliases) >= MOST_NODES:
            self._aliases.pop(next(iter(self._aliases)))
        return self._aliases.setdefault((group, node), {})


def _value(metric: Any) -> object:  # noqa: ANN401
    name = next((name for name in _VALUES if metric.HasField(name)), None)
    if name is None or metric.is_null:
        return None
    value: object = getattr(metric, name)
    bits = _SIGNED_BITS.get(metric.datatype)
    if bits and isinstance(value, int):
        value &= (1 << bits) - 1
        return value - (1 << bits) if value >> (bits - 1) else value
    return value
