"""What `headrace doctor` looks at: everything a worker depends on, each in a function that says what it found, or what is wrong."""

import time
from email.utils import parsedate_to_datetime
from typing import Final

import httpx
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]  # exported implicitly

from deploy import tenants
from deploy.embedded.errors import StackError
from deploy.embedded.preflight import require_disk
from deploy.mqtt_client import NoAnswer, Unwelcome, connected
from deploy.running import running
from deploy.topics import names
from schemas.catalog import CHANGELOGS, CONTRACTS, DEFAULT_TENANT, in_kafka
from schemas.registry import Registry, RegistryDown
from streams.access import Asked, Refused, quiet
from streams.assembly import NotReady, require_topics
from streams.clickhouse import ClickHouse
from streams.clickhouse_errors import CannotOpen, ClickHouseAway
from streams.settings import Settings
from streams.worker.addresses import shown
from streams.worker.descriptors import ENOUGH, raise_limit
from tables.factory import WINDOWING

TIMEOUT_SECONDS: Final = 5
POLICY: Final = "cleanup.policy"


class Ill(Exception):
    """What is not well, and what to do about it."""

    def __init__(self, finding: str, remedy: str) -> None:
        super().__init__(finding)
        self.finding, self.remedy = finding, remedy


class Idle(Ill):
    """What does not run, which may be as it should be."""


def kafka(ours: Settings) -> str:
    """Whether the brokers answer."""
    try:
        cluster = Asked(ours.kafka, ours).cluster(TIMEOUT_SECONDS)
    except Refused as refusal:
        raise Ill(str(refusal), refusal.remedy) from refusal
    except KafkaException as error:
        raise Ill(f"{ours.kafka} does not answer: {error.args[0].str()}", "headrace up, or set HEADRACE_KAFKA to host:port") from error
    return f"{ours.kafka}, {(count := len(cluster.brokers))} {'broker' if count == 1 else 'brokers'}"


def descriptors(_: Settings) -> str:
    """Whether the workers may have enough files and connections open."""
    most = raise_limit()
    if most < ENOUGH:
        remedy = f"raise the hard limit of open files to {ENOUGH} or more: ulimit -Hn, or LimitNOFILE of a systemd service"
        raise Ill(f"{most} open files at most: a gateway takes few connections with that", remedy)
    return f"{most} files and connections may be open"


def topics(ours: Settings) -> str:
    """Whether every topic and changelog is there, with the catalogue's partitions, and state and rules are kept for ever."""
    wanted = names(ours.tenant)
    try:
        require_topics(ours.kafka, wanted)
    except NotReady as missing:
        raise Ill(str(missing), "headrace topics makes those that are missing") from missing
    kept = [in_kafka(ours.tenant, name) for name in (*(c.topic for c in CONTRACTS.values() if c.compacted), *CHANGELOGS)]
    admin = _admin(ours)  # until the answers are there
    asked = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in kept], request_timeout=TIMEOUT_SECONDS)
    try:
        policies = {resource.name: answer.result()[POLICY].value for resource, answer in asked.items()}
    except KafkaException as error:
        raise Ill(f"their settings are not told: {error.args[0].str()}", "allow this user to describe the topics' configuration") from error
    if lossy := [name for name, policy in policies.items() if policy != "compact"]:
        raise Ill(f"{POLICY} of {', '.join(lossy)} is not compact: state is lost with time", f"kafka-configs --alter, {POLICY}=compact")
    return f"{len(wanted)} are there"


def access(ours: Settings) -> str:
    """Whether Kafka keeps the tenants apart, as far as this user may know."""
    if not ours.kafka_user:
        return "Kafka asks nobody who they are: tenants are kept apart by nothing but their topics' names"
    if ours.kafka_user in {ours.tenant, tenants.GATEWAY}:
        return f"as {ours.kafka_user}, whom Kafka does not tell what others may"
    others = {ours.tenant, *filter(None, ours.tenants.split(","))} - {DEFAULT_TENANT}
    try:
        there = tenants.allowed(_admin(ours))
    except KafkaException as error:
        raise Ill(f"who may do what is not told: {error.args[0].str()}", "have the brokers use an authorizer") from error
    wanted = {tenant: tenants.rights(tenant) | tenants.rights_of_gateway([tenant]) for tenant in others}
    if lacking := sorted(tenant for tenant, rules in wanted.items() if not rules <= there):
        remedy = "; ".join(f"headrace tenant add {tenant}" for tenant in lacking)
        raise Ill(f"what users may do is not as it should be for {', '.join(lacking)}", remedy)
    return f"{len(there)} rules; tenants as they should be: {', '.join(sorted(others)) or 'none but the default one'}"


