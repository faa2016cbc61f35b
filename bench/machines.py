"""The machines of the closed loop, at the other end of MQTT."""

import gc
import threading
import time
from typing import Final

import orjson
import polars as pl
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from bench.measure import BenchError
from streams.mqtt import connect

START_SECONDS: Final = 60


class Machines:
    """All machines: they note when each command arrived, and acknowledge it."""

    def __init__(self, url: str) -> None:
        gc.freeze()  # looking through all of the benchmark for garbage takes a tenth of a second, in which no machine hears anything
        self.arrivals: list[tuple[str, int, float]] = []
        subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("factory/+/+/command", qos=1)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = self._obey
        connect(self._client, url)
        if not subscribed.wait(START_SECONDS):
            raise BenchError(f"no MQTT broker at {url}")

    def _obey(self, client: Client, _: object, message: MQTTMessage) -> None:
        arrived, command = time.time(), orjson.loads(message.payload)
        self.arrivals.append((message.topic.split("/")[2], command["issued_at"], arrived))
        client.publish(f"{message.topic}/ack", orjson.dumps({"command_id": command["command_id"], "ok": True}), qos=1)

    def frame(self) -> pl.DataFrame:
        """First arrivals: device_id, timestamp (of the reading, ms) and arrived (Unix seconds)."""
        schema = {"device_id": pl.String, "timestamp": pl.Int64, "arrived": pl.Float64}
        return pl.DataFrame(self.arrivals, schema, orient="row").group_by("device_id", "timestamp").agg(pl.col("arrived").min())

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()
