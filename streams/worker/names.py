"""Which workers there are, for who asks the `faust` command for one that is none."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

STREAMS: Final = Path(__file__).parents[1]
_APP: Final = re.compile(r"^app = App\(", re.MULTILINE)
_ASKED: Final = re.compile(r"streams(\.(?P<name>[^:]*))?(:.*)?")


def workers() -> list[str]:
    """Modules of `streams` with an app."""
    return sorted(path.stem for path in STREAMS.glob("*.py") if _is_worker(path))


def refusal(arguments: Sequence[str]) -> str:
    """What is wrong with the app a `faust` command line asks for, if it is to be one of ours; empty: nothing."""
    asked = _ASKED.fullmatch(_app(arguments))
    if asked is None:
        return ""
    name = (asked["name"] or "").removesuffix(".app")
    if name.isidentifier() and _is_worker(STREAMS / f"{name}.py"):
        return ""
    return f"no worker {name}; there are {', '.join(workers())}" if name else f"which worker? There are {', '.join(workers())}"


def _is_worker(path: Path) -> bool:
    return path.is_file() and _APP.search(path.read_text(encoding="utf-8")) is not None


def _app(arguments: Sequence[str]) -> str:
    """The value of -A or --app, the last one; empty without."""
    found = ""
    for place, argument in enumerate(arguments):
        if argument in ("-A", "--app"):
            found = next(iter(arguments[place + 1 : place + 2]), "")
        elif argument.startswith("--app="):
            found = argument.removeprefix("--app=")
        elif argument.startswith("-A"):
            found = argument.removeprefix("-A")
    return found
