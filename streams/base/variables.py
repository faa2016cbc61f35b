"""Which environment variables of our prefix mean something, and to whom."""

import re
from collections.abc import Iterator, Mapping, Set
from difflib import get_close_matches
from typing import Final

PREFIX: Final = "HEADRACE_"
FOLDER: Final = f"{PREFIX}STACK"
SERVICE: Final = f"{PREFIX}SERVICE"
"""By these a process of a local stack says which folder's and which service it is."""
DASHBOARDS: Final = f"{PREFIX}DASHBOARDS"
"""By this Grafana knows where its dashboards are."""
SIMULATE_TOKEN: Final = f"{PREFIX}SIMULATE_TOKEN"
"""By this the simulated city has its token."""
_SLIP: Final = 0.92
"""How like each other two names are, prefix included, that differ by a slip."""
# What Kubernetes tells every container of a service that is called headrace or headrace-….
_OF_KUBERNETES: Final = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")


def unknown(environment: Mapping[str, str], settings: Set[str]) -> Iterator[str]:
    """A sentence for each variable of our prefix that is none of the settings' and nobody else's."""
    for name in sorted({name.upper() for name in environment if name.upper().startswith(PREFIX)}):
        if name in settings or name in (FOLDER, SERVICE, DASHBOARDS, SIMULATE_TOKEN) or _is_of_kubernetes(name, environment):
            continue
        near = _near(name, settings)
        yield f"{name} is no setting" + (f"; did you mean {near}?" if near else ": docs/reference/settings.md lists them.")


def _near(name: str, settings: Set[str]) -> str:
    """The setting that is meant: a slip of one, one with a word too many (KAFKA_SERVERS), or the one most like it; empty: none."""
    slips = get_close_matches(name, settings, 1, _SLIP)
    longest = max((setting for setting in settings if name.startswith(f"{setting}_")), key=len, default="")
    like = get_close_matches(name.removeprefix(PREFIX), [setting.removeprefix(PREFIX) for setting in settings], 1)
    return (slips and slips[0]) or longest or (like and f"{PREFIX}{like[0]}") or ""


def _is_of_kubernetes(name: str, environment: Mapping[str, str]) -> bool:
    ends = (place.start() for place in re.finditer("_", name))
    return any(f"{name[:end]}_SERVICE_HOST" in environment and _OF_KUBERNETES.fullmatch(name, end) for end in ends)
