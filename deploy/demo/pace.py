"""Whether this machine carries what its devices send."""

from collections import deque
from dataclasses import dataclass
from typing import Final

BEHIND_SECONDS: Final = 5.0
"""Simulators say once a second how far they are, and send a second's messages together."""
WAITING_SECONDS: Final = 10.0
"""What consumer groups have yet to commit: they do so every second or two."""
OVER_SECONDS: Final = 15.0
REMEDY: Final = "fewer --devices and --city-devices are less work"


@dataclass(frozen=True)
class Moment:
    """What is looked at."""

    at: float
    """Monotonic, seconds."""
    behind_seconds: float
    """How far the simulators are behind their clock, at worst."""
    waiting: int
    """Records that consumer groups have yet to take."""
    came: int
    """Records ever written that they are to take."""


class Pace:
    """Looks at one moment after the other."""

    def __init__(self) -> None:
        self._moments: deque[Moment] = deque()
        self.worst_seconds = 0.0
        """How far the simulators were behind their clock."""
        self.was_behind = False

    def look(self, now: Moment) -> str:
        """What is behind, in words; empty while the machine keeps up."""
        self._moments.append(now)
        while now.at - self._moments[0].at > OVER_SECONDS:
            self._moments.popleft()
        first = self._moments[0]
        rate = (now.came - first.came) / (now.at - first.at) if now.at > first.at else 0
        grows = now.waiting > first.waiting and now.waiting > WAITING_SECONDS * rate > 0
        late = now.behind_seconds > BEHIND_SECONDS
        self.worst_seconds = max(self.worst_seconds, now.behind_seconds)
        if not late and not grows:
            return ""
        self.was_behind = True
        what = [f"the devices are {now.behind_seconds:.0f} s behind their clock"] if late else []
        what += [f"{now.waiting:,} records wait, more than {OVER_SECONDS:.0f} s ago"] if grows else []
        return f"this machine falls behind: {' and '.join(what)}. All of it arrives, later; {REMEDY}"
