"""How many records a partition's next batches may hold, by what one took of the processor."""

from typing import Final

from streams.batches import BATCH_TOPICS, Batch

# What one batch may take of the processor before the next partition has its turn; less of a batch that is mostly rejects.
TURN_SECONDS: Final = 0.03
REJECTS_TURN_SECONDS: Final = 0.01
# What partitions of mostly rejects may take of the processor while others have records: a flood of garbage on one of four costs the
# other three less than a fifth, as producing and storing its letters costs twice what making them does.
REJECTS_SHARE: Final = 0.04
# What a batch costs whatever it holds.
OVERHEAD_SECONDS: Final = 0.002


def pace(batch: Batch, rejects: int, seconds: float) -> None:
    """Bound the partition's next batches by what this one took, of which so many records were rejects."""
    turn = TURN_SECONDS
    if 2 * rejects > len(batch):
        turn = REJECTS_TURN_SECONDS
        BATCH_TOPICS.rest(batch.topic, batch.partition, seconds * (1 / REJECTS_SHARE - 1))
    cost = max(seconds - OVERHEAD_SECONDS, 1e-6) / len(batch)
    BATCH_TOPICS.pace(batch.topic, batch.partition, int(turn / cost))
