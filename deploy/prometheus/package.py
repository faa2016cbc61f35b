"""The programs `prometheus` and `promtool`: the machine's, or those of Debian's package, fetched without being root and not installed."""

import shutil
from pathlib import Path
from typing import Final, Literal

from deploy.debian import unpacked

REMEDY: Final = (
    "Install Prometheus so that prometheus and promtool are in PATH (Debian, Ubuntu: apt-get install prometheus; macOS: brew install "
    "prometheus), or let a machine with apt-get reach its packages' mirror."
)

Program = Literal["prometheus", "promtool"]


def program(name: Program) -> Path:
    """Where the program is. Fetches 20 MB once where PATH has none; raises StackError where that cannot be done."""
    found = shutil.which(name)
    return Path(found) if found else unpacked("prometheus", REMEDY) / "usr" / "bin" / name
