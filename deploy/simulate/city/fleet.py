"""A city's devices: one row each, with its kind, district and protocol."""

from collections.abc import Sequence
from itertools import cycle
from typing import Final

import numpy as np
import polars as pl

from agents.gateway.message import Source
from deploy.simulate.city.kinds import KINDS

DISTRICTS: Final = ("riverside", "old-town", "harbour", "station", "university", "hillside", "market", "airport")
# Each has a connection of its own, which takes more of the processor than a message does.
MOST_CONNECTED: Final = 200
CONNECTED: Final = frozenset({Source.WEBSOCKET, Source.COAP})


def fleet(devices: int, seed: int, protocols: Sequence[Source], tenant: str) -> pl.DataFrame:
    """Columns `device_id` (<tenant>_<kind>_<number>), `kind`, `topic`, `qos`, `district`, `protocol`, `own` and `phase` (see Moments).

    Every kind is there where there are as many devices; the protocols are dealt out in turn, WebSocket and CoAP to
    `MOST_CONNECTED` devices each where there are others.
    """
    rng = np.random.default_rng(seed)
    names = _names(devices)
    kinds = {kind.name: kind for kind in KINDS}
    number = np.concatenate([np.arange(count) for _, count in names])
    of = [kinds[name] for name, count in names for _ in range(count)]
    ids = [f"{tenant}_{kind.name}_{n:05d}" for kind, n in zip(of, number, strict=True)]
    return pl.DataFrame(
        {
            "device_id": ids,
            "kind": [kind.name for kind in of],
            "topic": [kind.topic.format(device) for kind, device in zip(of, ids, strict=True)],
            "qos": [kind.qos for kind in of],
            "district": [DISTRICTS[n % len(DISTRICTS)] for n in number],
            "protocol": pl.Series(_dealt(devices, protocols), dtype=pl.String)[rng.permutation(devices)],
            "own": rng.uniform(-1, 1, devices),
            "phase": np.concatenate([np.arange(count) / count for _, count in names]),
        }
    )


def _names(devices: int) -> list[tuple[str, int]]:
    """How many devices there are of each kind; what rounding leaves over is of the first."""
    others = max(0, devices - len(KINDS))
    counts = {kind.name: int(row < devices) + int(kind.share * others) for row, kind in enumerate(KINDS)}
    counts[KINDS[0].name] += devices - sum(counts.values())
    return [(name, count) for name, count in counts.items() if count]


def _dealt(devices: int, protocols: Sequence[Source]) -> list[str]:
    free = [protocol for protocol in protocols if protocol not in CONNECTED]
    fair = -(-devices // len(protocols))
    of_connected = [protocol for protocol in protocols if protocol in CONNECTED for _ in range(min(fair, MOST_CONNECTED if free else fair))]
    dealt = of_connected[:devices]
    turns = cycle(free)
    return [*map(str, dealt), *(str(next(turns)) for _ in range(devices - len(dealt)))]
