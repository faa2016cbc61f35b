"""The broker's and the registry's Java archives, pinned by version and SHA-256, fetched through jgo into the Maven cache."""

import errno
import hashlib
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from threading import Event
from typing import Final

from filelock import FileLock
from jgo.config import GlobalSettings
from jgo.maven import Artifact, MavenContext, PythonResolver

from deploy.embedded.errors import StackError

ATTEMPTS: Final = 3  # a repository behind a busy proxy resets a connection now and then

Progress = Callable[[int], None]
"""Called with a number of bytes as they arrive."""


@dataclass(frozen=True)
class Pin:
    """One line of a lock file: an archive, its size in bytes and its SHA-256."""

    sha256: str
    size: int
    coordinates: str
    """`group:artifact:version:packaging[:classifier]`"""

    @classmethod
    def parse(cls, line: str) -> "Pin":
        """The pin a lock file's line holds."""
        sha256, size, coordinates = line.split()
        return cls(sha256, int(size), coordinates)

    def __str__(self) -> str:
        return f"{self.sha256} {self.size} {self.coordinates}"

    def artifact(self, context: MavenContext) -> Artifact:
        """The archive as jgo names it."""
        group, name, version, packaging, *classifier = self.coordinates.split(":")
        return context.project(group, name).at_version(version).artifact("".join(classifier), packaging)


def pins(service: str) -> tuple[Pin, ...]:
    """What `deploy/embedded/<service>.lock` pins; `python -m deploy.embedded.lock` writes these files."""
    text = (files("deploy.embedded") / f"{service}.lock").read_text(encoding="utf-8")
    return tuple(Pin.parse(line) for line in text.splitlines())


def missing(wanted: Sequence[Pin]) -> int:
    """Bytes of the pinned archives that are not on this machine."""
    context = _context(lambda _: None)
    return sum(pin.size for pin in wanted if not _path(pin, context).exists())


class _AbortedError(Exception):
    """Another download failed, or the user gave up."""


def fetch(wanted: Sequence[Pin], progress: Progress = lambda _: None) -> list[Path]:
    """The pinned archives' paths, in the pins' order, downloaded where absent and verified every time."""
    over = Event()

    def unless_over(count: int) -> None:
        if over.is_set():
            raise _AbortedError
        progress(count)

    context = _context(unless_over)
    pool = ThreadPoolExecutor(max_workers=4)
    try:
        context.repo_cache.mkdir(parents=True, exist_ok=True)
        with FileLock(context.repo_cache / ".headrace.lock"):
            try:
                return list(pool.map(lambda pin: _fetch(pin, context), wanted))
            finally:
                # Ctrl-C is not to wait for a hundred megabytes
                over.set()
                pool.shutdown(cancel_futures=True)
    except OSError as error:
        raise StackError(f"Cannot write to {context.repo_cache}: {error}. Set M2_REPO to a folder with 400 MB of space.") from error


def cache_folder() -> Path:
    """What is ours in the user's cache."""
    return Path(GlobalSettings.load().cache_dir / "headrace")


def unpack(archive: Path, sha256: str) -> Path:
    """The folder a tar archive was unpacked to, once per content."""
    folder = cache_folder() / sha256
    if not folder.exists():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
                with tarfile.open(archive) as tar:
                    # Python before 3.11.4 has no filters and needs none here: the content is the pinned one
                    tar.extraction_filter = getattr(tarfile, "data_filter", None)
                    tar.extractall(partial)
                # one rename: a folder of that name is whole, whatever interrupts us
                Path(partial).rename(folder)
        except FileExistsError:
            return folder  # another process was faster
        except OSError as error:
            raise StackError(f"Cannot unpack to {folder.parent}: {error}. Set JGO_CACHE_DIR to a folder with 400 MB of space.") from error
    return folder


def _context(progress: Progress) -> MavenContext:
    @contextmanager
    def callback(_name: str, _size: int) -> Iterator[Progress]:
        yield progress

    user = GlobalSettings.load()
    return MavenContext(
        resolver=PythonResolver(progress_callback=callback),
        repo_cache=user.repo_cache,
        remote_repos=user.repositories or None,
        timeout=60,
    )


def _path(pin: Pin, context: MavenContext) -> Path:
    artifact = pin.artifact(context)
    return Path(context.repo_cache / artifact.component.path_prefix / artifact.filename)


def _fetch(pin: Pin, context: MavenContext) -> Path:
    path = _path(pin, context)
    reason = ""
    for _ in range(ATTEMPTS):
        if path.exists():
            with path.open("rb") as archive:
                if hashlib.file_digest(archive, "sha256").hexdigest() == pin.sha256:
                    return path
            # an interrupted download leaves half a file behind
            path.unlink()
            reason = "its SHA-256 is not the pinned one"
        try:
            pin.artifact(context).resolve()
        except (OSError, RuntimeError) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
                raise
            reason = str(error)
    raise StackError(
        f"Cannot download {pin.coordinates}: {reason}\n"
        f"The first start needs a way to {', '.join(context.remote_repos.values())}: HTTPS_PROXY is honoured, and jgo's configuration file "
        f"can name a mirror. Later starts need no network. Or copy {context.repo_cache} from a machine that has it."
    )
