"""A client of the MQTT broker for one command: connected, asked, gone."""

import queue
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from streams.mqtt import connect, version_probe

TIMEOUT_SECONDS: Final = 5


class NoAnswer(Exception):
    """No broker answers there."""


class Unwelcome(Exception):
    """The broker does not let us in."""


@contextmanager
def connected(url: str) -> Iterator[Client]:
    """A client that the broker has let in, of MQTT 5 where it has that. Raises NoAnswer, Unwelcome; ValueError for a URL that is none."""
    place, clients = url.rpartition("@")[2], []
    answers: queue.SimpleQueue[ReasonCode] = queue.SimpleQueue()

    def dial(protocol: MQTTProtocolVersion) -> None:
        client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        client.on_connect = lambda *told: answers.put(told[3])
        clients.append(client)
        connect(client, url)

    probe = version_probe(dial)
    try:
        connect(probe, url)
        answer = answers.get(timeout=TIMEOUT_SECONDS)
        if answer.is_failure:
            raise Unwelcome(f"{place} refuses: {answer}")
        yield clients[0]
    except queue.Empty as error:
        raise NoAnswer(f"{place} does not answer") from error
    finally:
        for client in (probe, *clients):
            with suppress(ValueError):
                client.disconnect()
            client.loop_stop()
