"""The oldest Python that `requires-python` allows, where the machine has an older one than runs the tests: Debian 12 has 3.11.2."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSION = "import sys; print(*sys.version_info[:3])"

IMPORT_ALL = """
import importlib, pkgutil
for name in ("schemas", "tables", "agents", "deploy", "streams"):
    for module in pkgutil.walk_packages(importlib.import_module(name).__path__, name + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
"""
UNPACK = """
import sys
from pathlib import Path
from deploy.embedded.artifacts import unpack
print(unpack(Path(sys.argv[1]), "0" * 64))
"""


def version(program):
    said = subprocess.run([program, "-c", VERSION], capture_output=True, text=True, check=False).stdout.split()
    return tuple(map(int, said))


@pytest.fixture(scope="module")
def older():
    """A Python of our minor version, so that it can use our packages, and older than ours."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = [path for folder in ("/usr/bin", "/usr/local/bin") if (path := shutil.which(name, path=folder))]
    older = [path for path in found if sys.version_info[:2] <= version(path) < sys.version_info[:3]]
    if not older:
        pytest.skip(f"no {name} older than {sys.version.split()[0]} on this machine")
    return min(older, key=version)


def run(program, code, *arguments, **variables):
    path = f"{ROOT}:{sysconfig.get_path('purelib')}:{sysconfig.get_path('platlib')}"
    done = subprocess.run(
        [program, "-c", code, *map(str, arguments)],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_module_can_be_imported(older, tmp_path):
    run(older, IMPORT_ALL, HEADRACE_DATA=str(tmp_path))


def test_the_registry_s_archive_is_unpacked(older, tmp_path):
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "file").write_text("x")
    archive = shutil.make_archive(str(tmp_path / "archive"), "gztar", tmp_path / "content")
    folder = run(older, UNPACK, archive, JGO_CACHE_DIR=str(tmp_path / "cache"))
    assert (Path(folder) / "file").read_text() == "x"
