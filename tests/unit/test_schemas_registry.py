import asyncio
import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.catalog import READINGS
from schemas.codec import Codec
from schemas.registry import Registry, RegistryDown, _sent
from tests.fakes.registry import registry

NOWHERE = "http://127.0.0.1:1/apis/ccompat/v7"


def test_an_unknown_id_raises_while_the_registry_is_down_and_is_never_taken_for_missing(tmp_path):
    with pytest.raises(RegistryDown, match="schema registry http://127"):
        asyncio.run(Registry(NOWHERE, tmp_path).writer(7))


@pytest.mark.parametrize("act", [Registry.check, Registry.register])
def test_check_and_register_raise_while_the_registry_is_down(tmp_path, act):
    with pytest.raises(RegistryDown):
        act(Registry(NOWHERE, tmp_path), READINGS)


def test_a_damaged_file_in_the_cache_is_no_schema(tmp_path):
    known = Registry(NOWHERE, tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / "7.avsc").write_text(READINGS.codec.text[:-5])
    (folder / "8.avsc").write_text(READINGS.codec.text)
    assert known.known.keys() == set()
    assert Registry(NOWHERE, tmp_path).known.keys() == {8}


def test_a_disk_that_takes_no_schema_does_not_keep_it_from_those_who_read(tmp_path):
    known = Registry(NOWHERE, tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")
    known._remember(7, READINGS.codec)
    assert asyncio.run(known.writer(7)) is READINGS.codec


def test_each_registry_has_a_cache_of_its_own(tmp_path):
    folders = set()
    for url in (NOWHERE, "http://127.0.0.1:2/", "https://registry.example/a/b"):
        Registry(url, tmp_path)
        folders.add(len(list(tmp_path.iterdir())))
    assert folders == {1, 2, 3}


def test_a_password_is_neither_printed_nor_written_to_disk(tmp_path):
    with pytest.raises(RegistryDown) as down:
        asyncio.run(Registry("http://me:secret@127.0.0.1:1/apis", tmp_path).writer(7))
    assert "secret" not in str(down.value)
    assert not any("secret" in folder.name for folder in tmp_path.iterdir())


@pytest.mark.parametrize(
    "answer",
    [
        (404, '{"error_code": 40403}'),
        (404, '{"error_code": 0}'),  # Apicurio, of an id that is no int
        (404, "<html>no such page</html>"),
        (400, "[]"),
        (403, '{"error_code": 40301}'),
        (410, ""),
        (422, '{"error_code": 42201}'),
    ],
)
@pytest.mark.parametrize("ask", ["writer", "writer_now"])
def test_whatever_a_registry_says_of_an_id_but_its_schema_no_record_waits_for_it(tmp_path, answer, ask):
    with registry() as fake:
        fake.answers["/schemas/ids/7"] = answer
        assert told(ask, Registry(fake.url, tmp_path), 7) is None


@pytest.mark.parametrize("status", [401, 407, 408, 425, 429, 500, 502, 503])
@pytest.mark.parametrize("ask", ["writer", "writer_now"])
def test_what_is_said_of_who_asks_or_of_the_registry_rejects_no_record(tmp_path, status, ask):
    with registry() as fake:
        fake.answers["/schemas/ids/7"] = (status, "{}")
        with pytest.raises(RegistryDown):
            told(ask, Registry(fake.url, tmp_path), 7)


@pytest.mark.parametrize("schema_id", [0, 2**31, 2**32 - 1])
@pytest.mark.parametrize("ask", ["writer", "writer_now"])
def test_no_registry_is_asked_for_an_id_that_none_can_have(tmp_path, schema_id, ask):
    assert told(ask, Registry(NOWHERE, tmp_path), schema_id) is None


def told(ask, asked, schema_id):
    found = getattr(asked, ask)(schema_id)
    return asyncio.run(found) if ask == "writer" else found


def test_cached_schemas_that_the_registry_no_longer_has_under_their_ids_are_forgotten(tmp_path):
    other = READINGS.codec.text.replace("Reading", "Meter")
    with registry() as fake:
        fake.schemas = {1: READINGS.codec.text, 2: READINGS.codec.text, 3: READINGS.codec.text}
        cached = Registry(fake.url, tmp_path)
        assert all(cached.writer_now(schema_id) for schema_id in (1, 2, 3))
        fake.schemas = {1: other, 3: json.dumps(json.loads(READINGS.codec.text))}  # emptied, and filled by others
        again = Registry(fake.url, tmp_path)
        assert again.verify() == [1, 2]
        assert again.known.keys() == {3}
        assert again.writer_now(1).name == "SensorMeter"
        assert Registry(fake.url, tmp_path).known.keys() == {1, 3}


@given(default=st.text() | st.sampled_from(["{}", 'a"{}', "{}b", '"{}"', "\\\\{}"]))
def test_a_schema_is_sent_in_a_text_of_the_same_meaning_and_without_a_quoted_object(default):
    codec = Codec(json.dumps({"type": "record", "name": "R", "fields": [{"name": "a", "type": "string", "default": default}]}))
    assert json.loads(_sent(codec)) == json.loads(codec.text)
    assert '"{}"' not in _sent(codec)


@pytest.mark.parametrize("answer", [(500, ""), (404, "<html>"), (200, "{}")])
def test_a_registry_that_does_not_answer_makes_nobody_forget(tmp_path, answer):
    with registry() as fake:
        fake.schemas = {1: READINGS.codec.text}
        Registry(fake.url, tmp_path).writer_now(1)
        fake.answers["/schemas/ids/1"] = answer
        again = Registry(fake.url, tmp_path)
        with pytest.raises(RegistryDown):
            again.verify()
        assert again.known.keys() == {1}
