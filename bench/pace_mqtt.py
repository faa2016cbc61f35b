"""The open-loop load of `bench.pace` as devices send it: JSON over MQTT, QoS 1.

Run as `python -m bench.pace_mqtt <load.json> <sent.parquet>` in a process of its own.
"""

import gc
import sys
import threading
import time
from pathlib import Path

import polars as pl
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from bench.pace import TICK_SECONDS, Load, sensors
from streams.mqtt import connect
from streams.settings import settings


def pace(load: Load) -> pl.DataFrame:
    """Send it all. Returns the critical readings, as `bench.pace` does."""
    channels, sent = sensors(load)
    in_turn = channels[sent["channel"]].with_columns(high=(pl.col("critical") + pl.col("maximum")) / 2)
    topics = in_turn.select(pl.format("factory/{}/{}/{}", "plant", "device_id", "sensor_type")).to_series().to_list()
    values, high = in_turn["value"].to_list(), in_turn["high"].to_list()
    connected = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.max_inflight_messages_set(load.rate)
    client.on_connect = lambda *_: connected.set()
    connect(client, settings().mqtt)
    connected.wait(10)
    rows, done, total = [], 0, load.rate * load.seconds
    gc.disable()
    while done < total:
        now = time.time()
        for n in range(done, min(total, int((now - load.start) * load.rate))):
            lap, sensor = divmod(n, load.rate)
            due = load.start + n / load.rate
            is_critical = sensor % load.stride == lap % load.stride
            if is_critical:
                rows.append((in_turn["device_id"][sensor], in_turn["sensor_type"][sensor], int(due * 1000), due, now))
            value = high[sensor] if is_critical else values[sensor]
            last = client.publish(topics[sensor], f'{{"value": {value}, "timestamp": {int(due * 1000)}}}', qos=1)
            done = n + 1
        time.sleep(max(0.0, TICK_SECONDS - (time.time() - now)))
    last.wait_for_publish(30)
    client.disconnect()
    client.loop_stop()
    schema = {"device_id": pl.String, "sensor_type": pl.String, "timestamp": pl.Int64, "due": pl.Float64, "sent": pl.Float64}
    return pl.DataFrame(rows, schema, orient="row")


if __name__ == "__main__":
    pace(Load.read(Path(sys.argv[1]))).write_parquet(sys.argv[2])
