"""The schemas of today read every record of the last release, whose schemas `make release-schemas` froze."""

import shutil
import subprocess
from pathlib import Path

import pytest

from schemas.catalog import CONTRACTS
from schemas.changes import changes
from schemas.codec import Codec

ROOT = Path(__file__).parents[2]
RELEASES = sorted((ROOT / "schemas" / "released").iterdir(), key=lambda folder: [int(part) for part in folder.name.split(".")])
RELEASED = {path.stem: Codec(path.read_text()) for path in RELEASES[-1].glob("*.avsc")}


def broken(topic, today):
    """What of the released topic the codec of today does not read any more."""
    return [change for change in changes(RELEASED[topic], today) if change.breaks]


@pytest.mark.parametrize("topic", RELEASED)
def test_every_record_of_the_last_release_is_read(topic):
    assert topic in CONTRACTS, "a topic that was released is a promise: keep its row in the catalogue"
    assert broken(topic, CONTRACTS[topic].codec) == []


def test_a_schema_that_does_not_read_what_was_released_is_found():
    text = RELEASED["factory.readings"].text
    for was, now in [('"double"', '"string"'), ('"name": "value"', '"name": "measurement"'), ("timestamp-millis", "timestamp-micros")]:
        assert was in text
        assert broken("factory.readings", Codec(text.replace(was, now)))


def test_releasing_freezes_the_schemas_once_for_a_version(tmp_path):
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "schemas" / "avro", tmp_path / "schemas" / "avro")
    release = ["make", "-s", "release-schemas"]
    assert subprocess.run(release, cwd=tmp_path, check=False).returncode == 0
    (frozen,) = (tmp_path / "schemas" / "released").iterdir()
    assert {path.stem for path in frozen.iterdir()} == {contract.schema or contract.topic for contract in CONTRACTS.values()}
    again = subprocess.run(release, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode != 0
    assert "raise the version" in again.stdout
