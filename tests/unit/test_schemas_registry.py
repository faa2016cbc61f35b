import asyncio
import shutil

import pytest

from schemas.catalog import READINGS
from schemas.registry import Registry, RegistryDown

NOWHERE = "http://127.0.0.1:1/apis/ccompat/v7"


def test_an_unknown_id_raises_while_the_registry_is_down_and_is_never_taken_for_missing(tmp_path):
    with pytest.raises(RegistryDown, match="schema registry http://127"):
        asyncio.run(Registry(NOWHERE, tmp_path).writer(7))


@pytest.mark.parametrize("act", [Registry.check, Registry.register])
def test_check_and_register_raise_while_the_registry_is_down(tmp_path, act):
    with pytest.raises(RegistryDown):
        act(Registry(NOWHERE, tmp_path), READINGS)


def test_a_damaged_file_in_the_cache_is_no_schema(tmp_path):
    registry = Registry(NOWHERE, tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / "7.avsc").write_text(READINGS.codec.text[:-5])
    (folder / "8.avsc").write_text(READINGS.codec.text)
    assert registry.known.keys() == set()
    assert Registry(NOWHERE, tmp_path).known.keys() == {8}


def test_a_disk_that_takes_no_schema_does_not_keep_it_from_those_who_read(tmp_path):
    registry = Registry(NOWHERE, tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")
    registry._remember(7, READINGS.codec)
    assert asyncio.run(registry.writer(7)) is READINGS.codec


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
