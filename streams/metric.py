"""A row of the metrics' catalogue."""

from typing import Final, Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]


class Metric(NamedTuple):
    """One row of the catalogue. Labels take values from closed sets (partitions, topics, outcomes), never a device's id."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    symptom: str
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets."""

    @property
    def help(self) -> str:
        """The HELP text."""
        return f"{self.meaning} {self.symptom}"


# From a tenth of a millisecond, a batch of a few records, to 10 s, where a session would end.
SECONDS: Final = (0.0001, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
