"""`headrace send` and `headrace read`: records by hand, into a topic of the catalogue and out of it."""

import asyncio
import io
import sys
import time
from typing import Annotated, Any, Final, NamedTuple

import fastavro
import orjson
import typer
from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition
from fastavro.validation import ValidationError

from deploy.output.times import TEN_YEARS
from deploy.reach import reached, unknown
from schemas import json_text
from schemas.catalog import CONTRACTS, Contract
from schemas.codec import FRAME_BYTES
from schemas.quoting import quoted
from schemas.registry import Registry
from streams.access import named, quiet
from streams.producer import deliver
from streams.settings import settings
from streams.writers import Writers

TIMEOUT_SECONDS: Final = 5
WAIT_SECONDS: Final = 0.5
AT_ONCE: Final = 1_000


def _contract(topic: str) -> str:
    if topic not in CONTRACTS:
        raise unknown(f"no topic {topic}; there are {', '.join(CONTRACTS)}")
    return topic


Topic = Annotated[str, typer.Argument(callback=_contract, help="A topic of the catalogue, e.g. factory.readings.")]


def send(topic: Topic) -> None:
    """Put records into a topic: JSON from standard input, an object a line. Fields that have a default may be left out.

    Exit status 0: Kafka has them. 1: a line does not fit the topic's schema, or there is none: nothing is sent. 2: Kafka or the registry
    does not answer.

    E.g.: echo '{"device_id": "press-1", "sensor_type": "temperature", "value": 151.2, "timestamp": 1780000000000}' |
    headrace send factory.readings
    """
    contract = CONTRACTS[topic]
    records = [record(contract, number, line) for number, line in enumerate(sys.stdin.buffer, 1) if line.strip()]
    if not records:
        raise unknown("nothing on standard input: no record is sent")
    with reached():
        registry = Registry(settings().registry, settings().data / "schemas")
        frame = registry.register(contract).to_bytes(FRAME_BYTES)
        values = [frame + body for _, body in records]
        asyncio.run(deliver(settings().kafka, named(topic), [key for key, _ in records], values, TIMEOUT_SECONDS))
    typer.echo(f"{len(records)} sent to {topic}")


def record(contract: Contract, number: int, line: bytes) -> tuple[bytes | None, bytes]:
    """Key and Avro body of a line of JSON; one that does not fit ends the command."""
    body = io.BytesIO()
    try:
        fields = _fields(contract, line)
        fastavro.validate(fields, contract.codec.parsed)
        fastavro.schemaless_writer(body, contract.codec.parsed, fields, strict_allow_default=True)
    except (ValueError, TypeError, ValidationError) as error:
        problem = "; ".join(map(str, error.errors)) if isinstance(error, ValidationError) else str(error)
        wanted = ", ".join(f"{name} ({dtype})" for name, dtype in (contract.codec.columns or {}).items())
        typer.secho(f"line {number}: {problem}\n{contract.topic} has {wanted}", fg="red", err=True)
        raise typer.Exit(1) from error
    return fields[contract.key].encode() if contract.key else None, body.getvalue()


def _fields(contract: Contract, line: bytes) -> dict[str, Any]:
    """What a line says; 1.79e12 is the same integer in JSON as one without a point. Raises ValueError, TypeError."""
    fields = json_text.loads(line)
    if not isinstance(fields, dict):
        raise TypeError(f"a line is a JSON object, not {quoted(fields)}")
    integers = {name for name, dtype in (contract.codec.columns or {}).items() if dtype.is_integer()}
    return {
        name: int(value) if name in integers and type(value) is float and value.is_integer() else value for name, value in fields.items()
    }


def read(
    topic: Topic,
    minutes: Annotated[float, typer.Option(min=0, max=TEN_YEARS, help="Start with what Kafka took in the last minutes.")] = 0,
    count: Annotated[int | None, typer.Option(min=1, help="Records to show; default: until Ctrl-C.")] = None,
    device: Annotated[str | None, typer.Option(help="Of this device only.")] = None,
    key: Annotated[str | None, typer.Option(help="With this key only.")] = None,
) -> None:
    """Show the records of a topic as they come, a line of JSON each; what is no record of its schema is told of on standard error.

    Exit status 0: done. 2: Kafka or the registry does not answer.

    E.g. the alerts of the last hour, and those to come: headrace read alerts --minutes 60
    """
    if device is not None and "device_id" not in (CONTRACTS[topic].codec.columns or {}):
        raise typer.BadParameter(f"records of {topic} are of no device: see --key", param_hint="--device")
    wanted = Wanted(None if key is None else key.encode(), device, count)
    with reached():
        asyncio.run(_read(CONTRACTS[topic], int((time.time() - 60 * minutes) * 1000) if minutes else None, wanted))


class Wanted(NamedTuple):
    """Which records are shown, and how many; None: any."""

    key: bytes | None
    device: str | None
    most: int | None


async def _read(contract: Contract, since_ms: int | None, wanted: Wanted) -> None:
    registry = Registry(settings().registry, settings().data / "schemas")
    registry.register(contract)
    writers = Writers(registry)
    consumer = Consumer({**quiet(settings().kafka), "group.id": named("headrace-read"), "enable.auto.commit": False})
    shown = 0
    try:
        consumer.assign(_starts(consumer, contract, since_ms))
        while wanted.most is None or shown < wanted.most:
            messages = consumer.consume(AT_ONCE, WAIT_SECONDS)
            if failed := next((error for message in messages if (error := message.error()) is not None), None):
                raise KafkaException(failed)
            messages = [message for message in messages if wanted.key in (None, message.key())]
            values = [message.value() for message in messages]
            decoded = await writers.decode(values, contract.codec)
            for reject in decoded.rejects:
                message = messages[reject.row]
                typer.echo(f"{contract.topic}/{message.partition()}@{message.offset()}: {reject.reason}, {reject.detail}", err=True)
            found = decoded.frame.drop("row") if wanted.device is None else decoded.frame.drop("row").filter(device_id=wanted.device)
            rows = found.rows(named=True)[: None if wanted.most is None else wanted.most - shown]
            for row in rows:
                typer.echo(orjson.dumps(row, default=_text))
            shown += len(rows)
    finally:
        consumer.close()
        await writers.close()


def _starts(consumer: Consumer, contract: Contract, since_ms: int | None) -> list[TopicPartition]:
    """Where reading begins in each partition."""
    topic, partitions = named(contract.topic), range(contract.partitions)
    if since_ms is None:
        consumer.list_topics(topic, timeout=TIMEOUT_SECONDS)  # says so if Kafka is away, where reading would wait
        return [TopicPartition(topic, partition, OFFSET_END) for partition in partitions]
    asked = [TopicPartition(topic, partition, since_ms) for partition in partitions]
    return consumer.offsets_for_times(asked, timeout=TIMEOUT_SECONDS)


def _text(value: Any) -> str:  # noqa: ANN401  # whatever JSON has no form for
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
