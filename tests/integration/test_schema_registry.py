import asyncio
import json
import re
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from uuid import uuid4

import httpx
import polars as pl
import pytest
from typer.testing import CliRunner

import deploy.schemas_commands
import deploy.schemas_history
from deploy.embedded.stack import LocalStack, on_free_ports
from schemas.catalog import CONTRACTS, Contract
from schemas.changes import changes
from schemas.codec import Codec
from schemas.registry import Registry, RegistryDown, SchemaRefused
from schemas.wire import decode, encode
from streams.settings import settings
from tests.unit.test_schemas_released import RELEASED

OLD = {"id": "string", "value": "int"}
NEW = {"id": "string", "value": "double", "place": ("string", "hall-1")}
BREAKING = {"id": "string", "value": "string", "place": "string"}


@dataclass(frozen=True, kw_only=True)
class Draft(Contract):
    """A contract that is in no catalogue."""

    text: str

    @property
    def codec(self) -> Codec:
        return Codec(self.text)


def written(topic, text):
    return Draft(topic=topic, key="id", partitions=1, retention_hours=1, sink="none", text=text)


def draft(topic, fields):
    typed = [
        {"name": name, "type": kind[0], "default": kind[1]} if isinstance(kind, tuple) else {"name": name, "type": kind}
        for name, kind in fields.items()
    ]
    text = json.dumps({"type": "record", "name": "Reading", "fields": typed})
    return written(topic, text)


@pytest.fixture
def topic():
    return f"test-{uuid4().hex}"


@pytest.fixture
def url(stack):
    return stack.settings.registry


@pytest.fixture
def registry(url, tmp_path):
    return Registry(url, tmp_path)


def pump(source, sink):
    with suppress(OSError):
        while chunk := source.recv(65536):
            sink.sendall(chunk)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def relay(listener, target):
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection((target.host, target.port))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()


