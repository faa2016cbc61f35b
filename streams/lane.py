"""A partition of a watched topic while it is this worker's."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP, EventT

from agents.watch import Watch


@dataclass(eq=False)
class Lane:
    """One partition as long as it is ours: its state, and the batches that are not yet acknowledged."""

    tp: TP
    watch: Watch
    observed: list[EventT[Any]] = field(default_factory=list)
    """In the state, and with the next checkpoint in the changelog."""
    parked: deque[EventT[Any]] = field(default_factory=deque)
    """Waiting for schemas from the registry."""
    active_at: float = field(default_factory=time.monotonic)
    checkpoint_at: float = float("-inf")
    """When the latest checkpoint began; the first is due at once."""
    idle: bool = False
    telling: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held until all is sent that a batch calls for: a checkpoint in between would acknowledge what was never delivered."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """The ledger as of the latest delivered checkpoint: what a restart does not take back."""
    forecasts: Mapping[str, int] = field(default_factory=dict)
    """What became of forecasts, as of the same."""
    crashes: Mapping[str, int] = field(default_factory=dict)
    """Panes that rules over trends did not judge, as of the same."""
