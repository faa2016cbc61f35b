"""Checkpoints in a changelog: immutable buckets of state, and a manifest that names those that belong together.

State is cut into families (one per pane, one of episodes), each family into shards by device. A changed shard is written under a
key of its own, and so never overwrites anything. Once all are delivered the manifest is written: it makes the checkpoint exist.
Recovery takes the complete manifest with the highest fence, the source offset (exclusive) up to which it is applied; as state is a
deterministic function of the log, that is the latest state whoever wrote it, a zombie that was paused included.

Two writers of one partition share no key: each signs its keys, its first checkpoint copies what it recovered, and it deletes only
what its own manifests named. So a zombie cannot delete what its successor's manifest names; a zombie's own manifest may lose
buckets to the successor, who clears up after it, and is then passed over.
"""

import io
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final
from uuid import uuid4

import orjson
import polars as pl

# A row takes 60 bytes in LZ4 (measured), 300 at worst (device ids of 200 random bytes): a shard stays below the broker's limit of 1 MB.
ROWS_PER_SHARD: Final = 2_500
# Checkpoints before other writers' keys are deleted, one a second: longer than the 10 s after which a worker that lost its partitions
# knows it, so that none deletes what the new owner had already written when it recovered.
PATIENCE: Final = 30
VERSION: Final = 1
_MANIFEST: Final = "manifest"


class UnreadableCheckpoint(Exception):
    """A changelog this version cannot recover from; `problem` says why."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}: run the version that wrote it, or give the state up by `headrace state forget`")
        self.problem = problem


class OtherLogs(Exception):
    """The state is that of other `topics` than those of their names now; `fence` is how far it goes in them."""

    def __init__(self, topics: Sequence[str], fence: int) -> None:
        super().__init__(f"{', '.join(topics)}: made anew since")
        self.topics, self.fence = topics, fence


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
    """The buckets of one partition that the changelog holds, as one writer knows them."""

    writer: str = field(default_factory=lambda: uuid4().hex[:12])
    """Signs the keys; no two ledgers have the same."""
    logs: Mapping[str, str] = field(default_factory=dict)
    """Topic → its id, of the source and of the changelog: part of every manifest, as far as they are known."""
    current: dict[tuple[str, int], tuple[str, bytes]] = field(default_factory=dict)
    """(family, shard) → key and digest of the version the latest manifest of ours names."""
    inherited: dict[tuple[str, int], bytes] = field(default_factory=dict)
    """(family, shard) → value recovered from another writer's bucket, until the first checkpoint of ours."""
    foreign: set[str] = field(default_factory=set)
    """Keys of other writers, to be deleted."""
    patience: int = PATIENCE
    """Checkpoints until `foreign` is deleted."""
    manifest: str | None = None
    """Key of our latest manifest."""

    def stage(self, fence: int, facts: Mapping[str, Any], changed: Mapping[str, pl.DataFrame], dropped: Iterable[str]) -> Checkpoint:
        """The next checkpoint: families in `changed` are replaced, those in `dropped` are gone; shards whose bytes are equal stay."""
        gone = set(dropped) | set(changed)
        current = {part: version for part, version in self.current.items() if part[0] not in gone}
        values = {part: value for part, value in self.inherited.items() if part[0] not in gone}
        values |= {(family, shard): _pack(rows) for family, frame in changed.items() for shard, rows in _shards(frame).items()}
        buckets: dict[bytes, bytes] = {}
        for part, value in values.items():
            digest = blake2b(value, digest_size=16).digest()
            key, known = self.current.get(part, ("", b""))
            if digest != known:
                key = f"{part[0]}/{part[1]}{self._signature(fence)}"
                buckets[key.encode()] = value
            current[part] = (key, digest)
        named = [key for key, _ in current.values()]
        manifest = f"{_MANIFEST}{self._signature(fence)}"
        obsolete = self._obsolete() - {*named, manifest}
        self.current, self.inherited, self.manifest = current, {}, manifest
        content = orjson.dumps({"version": VERSION, "fence": fence, "facts": facts, "buckets": named, "logs": self.logs})
        return Checkpoint(fence, buckets, (manifest.encode(), content), sorted(key.encode() for key in obsolete))

    def recover(self, changelog: Mapping[bytes, bytes]) -> Recovered | None:
        """State of the complete manifest with the highest fence; None without a manifest. Raises `UnreadableCheckpoint`, `OtherLogs`.

        For a ledger that has staged nothing yet.
        """
        self.foreign = {key.decode() for key in changelog}
        manifests = sorted((key for key in self.foreign if key.startswith(f"{_MANIFEST}@")), key=_fence, reverse=True)
        missing: set[str] = set()
        for key in manifests:
            manifest = orjson.loads(changelog[key.encode()])
            if manifest["version"] != VERSION:
                raise UnreadableCheckpoint(f"the changelog holds checkpoints of version {manifest['version']}, this is version {VERSION}")
            had = manifest.get("logs", {})  # the first versions wrote none
            if others := [topic for topic, identity in self.logs.items() if had.get(topic, identity) != identity]:
                raise OtherLogs(others, manifest["fence"])
            if not (missing := set(manifest["buckets"]) - self.foreign):
                return self._inherit(manifest, changelog)
        if manifests:
            raise UnreadableCheckpoint(f"the changelog lacks buckets of all its manifests ({', '.join(sorted(missing)[:3])}, …)")
        return None

    def _inherit(self, manifest: Mapping[str, Any], changelog: Mapping[bytes, bytes]) -> Recovered:
        families: dict[str, list[pl.DataFrame]] = {}
        for key in manifest["buckets"]:
            family, shard = key.partition("@")[0].rsplit("/", 1)
            value = self.inherited[family, int(shard)] = changelog[key.encode()]
            families.setdefault(family, []).append(pl.read_ipc(io.BytesIO(value)))
        return Recovered(manifest["fence"], manifest["facts"], {family: pl.concat(parts) for family, parts in families.items()})

    def _signature(self, fence: int) -> str:
        return f"@{fence}~{self.writer}"

    def _obsolete(self) -> set[str]:
        """Keys a new manifest makes useless, unless it names them too."""
        ours = {key for key, _ in self.current.values()} | ({self.manifest} if self.manifest else set())
        self.patience = max(self.patience - 1, 0)
        if self.patience:
            return ours
        foreign, self.foreign = self.foreign, set()
        return ours | foreign


def _fence(key: str) -> int:
    return int(key.rpartition("@")[2].partition("~")[0])


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
