"""`headrace doctor` with one thing or another broken on purpose."""

import asyncio
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from agents.gateway.mapping import Row
from deploy.embedded.artemis import Artemis
from deploy.embedded.preflight import free_ports
from deploy.embedded.stack import LocalStack, on_free_ports
from deploy.topics import ensure_topics
from schemas.catalog import CHANGELOGS, LATE, MAPPINGS
from streams.operators import apply
from streams.producer import deliver
from streams.topics import create_missing
from tests.integration.line import PATIENCE, http

CHECKS = [
    "kafka",
    "access",
    "topics",
    "registry",
    "schemas",
    "centre",
    "mqtt",
    "certificates",
    "mapping",
    "spool",
    "clickhouse",
    "clock",
    "descriptors",
    "disk",
    "workers",
]
CHANGELOG = next(iter(CHANGELOGS))


@pytest.fixture
def doctor(stack, tmp_path):
    """Runs the command with settings that differ; gives its exit code, and what it found by what it looked at."""

    def run(**changes):
        settings = stack.settings.model_copy(update={"data": tmp_path, **changes})
        command = [str(Path(sys.executable).with_name("headrace")), "doctor"]
        environment = settings.environment(COLUMNS="400")
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
        found = re.findall(r"^ ?([✓✗?]) +(\w+) +(.*?)(?:  +(.*?))? *$", done.stdout, re.MULTILINE)
        return done.returncode, {name: (mark, finding, remedy) for mark, name, finding, remedy in found}, done

    return run


def ill(found):
    return {name for name, (mark, *_) in found.items() if mark == "✗"}


def test_a_stack_that_runs_is_well(doctor):
    code, found, done = doctor()
    assert code == 0, done.stdout + done.stderr
    assert set(CHECKS) == found.keys()
    assert {name: row[0] for name, row in found.items() if row[0] != "✓"} == {"workers": "?"}


def test_what_is_away_is_named_with_what_to_do_and_the_rest_is_still_looked_at(doctor):
    (port,) = free_ports(1)
    away = {"mqtt": f"mqtt://127.0.0.1:{port}", "kafka": f"127.0.0.1:{port}", "registry": f"http://127.0.0.1:{port}"}
    code, found, done = doctor(**away, clickhouse=f"clickhouse://somebody:secret@127.0.0.1:{port}/x")
    assert code == 1, done.stdout + done.stderr
    assert ill(found) == {"kafka", "registry", "mqtt", "clickhouse"}
    for name in ill(found):
        assert f"HEADRACE_{name.upper()}" in found[name][2]
    assert {name: found[name] for name in ("topics", "schemas", "clock", "mapping")} == {
        "topics": ("?", "not looked at without kafka", ""),
        "schemas": ("?", "not looked at without registry", ""),
        "clock": ("?", "not looked at without registry", ""),
        "mapping": ("?", "not looked at without kafka and topics and registry", ""),
    }
    assert found["disk"][0] == "✓"
    assert "secret" not in done.stdout + done.stderr


def test_the_centre_of_a_plant_is_looked_at_where_one_is_set(doctor, stack):
    ours = stack.settings
    (port,) = free_ports(1)
    assert doctor(centre=ours.kafka, centre_registry=ours.registry)[1]["centre"][0] == "✓"
    mark, finding, remedy = doctor(centre=ours.kafka, centre_registry=f"http://127.0.0.1:{port}")[1]["centre"]
    assert mark == "✗"
    assert f":{port}" in finding
    assert "HEADRACE_CENTRE_REGISTRY" in remedy


def test_a_folder_that_cannot_be_written_and_an_address_that_is_none_are_said_so(doctor, tmp_path):
    (tmp_path / "file").touch()
    code, found, done = doctor(data=tmp_path / "file")
    assert code == 1, done.stdout + done.stderr
    assert ill(found) == {"disk"}
    assert "HEADRACE_DATA" in found["disk"][2]
    code, _, done = doctor(mqtt="127.0.0.1:1883")
    assert code == 1
    assert "HEADRACE_MQTT: mqtt://host:port" in done.stderr


