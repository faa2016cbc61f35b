"""Checkpoints in a changelog: immutable buckets of state, and a manifest that names those that belong together.

State is cut into families (one per pane, one of episodes), each family into shards by device. A changed shard is written under a
key that holds its fence, the source offset (exclusive) up to which it is applied, and so never overwrites anything. Once all are
delivered the manifest is written: it makes the checkpoint exist. Recovery takes the manifest with the highest fence; as state is a
deterministic function of the log, that is the latest state whoever wrote it, a zombie that was paused included. What the winning
manifest does not name is deleted when its fence is passed, for until then its own manifest may still come.
"""

import io
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import orjson
import polars as pl

# A row takes 60 bytes in LZ4 (measured), 300 at worst (device ids of 200 random bytes): a shard stays below the broker's limit of 1 MB.
ROWS_PER_SHARD: Final = 2_500
VERSION: Final = 1
_MANIFEST: Final = "manifest"


class UnreadableCheckpoint(Exception):
    """A changelog this version cannot recover from; `problem` says why."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}: run the version that wrote it, or reset the table by deleting its changelog topic")
        self.problem = problem


@dataclass(frozen=True)
class Checkpoint:
    """What to write for one checkpoint, in this order: `buckets`, then `manifest`, then `obsolete` keys as tombstones."""

    fence: int
    buckets: Mapping[bytes, bytes]
    manifest: tuple[bytes, bytes]
    obsolete: Iterable[bytes]


@dataclass(frozen=True)
class Recovered:
    """State at `fence`: `facts` as they were staged, and the frame of each family, its rows sorted by nothing."""

    fence: int
    facts: Mapping[str, Any]
    families: Mapping[str, pl.DataFrame]


@dataclass
class Ledger:
    """The buckets of one partition that the changelog holds."""

    current: dict[tuple[str, int], tuple[str, bytes]] = field(default_factory=dict)
    """(family, shard) → key and digest of the version the latest manifest names."""
    leftover: set[str] = field(default_factory=set)
    """Keys no manifest of ours names."""

    def stage(self, fence: int, facts: Mapping[str, Any], changed: Mapping[str, pl.DataFrame], dropped: Iterable[str]) -> Checkpoint:
        """The next checkpoint: families in `changed` are replaced, those in `dropped` are gone; shards whose bytes are equal stay."""
        before = dict(self.current)
        gone = set(dropped) | set(changed)
        self.current = {part: version for part, version in self.current.items() if part[0] not in gone}
        buckets: dict[bytes, bytes] = {}
        for family, frame in changed.items():
            for shard, rows in _shards(frame).items():
                value = _pack(rows)
                digest = blake2b(value, digest_size=16).digest()
                key, known = before.get((family, shard), ("", b""))
                if digest != known:
                    key = f"{family}/{shard}@{fence}"
                    buckets[key.encode()] = value
                self.current[family, shard] = (key, digest)
        named = [key for key, _ in self.current.values()]
        manifest = {"version": VERSION, "fence": fence, "facts": facts, "buckets": named}
        key = f"{_MANIFEST}@{fence}"
        obsolete = {old for old, _ in before.values()} | {old for old in self.leftover if _fence(old) <= fence}
        obsolete -= {*named, key}
        self.leftover = {old for old in self.leftover if _fence(old) > fence} | {key}
        return Checkpoint(fence, buckets, (key.encode(), orjson.dumps(manifest)), sorted(old.encode() for old in obsolete))

    def recover(self, changelog: Mapping[bytes, bytes]) -> Recovered | None:
        """State of the manifest with the highest fence; None where there is none. Raises `UnreadableCheckpoint`."""
        keys = {key.decode() for key in changelog}
        manifests = [key for key in keys if key.startswith(f"{_MANIFEST}@")]
        self.current, self.leftover = {}, keys
        if not manifests:
            return None
        manifest = orjson.loads(changelog[max(manifests, key=_fence).encode()])
        if manifest["version"] != VERSION:
            raise UnreadableCheckpoint(f"the changelog holds checkpoints of version {manifest['version']}, this is version {VERSION}")
        if missing := set(manifest["buckets"]) - keys:
            raise UnreadableCheckpoint(f"the changelog lacks buckets its manifest names ({', '.join(sorted(missing)[:3])}, …)")
        families: dict[str, list[pl.DataFrame]] = {}
        for key in manifest["buckets"]:
            family, shard = key.partition("@")[0].rsplit("/", 1)
            value = changelog[key.encode()]
            self.current[family, int(shard)] = (key, blake2b(value, digest_size=16).digest())
            families.setdefault(family, []).append(pl.read_ipc(io.BytesIO(value)))
        self.leftover = keys - set(manifest["buckets"])
        return Recovered(manifest["fence"], manifest["facts"], {family: pl.concat(parts) for family, parts in families.items()})


def _fence(key: str) -> int:
    return int(key.rpartition("@")[2])


def _shards(frame: pl.DataFrame) -> dict[int, pl.DataFrame]:
    """Cut by a hash of `device_id` that is the same for ever, a power of two of shards; rows keep their order."""
    count = 1 << (frame.height // ROWS_PER_SHARD).bit_length()
    devices = frame.select(pl.col("device_id").unique(maintain_order=True))
    shard = pl.Series([zlib.crc32(device.encode()) % count for device in devices["device_id"]], dtype=pl.UInt32)
    frame = frame.join(devices.with_columns(shard=shard), on="device_id", how="left", maintain_order="left")
    return {int(key): part for (key,), part in frame.partition_by("shard", as_dict=True, include_key=False).items()}


def _pack(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc(buffer, compression="lz4")
    return buffer.getvalue()
