"""What somebody has who installs the wheel and no checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMITTED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in COMMITTED:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True, timeout=600)
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


@pytest.mark.skipif(not COMMITTED, reason="this is no checkout: nobody knows which files are the project's")
def test_every_file_that_a_package_reads_is_in_the_wheel(wheel):
    packages = ("schemas/", "tables/", "agents/", "streams/", "deploy/")
    # made by `make release-schemas` for CI to compare with; a test of Prometheus's rules; a script of this checkout's tests
    kept_back = ("schemas/released/", "deploy/mosquitto.sh")
    wanted = {name for name in COMMITTED if name.startswith(packages) and not name.startswith(kept_back)}
    assert wanted - {*wheel.namelist()} == set()


def test_the_licence_that_the_metadata_names_is_in_the_wheel(wheel):
    (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    said = wheel.read(metadata).decode()
    assert "License-Expression: Apache-2.0" in said
    assert "License-File: LICENSE" in said
    (licence,) = (name for name in wheel.namelist() if name.endswith("/LICENSE"))
    assert "Apache License" in wheel.read(licence).decode()
