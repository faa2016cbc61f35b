"""Programs of Debian's packages, fetched without being root and not installed: unpacked beside the local stack's archives."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock
from jgo.config import GlobalSettings

from deploy.embedded.errors import StackError


def unpacked(package: str, remedy: str) -> Path:
    """The folder a package and what it needs of packages that the machine has not were unpacked to, once a machine.

    Fetches them the first time. Raises StackError, which ends in `remedy`, where that cannot be done.
    """
    folder = Path(GlobalSettings.load().cache_dir / "headrace" / package)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
                # one rename: a folder of that name is whole, whatever interrupts us
                _download(package, Path(partial), remedy).rename(folder)
    return folder


def libraries(folder: Path) -> str:
    """What `LD_LIBRARY_PATH` is to be for a program in such a folder."""
    return ":".join(sorted({str(file.parent) for file in folder.rglob("*.so*")}))


def _download(package: str, work: Path, remedy: str) -> Path:
    """The unpacked packages, somewhere in `work`."""
    lists, cache, content = work / "state", work / "cache", work / "content"
    # Lists of packages of our own: the machine's may be absent or old, and only root may renew them. apt checks their signatures.
    apt = ["apt-get", "-q", "-o", f"Dir::State={lists}", "-o", f"Dir::Cache={cache}", "-o", "Debug::NoLocking=1"]
    for part in (lists / "lists" / "partial", cache / "archives" / "partial"):
        part.mkdir(parents=True)
    _run([*apt, "update"], package, remedy)
    _run([*apt, "install", "--yes", "--download-only", "--reinstall", "--no-install-recommends", package], package, remedy)
    for archive in (cache / "archives").glob("*.deb"):
        _run(["dpkg", "-x", str(archive), str(content)], package, remedy)
    return content


def _run(command: Sequence[str], package: str, remedy: str) -> None:
    if shutil.which(command[0]) is None:
        raise StackError(f"There is no {package} on this machine, and no {command[0]} to fetch one with. {remedy}")
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise StackError(f"Cannot fetch {package}: {' '.join(command)} says:\n{done.stdout.strip()}\n{remedy}")
