"""What gets no further, and for how long, on a clock that stands while the process is suspended."""

from collections.abc import Hashable, Mapping


class Stalls:
    """How long what is due has been where it is."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[Hashable, float]] = {}

    def observe(self, due: Mapping[str, Hashable] | None, now: float) -> dict[str, float]:
        """Seconds since each of `due` (name → how far it is) became due or got further. Times are on a clock of the caller's.

        None where that is not known now: what was due is where it was.
        """
        before = self._since
        if due is None:
            due = {name: position for name, (position, _) in before.items()}
        self._since = {
            name: before[name] if name in before and before[name][0] == position else (position, now) for name, position in due.items()
        }
        return {name: now - since for name, (_, since) in self._since.items()}


class Awake:
    """A clock that stands while the process is suspended: a step longer than `longest` seconds counts as that long."""

    def __init__(self, longest: float, now: float) -> None:
        self._longest = longest
        self._before = now
        self.seconds = 0.0

    def step(self, now: float) -> float:
        """Seconds awake at `now`, which is on the monotonic clock."""
        self.seconds += min(now - self._before, self._longest)
        self._before = now
        return self.seconds