def test_a_missing_topic_and_a_refused_login_are_named(doctor, stack, tmp_path):
    strict = Strict(stack.settings.model_copy(update={"data": tmp_path, "mqtt": f"mqtt://127.0.0.1:{free_ports(1)[0]}"}))
    admin = AdminClient({"bootstrap.servers": stack.settings.kafka})
    (deleted,) = admin.delete_topics([LATE.topic], operation_timeout=30).values()
    deleted.result()
    while LATE.topic in admin.list_topics(timeout=10).topics:
        time.sleep(0.1)
    try:
        strict.start()
        strict.wait()
        code, found, done = doctor(mqtt=strict.settings.mqtt)
    finally:
        strict.stop()
        ensure_topics(stack.settings.kafka)
    assert code == 1, done.stdout + done.stderr
    assert ill(found) == {"topics", "mqtt"}
    assert f"{LATE.topic} is missing" in found["topics"][1]
    assert found["topics"][2] == "headrace topics makes those that are missing"
    assert "refuses" in found["mqtt"][1]
    assert "password" in found["mqtt"][2]
    assert "HEADRACE_MQTT" in found["mqtt"][2]


class Strict(Artemis):
    """Lets nobody in without a name."""

    def command(self):
        command = super().command()
        configuration = self.folder / "etc" / "broker.xml"
        configuration.write_text(configuration.read_text().replace("<security-enabled>false", "<security-enabled>true"))
        return command


def test_a_refused_schema_and_a_changelog_that_forgets_are_named(doctor, stack, tmp_path):
    other = LATE.codec.text.replace('"late_by_ms", "type": "long"', '"late_by_ms", "type": "string"')
    set_policy(stack.settings, "delete")
    try:
        with LocalStack(on_free_ports(tmp_path / "apart"), ("registry",)) as apart:
            url = apart.settings.registry
            http.put(f"{url}/config/{LATE.subject}", json={"compatibility": "NONE"}).raise_for_status()
            http.post(f"{url}/subjects/{LATE.subject}/versions", json={"schema": other}).raise_for_status()
            code, found, done = doctor(registry=url)
    finally:
        set_policy(stack.settings, "compact")
    assert code == 1, done.stdout + done.stderr
    assert ill(found) == {"topics", "schemas"}
    assert CHANGELOG in found["topics"][1]
    assert "cleanup.policy=compact" in found["topics"][2]
    assert "late: " in found["schemas"][1]
    assert found["schemas"][2] == "headrace schemas check late says more"


def set_policy(settings, policy):
    admin = AdminClient({"bootstrap.servers": settings.kafka})
    entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    (done,) = admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, CHANGELOG, incremental_configs=[entry])]).values()
    done.result()


def test_a_setting_that_cannot_be_is_named_by_its_variable(doctor):
    code, _, done = doctor(broker_heap_mb="much")
    assert (code, done.stdout) == (1, "")
    assert done.stderr.startswith("HEADRACE_BROKER_HEAP_MB: ")
    assert "Traceback" not in done.stderr


def test_what_no_row_of_the_mapping_matches_is_told_and_a_row_to_no_topic_is_ill(doctor, stack, tmp_path):
    settings = stack.settings
    create_missing(settings.kafka, ["iot.raw.strange"])
    asyncio.run(deliver(settings.kafka, "iot.raw.strange", [b"k"] * 3, [b"v"] * 3, 30))
    mark, finding, _ = doctor()[1]["mapping"]
    assert (mark, "strange (3)" in finding) == ("✓", True)
    row = Row(pattern="holes/+/x", topic="holes.raw", data_type="hole")
    asyncio.run(apply(settings, MAPPINGS, "gateway", [row]))
    mark, finding, remedy = doctor()[1]["mapping"]
    assert (mark, "holes/+/x → holes.raw" in finding, "headrace map apply" in remedy) == ("✗", True, True)
    asyncio.run(apply(settings, MAPPINGS, "gateway", [row.model_copy(update={"retired": True})]))
    assert doctor()[1]["mapping"][0] == "✓"