def registry(ours: Settings) -> str:
    """Whether the schema registry answers."""
    _subjects(ours)
    return shown(ours.registry)


def schemas(ours: Settings) -> str:
    """Whether the registry has, or would take, the schemas of this version."""
    known = Registry(ours.registry, ours.data / "schemas")
    try:
        refused = {contract.topic: reasons for contract in CONTRACTS.values() if (reasons := known.check(contract))}
    except RegistryDown as absence:
        raise Ill(str(absence), "headrace up, or set HEADRACE_REGISTRY") from absence
    if refused:
        told = "; ".join(f"{topic}: {reasons[0]}" for topic, reasons in refused.items())
        raise Ill(f"refused: {told}", f"headrace schemas check {' '.join(refused)} says more")
    return f"{len(CONTRACTS)} fit"


def mqtt(ours: Settings) -> str:
    """Whether the MQTT broker lets us in."""
    try:
        with connected(ours.mqtt):
            return ours.mqtt.rpartition("@")[2]
    except ValueError as error:
        raise Ill(str(error), "set HEADRACE_MQTT to mqtt://host:port") from error
    except NoAnswer as absence:
        raise Ill(str(absence), "headrace up, or set HEADRACE_MQTT to mqtt://host:port") from absence
    except Unwelcome as refusal:
        raise Ill(str(refusal), "put the name and password of somebody it knows into HEADRACE_MQTT, before the host") from refusal


def clickhouse(ours: Settings) -> str:
    """Whether the warehouse's engine can be used; the embedded one belongs to its worker and is looked at from outside."""
    if not ours.clickhouse:
        return f"embedded, in {ours.data / 'clickhouse'}"
    server = ClickHouse(ours.clickhouse, ours.data)
    try:
        return f"{server.place}, version {server.version()}"
    except (ClickHouseAway, CannotOpen) as absence:
        raise Ill(str(absence), "start it, or set HEADRACE_CLICKHOUSE to clickhouse://user:password@host:port/database") from absence


def centre(ours: Settings) -> str:
    """Whether the centre would take what a plant's uplink carries, where one is set."""
    if not ours.centre:
        return "none: set HEADRACE_CENTRE where an uplink is to run"
    there = ours.model_copy(update={"kafka": ours.centre, "registry": ours.centre_registry})
    try:
        brokers = kafka(there)
        require_topics(there.kafka, {in_kafka(ours.tenant, c.topic): c.partitions for c in CONTRACTS.values() if c.central})
        return f"{brokers}; {registry(there)}"
    except Ill as absence:
        raise Ill(absence.finding, "start it there, or set HEADRACE_CENTRE and HEADRACE_CENTRE_REGISTRY") from absence
    except NotReady as missing:
        raise Ill(str(missing), "headrace topics, with HEADRACE_KAFKA set to the centre's, makes those that are missing") from missing


def workers(ours: Settings) -> str:
    """Whether the workers on this machine do their work."""
    found = running(ours)
    if not found:
        raise Idle("none runs on this machine", "start one: faust -A streams.factory worker -l info")
    told = "; ".join(f"{each.name} {each.state}" + (f", {each.lag} behind" if each.lag is not None else "") for each in found)
    if unready := [each for each in found if not each.ready]:
        raise Ill(told, "; ".join(f"{each.url}/ready says more" for each in unready))
    return told


def clock(ours: Settings) -> str:
    """Whether this clock and the registry's agree; both are cut to seconds."""
    told = _subjects(ours).headers.get("date")
    if told is None:
        return "the registry does not tell the time"
    ahead = time.time() - parsedate_to_datetime(told).timestamp()
    if abs(ahead) > WINDOWING.disorder_ms / 1000:
        remedy = "have both machines follow NTP: readings would close windows too early, or be late"
        raise Ill(f"{ahead:+.0f} s from the registry's", remedy)
    return f"within {max(1, abs(ahead)):.0f} s of the registry's"


def disk(ours: Settings) -> str:
    """Whether the data folder can be written and has room."""
    try:
        require_disk(ours.data)
    except StackError as error:
        raise Ill(str(error), "make room, or set HEADRACE_DATA to a folder that has it") from error
    return str(ours.data.resolve())


def _subjects(ours: Settings) -> httpx.Response:
    try:
        return httpx.get(f"{ours.registry}/subjects", timeout=TIMEOUT_SECONDS).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Ill(
            f"{shown(ours.registry)} does not answer: {error}", "headrace up, or set HEADRACE_REGISTRY to http://host:port/path"
        ) from error


def _admin(ours: Settings) -> AdminClient:
    return AdminClient(quiet(ours.kafka, ours))
