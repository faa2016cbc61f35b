"""What somebody has who installs the wheel and no checkout."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from deploy.embedded import processes
from deploy.embedded.stack import on_free_ports
from tests.integration.line import PATIENCE

pytestmark = pytest.mark.long
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
    return built


@pytest.fixture(scope="module")
def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        yield archive


def version(python):
    said = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:3])"], capture_output=True, text=True, check=False)
    return tuple(map(int, said.stdout.split()))


def oldest():
    """The minor version that the project asks for at least."""
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    return re.fullmatch(r">=(3\.\d+)(\.\d+)?", asked)[1]


def python(minor):
    """The oldest Python of that minor version on this machine."""
    folders = ["/usr/bin", "/usr/local/bin", *map(str, sorted(Path.home().glob(f".pyenv/versions/{minor}.*/bin")))]
    found = {path for folder in (*folders, None) if (path := shutil.which(f"python{minor}", path=folder))}
    works = [path for path in found if version(path)]
    if not works:
        pytest.skip(f"NOT RUN on Python {minor}: this machine has no python{minor}")
    return min(works, key=version)


@pytest.mark.skipif(not COMMITTED, reason="this is no checkout: nobody knows which files are the project's")
def test_every_file_that_a_package_reads_is_in_the_wheel(contents):
    packages = ("schemas/", "tables/", "agents/", "streams/", "deploy/")
    # made by `make release-schemas` for CI to compare with; a test of Prometheus's rules; a script of this checkout's tests
    kept_back = ("schemas/released/",)
    wanted = {name for name in COMMITTED if name.startswith(packages) and not name.startswith(kept_back)}
    assert wanted - {*contents.namelist()} == set()


def test_the_licence_that_the_metadata_names_is_in_the_wheel(contents):
    (metadata,) = (name for name in contents.namelist() if name.endswith(".dist-info/METADATA"))
    said = contents.read(metadata).decode()
    assert "License-Expression: Apache-2.0" in said
    assert "License-File: LICENSE" in said
    (licence,) = (name for name in contents.namelist() if name.endswith("/LICENSE"))
    assert "Apache License" in contents.read(licence).decode()


@pytest.mark.parametrize("minor", [oldest(), "3.13"])
def test_the_wheel_alone_runs_the_demo(recorded, wheel, tmp_path, minor):
    own = tmp_path / "venv"
    # Debian's Python brings no pip
    subprocess.run([python(minor), "-m", "venv", "--without-pip", str(own)], check=True)
    install = [sys.executable, "-m", "pip", "--python", str(own / "bin" / "python"), "install", "--quiet", str(wheel)]
    subprocess.run(install, check=True, timeout=4 * PATIENCE)
    ours = on_free_ports(tmp_path / "data")
    command = [str(own / "bin" / "headrace"), "demo", "--for", "15", "--devices", "5", "--city-devices", "10"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=ours.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=4 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Ended, all well" in done.stdout
    assert not processes.find(ours.data)
