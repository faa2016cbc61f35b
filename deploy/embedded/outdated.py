"""`make outdated`: which pinned parts have a newer release than ours. Exit code 0: none; 1: some; 2: none of those that could be asked for.

Parts are the Java archives of `lock.py`, `compose.yaml`'s images of the same servers, and what `pyproject.toml` holds below a version. jgo
asks for archives, pip for packages: their configuration says where.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from importlib.metadata import version
from pathlib import Path
from typing import Final

import yaml
from jgo.config import GlobalSettings
from jgo.maven import MavenContext, compare_versions
from packaging.requirements import Requirement
from packaging.version import Version
from rich.console import Console
from rich.table import Table

from deploy.embedded.lock import LIBRARIES, WHOLE

ROOT: Final = Path(__file__).parents[2]
RELEASE: Final = re.compile(r"\d+(\.\d+)*(\.Final)?")
"""A version that is no alpha, candidate or milestone."""
IMAGES: Final = {"kafka": "org.apache.kafka:kafka_2.13", "registry": "io.apicurio:apicurio-registry-app"}
"""Services of `compose.yaml` by the archive that holds the same server."""
SILENT: Final = "not known: its registry did not answer"

Ask = Callable[[str], Sequence[str]]
"""The versions that a registry has of a name; none where it did not answer."""


@dataclass(frozen=True)
class Part:
    """What is pinned, and how it stands."""

    name: str
    ours: str
    newest: str
    behind: bool = False

    @property
    def known(self) -> bool:
        """Whether its registry answered."""
        return self.newest != SILENT


def archives(roots: Iterable[str], ask: Ask) -> list[Part]:
    """The archives that are resolved, `group:artifact:version…`. Those of one group and version are one server: all must have a version."""
    servers: dict[tuple[str, str], list[str]] = {}
    for root in roots:
        group, artifact, ours, *_ = root.split(":")
        servers.setdefault((group, ours), []).append(f"{group}:{artifact}")
    return [_archive(names, ours, [set(ask(name)) for name in names]) for (_, ours), names in servers.items()]


def _archive(names: list[str], ours: str, found: list[set[str]]) -> Part:
    if not all(found):
        return Part(names[0], ours, SILENT)
    kept = [each for each in set.intersection(*found) if RELEASE.fullmatch(each)]
    newest = max([ours, *kept], key=cmp_to_key(compare_versions))
    return Part(names[0], ours, newest, compare_versions(ours, newest) < 0)


def images(compose: str, parts: Iterable[Part]) -> list[Part]:
    """`compose.yaml`'s images of servers that are archives, too: the same version, and as new."""
    services, by_name = yaml.safe_load(compose)["services"], {part.name: part for part in parts}
    found = []
    for service, archive in IMAGES.items():
        name, _, tag = services[service]["image"].rpartition(":")
        part = by_name[archive]
        found.append(Part(f"image {name}", tag, part.newest if part.known else part.ours, tag != part.ours or part.behind))
    return found


def packages(requirements: Iterable[str], installed: Callable[[str], str], ask: Ask) -> list[Part]:
    """The Python packages that a requirement keeps below a version; of any other an installation takes the newest anyhow."""
    pinned = [Requirement(each) for each in requirements]
    return [_package(each, installed(each.name), ask(each.name)) for each in pinned if _has_end(each)]


def _has_end(requirement: Requirement) -> bool:
    return any(clause.operator in {"==", "<", "<=", "~=", "==="} for clause in requirement.specifier)


def _package(requirement: Requirement, ours: str, found: Sequence[str]) -> Part:
    versions = [Version(each) for each in found]
    # another epoch, or a number that is a date, is another way to count: it says nothing of ours
    kept = [each for each in versions if not each.is_prerelease and each.epoch == Version(ours).epoch and each.major < 10**6]
    if not kept:
        return Part(f"{requirement.name}{requirement.specifier}", ours, SILENT)
    return Part(f"{requirement.name}{requirement.specifier}", ours, str(max(kept)), max(kept) not in requirement.specifier)


def exit_code(parts: Sequence[Part]) -> int:
    """1 if something is behind; 2 if that is not known of all."""
    if any(part.behind for part in parts):
        return 1
    return 0 if all(part.known for part in parts) else 2


def _archive_versions(name: str) -> Sequence[str]:
    user = GlobalSettings.load()
    # nothing of the user's cache: it would answer for a registry that does not
    with tempfile.TemporaryDirectory() as empty:
        project = MavenContext(repo_cache=Path(empty), remote_repos=user.repositories or None, timeout=60).project(*name.split(":"))
        project.update()
        return list(project.metadata.versions)


def _package_versions(name: str) -> Sequence[str]:
    command = [sys.executable, "-m", "pip", "index", "versions", "--disable-pip-version-check", name]
    answer = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False).stdout
    line = re.search(r"^Available versions: (.+)$", answer, re.MULTILINE)
    return line[1].split(", ") if line else []


def main() -> None:
    """Print the table, and end with the exit code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    resolved = dict.fromkeys(root for roots in (*LIBRARIES.values(), [*WHOLE.values()]) for root in roots)
    parts = archives(resolved, _archive_versions)
    parts += images((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"), parts)
    parts += packages(requirements, version, _package_versions)
    table = Table("part", "ours", "newest", "", box=None)
    for part in parts:
        table.add_row(part.name, part.ours, part.newest, "behind" if part.behind else "")
    console = Console()
    console.print(table)
    if silent := [part.name for part in parts if not part.known]:
        console.print(f"No registry answered for {', '.join(silent)}.", soft_wrap=True, highlight=False, markup=False)
    console.print("compose.yaml's other images are not asked for: they come from no registry that jgo or pip knows.", soft_wrap=True)
    sys.exit(exit_code(parts))


if __name__ == "__main__":
    main()
