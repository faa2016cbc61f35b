"""What `headrace doctor` looks at of the gateway: certificates, where messages go, and what lies on the disk."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from cryptography import x509

from agents.gateway.mapping import DEFAULT, Row
from deploy.checks import TIMEOUT_SECONDS, Ill
from schemas.catalog import MAPPINGS
from schemas.registry import RegistryDown
from streams import operators
from streams.access import named, quiet
from streams.base.pem import defect
from streams.settings import Settings

# Whoever renews certificates does so a month before they expire.
NOTICE_DAYS: Final = 14
UNMAPPED: Final = "iot.raw."


def certificates(ours: Settings) -> str:
    """Whether the listeners' certificate and the authorities of clients are valid, and for how long."""
    files = {"certificate": ours.gateway_certificate, "client_ca": ours.gateway_client_ca}
    ends: list[datetime] = []
    for name, file in files.items():
        if not file:
            continue
        variable = f"HEADRACE_GATEWAY_{name.upper()}"
        try:
            found = x509.load_pem_x509_certificates(Path(file).read_bytes())
        except (OSError, ValueError) as error:
            raise Ill(f"{defect(file) or f'{file} cannot be read: {error}'}", f"set {variable} to a PEM file") from error
        ends += [certificate.not_valid_after_utc for certificate in found]
        left = (min(ends) - datetime.now(UTC)).days
        if left < NOTICE_DAYS:
            state = f"expires in {left} days" if left >= 0 else f"expired {-left} days ago"
            raise Ill(f"{file} {state}", "renew it: a gateway takes a new certificate up within ten seconds, a new authority at its start")
    return f"valid until {min(ends):%Y-%m-%d}" if ends else "none: listeners that other machines reach need HEADRACE_GATEWAY_CERTIFICATE"


def mapping(ours: Settings) -> str:
    """Whether the mapping's rows can be, their Kafka topics are there, and how many messages no row matched."""
    try:
        records = operators.latest(MAPPINGS)
    except RegistryDown as absence:
        raise Ill(str(absence), "headrace up, or set HEADRACE_REGISTRY") from absence
    rows = {row.pattern: row for row in (*DEFAULT, *map(Row.of, records.iter_rows(named=True))) if not row.retired}
    there = AdminClient(quiet(ours.kafka, ours)).list_topics(timeout=TIMEOUT_SECONDS).topics
    # those with places are made when their first message comes
    if holes := [f"{row.pattern} → {row.topic}" for row in rows.values() if "{" not in row.topic and named(row.topic) not in there]:
        raise Ill(f"no such topic: {', '.join(holes)}", "headrace topics, or headrace map apply the row again")
    unmapped = {name.removeprefix(UNMAPPED): _records(ours, name, len(found.partitions)) for name, found in there.items() if _is_hole(name)}
    told = ", ".join(f"{prefix} ({count})" for prefix, count in unmapped.items() if count)
    return f"{len(rows)} rows; messages that none matches, by the device's prefix: {told or 'none'}"


def spool(ours: Settings) -> str:
    """Whether messages lie on this machine's disk that no gateway is there to bring to Kafka."""
    found = {file.stem: file for file in sorted((ours.data / "spool").glob("*.sqlite"))}
    sizes = {name: sum(part.stat().st_size for part in file.parent.glob(f"{file.name}*")) for name, file in found.items()}
    for name, file in found.items():
        if rows := _left(file):
            remedy = f"start the gateway whose HEADRACE_INSTANCE is {name.removeprefix('gateway-')!r}: it brings them to Kafka"
            raise Ill(f"{rows} messages lie in {file}, and {name} does not run", remedy)
    told = ", ".join(f"{name} {size / 2**20:.1f} MiB" for name, size in sizes.items())
    return f"{told or 'nothing'}, of {ours.spool_mb} MiB a tenant"


def _left(file: Path) -> int:
    """Rows of a file that no gateway has open."""
    try:
        db = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=0)
        rows: int = db.execute("SELECT count(*) FROM spooled").fetchone()[0]
        db.close()
    except sqlite3.OperationalError:  # locked: a gateway has it
        return 0
    return rows


def _is_hole(topic: str) -> bool:
    return topic.startswith(UNMAPPED) or f".{UNMAPPED}" in topic


def _records(ours: Settings, topic: str, partitions: int) -> int:
    consumer = Consumer({**quiet(ours.kafka, ours), "group.id": named("headrace-doctor"), "enable.auto.commit": False})
    try:
        spans = [consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=TIMEOUT_SECONDS) for number in range(partitions)]
    except KafkaException:
        return 0
    finally:
        consumer.close()
    return sum(end - begin for begin, end in spans)
