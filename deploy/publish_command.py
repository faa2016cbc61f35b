"""`headrace publish`: one message to the MQTT broker, as a device would send it."""

import queue
from typing import Annotated, NoReturn

import typer
from paho.mqtt.client import MQTTv5
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from deploy.mqtt_client import TIMEOUT_SECONDS, NoAnswer, Unwelcome, connected
from deploy.output.misuse import Misused
from streams.settings import settings


def _topic(topic: str) -> str:
    if not topic or set(topic) & set("+#\0"):
        raise Misused("a topic to publish to is not empty and has no + or #")
    return topic


def publish(
    topic: Annotated[str, typer.Argument(callback=_topic, help="MQTT topic, such as factory/plant-1/press-1/temperature.")],
    message: Annotated[str, typer.Argument(help="What to send, such as a JSON object.")],
    content_type: Annotated[str, typer.Option(help="What the message is, such as application/json; needs MQTT 5.")] = "",
    retain: Annotated[bool, typer.Option("--retain", help="Have the broker keep it for who subscribes later.")] = False,
) -> None:
    """Send one message to the MQTT broker in HEADRACE_MQTT, QoS 1, as a device would.

    Exit status 0: the broker has it. 1: it does not take it. 2: it does not answer.
    """
    answers: queue.SimpleQueue[ReasonCode] = queue.SimpleQueue()
    try:
        with connected(settings().mqtt) as client:
            properties = None
            if content_type:
                if client.protocol != MQTTv5:
                    _fail("the broker speaks MQTT 3.1.1, which has no content types")
                properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
                properties.ContentType = content_type
            client.on_publish = lambda *told: answers.put(told[3])
            client.publish(topic, message, qos=1, retain=retain, properties=properties)
            answer = answers.get(timeout=TIMEOUT_SECONDS)
    except (NoAnswer, Unwelcome, ValueError) as error:
        told = f"{error}: headrace up, or set HEADRACE_MQTT to mqtt://user:password@host:port"
        _fail(told, 2 if isinstance(error, NoAnswer) else 1)
    except queue.Empty:
        _fail(f"the broker has not acknowledged within {TIMEOUT_SECONDS} s: nobody knows whether it has the message", 2)
    if answer.is_failure:
        _fail(f"the broker does not take it: {answer}")
    typer.echo(f"the broker has it, on {topic}")


def _fail(text: str, status: int = 1) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(status)
