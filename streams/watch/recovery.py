"""A partition's state as its changelog has it, if it is the state of the log that is there; else what happened, and what accepts it."""

from collections.abc import Mapping

from faust.types import TP

from agents.reading import Domain
from agents.watch import Watch
from tables.checkpoint import OtherLogs, UnreadableCheckpoint


class StateLost(Exception):
    """A partition's state cannot be taken up: a sentence or two for whoever runs the worker."""


def recovered(watch: Watch, tp: TP, name: str, changelog: Mapping[bytes, bytes], committed: int | None) -> Watch:
    """The watch with the latest state of the changelog `name`; `committed` is the group's offset in `tp`. Raises StateLost."""
    accept = f"Stop the workers and run `headrace state forget {watch.domain.name}`: it forgets the state of {tp.topic}"
    again = f"{accept}, which is then read from its first record on, so that every window of what is still there is whole."
    try:
        watch.recover(changelog)
    except OtherLogs as others:
        if name in others.topics:
            raise StateLost(f"{name} was made anew under a running worker: part of the state of {tp.topic} is gone. {again}") from others
        raise StateLost(
            f"{tp.topic} was made anew since the state in {name} was written: of partition {tp.partition} all records below offset "
            f"{others.fence} would be taken for known and left out. {again}"
        ) from others
    except UnreadableCheckpoint as unreadable:
        raise StateLost(f"{unreadable.problem}. Run the version that wrote it, or forget it. {again}") from unreadable
    if not watch.fence and committed:
        raise StateLost(
            f"{name} holds no state of partition {tp.partition} of {tp.topic}, of which {committed} records are done with: it was "
            f"made anew or emptied, and windows that were open would be told of with a part of their readings. {again}"
        )
    return watch


def forget(domain: Domain) -> str:
    """What to do where a topic that the state rests on is another one than when its worker started."""
    return (
        f"Stop the workers and run `headrace state forget {domain.name}`: it forgets the state of a log which is gone, and "
        f"{domain.source.topic} is read from its first record on."
    )
