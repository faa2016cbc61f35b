"""A subscriber of paho's that does nothing, QoS 1: `python -m bench.bare_paho <messages>` prints its CPU-seconds for a message."""

import sys
import threading
import time

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from streams.mqtt import connect
from streams.settings import settings


def main() -> None:
    """Tell `subscribed`, count, and tell."""
    expected, heard, done = int(sys.argv[1]), 0, threading.Event()
    began = 0.0

    def on_message(*_: object) -> None:
        nonlocal heard, began
        if not heard:
            began = time.process_time()
        heard += 1
        if heard == expected:
            done.set()

    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.on_connect = lambda *_: client.subscribe("sensors/#", qos=1)
    client.on_subscribe = lambda *_: print("subscribed", flush=True)
    client.on_message = on_message
    connect(client, settings().mqtt)
    if not done.wait(120):
        raise SystemExit(f"{heard} of {expected} messages came")
    print((time.process_time() - began) / (expected - 1))
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    main()
