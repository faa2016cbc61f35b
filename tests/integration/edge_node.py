"""A Sparkplug edge node with devices under it, as the specification asks of one: a will, births, data by alias, rebirths when asked."""

import threading
import time

from paho.mqtt.client import Client, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from agents.gateway.sparkplug.wire import PAYLOAD, DataType
from streams.mqtt import connect


def metric(name="", value=None, *, kind=DataType.DOUBLE, **fields):
    """`value` by its data type; of a data message the kind is `None` and the value in the field of its birth's type."""
    field = {DataType.BOOLEAN: "boolean_value", DataType.INT32: "int_value", DataType.INT64: "long_value"}.get(kind, "double_value")
    told = {"name": name.encode()} if name else {"timestamp": int(time.time() * 1000)}
    return told | {field: value & 0xFFFFFFFF if field == "int_value" else value} | fields


class EdgeNode:
    """Speaks MQTT 3.1.1. `devices`: temperatures by name, each metric `temperature` of alias 1, 2, … in their order."""

    def __init__(self, settings, group, node, devices):
        self.group, self.node, self.devices = group, node, dict(devices)
        self.rebirths, self._seq, self._bd_seq = 0, 0, -1
        self._settings, self._lock = settings, threading.RLock()

    def connect(self):
        self._bd_seq += 1
        self._client = client = Client(CallbackAPIVersion.VERSION2, f"{self.group}-{self.node}-{self._bd_seq}", protocol=MQTTv311)
        client.will_set(self._topic("NDEATH"), self._payload([self._bd_metric()], numbered=False), qos=1)
        client.on_message = self._asked
        connect(client, self._settings.mqtt)
        while not client.is_connected():
            time.sleep(0.01)
        client.subscribe(self._topic("NCMD"), qos=1)
        self.be_born()

    def be_born(self):
        with self._lock:
            self._seq = 0
            control = metric("Node Control/Rebirth", False, kind=DataType.BOOLEAN, datatype=DataType.BOOLEAN)
            self._publish("NBIRTH", [self._bd_metric(), control])
            for alias, (device, temperature) in enumerate(self.devices.items(), 1):
                self._publish(
                    "DBIRTH", [metric("temperature", temperature, kind=DataType.INT32, alias=alias, datatype=DataType.INT32)], device
                )

    def tell(self, device, *metrics):
        with self._lock:
            self._publish("DDATA", metrics, device)

    def measure(self, device, temperature, **fields):
        """A temperature by its alias alone."""
        alias = [*self.devices].index(device) + 1
        self.tell(device, metric(value=temperature, kind=DataType.INT32, alias=alias, **fields))

    def lose(self):
        """A message that never comes."""
        self._seq = (self._seq + 1) % 256

    def bury(self, device):
        with self._lock:
            self._publish("DDEATH", [], device)

    def vanish(self):
        """The link breaks: the broker publishes the will."""
        self._client.loop_stop()
        self._client.socket().close()

    def _asked(self, _client, _data, message):
        (asked,) = PAYLOAD.FromString(message.payload).metrics
        assert (asked.name, asked.boolean_value, message.qos) == (b"Node Control/Rebirth", True, 0)
        self.rebirths += 1
        self.be_born()

    def _bd_metric(self):
        return metric("bdSeq", self._bd_seq, kind=DataType.INT64, datatype=DataType.INT64)

    def _publish(self, kind, metrics, device=""):
        self._client.publish(self._topic(kind, device), self._payload(metrics), qos=0).wait_for_publish(10)

    def _topic(self, kind, device=""):
        return "/".join(["spBv1.0", self.group, kind, self.node, *([device] if device else [])])

    def _payload(self, metrics, *, numbered=True):
        message = PAYLOAD(timestamp=int(time.time() * 1000), metrics=metrics)
        if numbered:
            message.seq, self._seq = self._seq, (self._seq + 1) % 256
        return message.SerializeToString()