@contextmanager
def line_to(url):
    """An address at which the registry is reached until the line is cut."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=relay, args=(listener, httpx.URL(url)), daemon=True).start()
        yield str(httpx.URL(url).copy_with(port=listener.getsockname()[1]))
        listener.shutdown(socket.SHUT_RDWR)


def test_registering_again_gives_the_same_id(registry, topic):
    assert registry.register(draft(topic, OLD)) == registry.register(draft(topic, OLD))


def test_a_registered_schema_is_read_back_by_its_id(registry, url, topic, tmp_path):
    schema_id = registry.register(draft(topic, OLD))
    codec = asyncio.run(Registry(url, tmp_path / "other").writer(schema_id))
    assert codec.columns == draft(topic, OLD).codec.columns


def test_every_contract_of_the_catalogue_is_taken(registry):
    assert {name: registry.check(contract) for name, contract in CONTRACTS.items()} == {name: [] for name in CONTRACTS}


@pytest.mark.parametrize("name", RELEASED)
def test_the_registry_takes_the_schemas_of_today_after_those_of_the_last_release(registry, topic, name):
    registry.register(written(topic, RELEASED[name].text))
    assert registry.check(written(topic, CONTRACTS[name].codec.text)) == []


def test_the_registry_and_the_command_call_the_same_changes_breaking(registry):
    maybe, colour = ["null", "int"], {"type": "enum", "name": "Colour", "symbols": ["RED"]}
    more = colour | {"symbols": ["RED", "GREEN"]}
    steps = [("int", "double"), ("double", "int"), ("int", "string"), ("bytes", "string"), ("int", maybe), (maybe, "int"), (colour, more)]
    steps += [(more, colour), ({"type": "map", "values": "int"}, {"type": "map", "values": "long"})]
    pairs = [({"id": "string", "value": old}, {"id": "string", "value": new}) for old, new in steps]
    steps += [(colour, colour | {"name": "Tint"}), (colour, colour | {"name": "Tint", "aliases": ["Colour"]})]
    steps += [({"type": "array", "items": colour}, {"type": "array", "items": colour | {"name": "Tint"}})]
    pairs += [(OLD, NEW), (NEW, OLD), (OLD, BREAKING), (OLD, {"id": "string"}), ({"id": "string"}, OLD)]
    for old, new in pairs:
        was, now = (draft(f"test-{uuid4().hex}", fields) for fields in (old, new))
        registry.register(was)
        refused = registry.check(written(was.topic, now.text))
        assert bool(refused) == any(change.breaks for change in changes(was.codec, now.codec)), (old, new)


@pytest.mark.parametrize(
    ("wrote", "reads", "becomes"),
    [(OLD, NEW, {"id": "a", "value": 5.0, "place": "hall-1"}), (NEW, {"id": "string"}, {"id": "a"})],
    ids=["older producer", "newer producer"],
)
def test_records_evolve_both_ways_through_the_registry(registry, url, topic, tmp_path, wrote, reads, becomes):
    writer, reader = draft(topic, wrote), draft(topic, reads)
    row = {"id": "a", "value": 5, "place": "hall-2"}
    values = encode(writer.codec, registry.register(writer), pl.DataFrame([row]))
    consumer = Registry(url, tmp_path / "consumer")
    consumer.register(reader)
    (unknown,) = decode(values, reader.codec, consumer.known).unknown
    asyncio.run(consumer.writer(unknown))
    assert decode(values, reader.codec, consumer.known).frame.drop("row").rows(named=True) == [becomes]


def test_a_breaking_change_is_refused_with_the_registrys_reasons(registry, topic):
    registry.register(draft(topic, OLD))
    (reason,) = registry.check(draft(topic, BREAKING))
    assert "reader type: STRING not compatible with writer type: INT" in reason
    assert "place" in reason
    with pytest.raises(SchemaRefused, match="STRING not compatible with writer type: INT"):
        registry.register(draft(topic, BREAKING))


def test_a_subject_registered_by_others_without_a_rule_is_held_backward_too(registry, url, topic):
    httpx.post(f"{url}/subjects/{topic}-value/versions", json={"schema": draft(topic, OLD).text}).raise_for_status()
    assert registry.check(draft(topic, BREAKING))


def test_a_compatibility_somebody_chose_is_left_alone(registry, url, topic):
    registry.register(draft(topic, OLD))
    httpx.put(f"{url}/config/{topic}-value", json={"compatibility": "FULL"}).raise_for_status()
    registry.register(draft(topic, OLD))
    assert httpx.get(f"{url}/config/{topic}-value").json() == {"compatibilityLevel": "FULL"}


@pytest.mark.parametrize("default", ["{}", "[]", "", "null", 'a"{}', "{ }"])
def test_whatever_text_is_a_fields_default_the_schema_is_taken_and_read_back(registry, url, topic, tmp_path, default):
    contract = draft(topic, {"id": "string", "parameters": ("string", default)})
    assert registry.check(contract) == []
    schema_id = registry.register(contract)
    assert registry.register(contract) == schema_id
    read_back = Registry(url, tmp_path / "other").writer_now(schema_id)
    assert json.loads(read_back.text) == json.loads(contract.text)
    assert registry.check(contract) == []


def test_ids_mean_the_same_after_a_stop_and_after_a_kill(recorded, tmp_path):
    contracts = [draft("first", OLD), draft("second", NEW), draft("first", NEW)]
    settings = on_free_ports(tmp_path)
    with LocalStack(settings, ["registry"]) as stack:
        given = [Registry(settings.registry, tmp_path / "a").register(each) for each in contracts]
        stack.registry.kill()
        stack.registry.start()
        stack.registry.wait()
        assert [Registry(settings.registry, tmp_path / "b").register(each) for each in contracts[:2]] == given[:2]
    with LocalStack(settings, ["registry"]):
        reader = Registry(settings.registry, tmp_path / "c")
        assert [reader.writer_now(each).columns for each in given] == [each.codec.columns for each in contracts]
        assert reader.register(draft("third", BREAKING)) not in given


def test_an_id_the_registry_does_not_have_is_none(registry):
    assert asyncio.run(registry.writer(2**31 - 1)) is None


@pytest.mark.parametrize("act", [Registry.register, Registry.check, Registry.versions])
def test_an_address_that_is_no_registry_counts_as_a_registry_that_is_down(url, topic, tmp_path, act):
    elsewhere = Registry(str(httpx.URL(url).copy_with(path="/nothing/here")), tmp_path)
    with pytest.raises(RegistryDown, match="/nothing/here: status 404"):
        act(elsewhere, draft(topic, OLD))


def test_known_ids_flow_while_the_registry_is_down_and_unknown_ones_wait(url, topic, tmp_path):
    with line_to(url) as line:
        up = Registry(line, tmp_path)
        schema_id = up.register(draft(topic, OLD))
        values = encode(up.known[schema_id], schema_id, pl.DataFrame([{"id": "a", "value": 5}]))
    down = Registry(line, tmp_path)
    assert decode(values, draft(topic, NEW).codec, down.known).frame["value"].to_list() == [5.0]
    assert down.register(draft(topic, OLD)) == schema_id
    with pytest.raises(RegistryDown):
        down.register(draft(topic, NEW))
    with pytest.raises(RegistryDown):
        asyncio.run(down.writer(schema_id + 1))


@pytest.fixture
def schemas_command(stack, tmp_path, monkeypatch):
    """Runs `headrace schemas` on a catalogue of the given contracts."""
    monkeypatch.setattr(settings(), "data", tmp_path)
    monkeypatch.setattr(settings(), "registry", stack.settings.registry)

    def run(*arguments, contracts):
        for module in (deploy.schemas_commands, deploy.schemas_history):
            monkeypatch.setattr(module, "CONTRACTS", {contract.topic: contract for contract in contracts})
        return CliRunner().invoke(deploy.schemas_commands.app, arguments)

    return run


def test_the_command_registers_and_a_breaking_change_then_fails_in_words(schemas_command, topic):
    registered = schemas_command("register", contracts=[draft(topic, OLD)])
    assert (registered.exit_code, registered.output.startswith(f"{topic}: id ")) == (0, True)
    assert schemas_command("check", topic, contracts=[draft(topic, NEW)]).output == f"{topic}: compatible\n"
    for command in ("check", "register"):
        refused = schemas_command(command, contracts=[draft(topic, BREAKING)])
        assert refused.exit_code == 1
        assert f"{topic}: refused under BACKWARD compatibility:" in refused.output
        assert "reader type: STRING not compatible with writer type: INT" in refused.output


def test_the_command_says_when_the_registry_does_not_answer(schemas_command, topic, monkeypatch):
    monkeypatch.setattr(settings(), "registry", "http://127.0.0.1:1/apis/ccompat/v7")
    down = schemas_command("check", contracts=[draft(topic, OLD)])
    assert down.exit_code == 2
    assert "http://127.0.0.1:1/apis/ccompat/v7" in down.output
    assert "headrace status" in down.output


def test_the_command_names_the_topics_there_are(schemas_command, topic):
    unknown = schemas_command("check", "nonsense", contracts=[draft(topic, OLD)])
    assert unknown.exit_code == 1
    assert "no topic nonsense" in unknown.output


def test_the_command_shows_what_differs_and_what_that_means(schemas_command, registry, topic):
    registry.register(draft(topic, OLD))
    assert "no difference" in schemas_command("diff", topic, contracts=[draft(topic, OLD)]).output
    newer = schemas_command("diff", topic, contracts=[draft(topic, NEW)])
    assert newer.exit_code == 0
    assert "version 1 → this program's" in newer.output
    assert re.search(r"value +int → double", newer.output)
    assert re.search(r"place +added, string", newer.output)
    broken = schemas_command("diff", f"{topic}-value", contracts=[draft(topic, BREAKING)])
    assert broken.exit_code == 1
    registry.register(draft(topic, NEW))
    assert schemas_command("diff", topic, "--from", "1", "--to", "2", contracts=[draft(topic, OLD)]).exit_code == 0
    absent = schemas_command("diff", topic, "--from", "7", contracts=[draft(topic, OLD)])
    assert absent.exit_code == 1
    assert "there are 1, 2" in absent.output


def test_the_command_shows_how_a_schema_has_changed(schemas_command, registry, topic):
    ids = [registry.register(draft(topic, fields)) for fields in (OLD, NEW)]
    shown = schemas_command("history", topic, contracts=[draft(topic, NEW)])
    assert shown.exit_code == 0
    for line in (rf"1 +{ids[0]} +2 fields", rf"2 +{ids[1]} +value +int → double", r"place +added, string"):
        assert re.search(line, shown.output)
    unknown = draft(f"{topic}-other", OLD)
    assert schemas_command("history", unknown.topic, contracts=[unknown]).exit_code == 1
