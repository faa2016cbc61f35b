"""The programs `prometheus` and `promtool`: the machine's, or those of Debian's package, fetched without being root and not installed."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from filelock import FileLock
from jgo.config import GlobalSettings

from deploy.embedded.errors import StackError

PACKAGE: Final = "prometheus"
REMEDY: Final = (
    "Install Prometheus so that prometheus and promtool are in PATH (Debian, Ubuntu: apt-get install prometheus; macOS: brew install "
    "prometheus), or let a machine with apt-get reach its packages' mirror."
)

Program = Literal["prometheus", "promtool"]


def program(name: Program) -> Path:
    """Where the program is. Fetches 20 MB once where PATH has none; raises StackError where that cannot be done."""
    found = shutil.which(name)
    return Path(found) if found else _unpacked() / "usr" / "bin" / name


def _unpacked() -> Path:
    """The folder the package was unpacked to, once a machine, beside what the local stack unpacks."""
    folder = GlobalSettings.load().cache_dir / "headrace" / PACKAGE
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
                # one rename: a folder of that name is whole, whatever interrupts us
                _download(Path(partial)).rename(folder)
    return folder


def _download(work: Path) -> Path:
    """The unpacked package, somewhere in `work`."""
    lists, cache, content = work / "state", work / "cache", work / "content"
    # Lists of packages of our own: the machine's may be absent or old, and only root may renew them. apt checks their signatures.
    apt = ["apt-get", "-q", "-o", f"Dir::State={lists}", "-o", f"Dir::Cache={cache}"]
    for part in (lists / "lists" / "partial", cache / "archives" / "partial"):
        part.mkdir(parents=True)
    _run([*apt, "update"], work)
    _run([*apt, "download", PACKAGE], work)
    (archive,) = work.glob("*.deb")
    _run(["dpkg", "-x", str(archive), str(content)], work)
    return content


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        subprocess.run(
            command, cwd=folder, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    except FileNotFoundError as error:
        raise StackError(f"There is no Prometheus on this machine, and no {command[0]} to fetch one with. {REMEDY}") from error
    except subprocess.CalledProcessError as error:
        raise StackError(f"Cannot fetch Prometheus: {' '.join(command)} says:\n{error.stdout.strip()}\n{REMEDY}") from error
