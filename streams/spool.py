"""Messages on this gateway's own disk while Kafka is away: in SQLite, in a file of the gateway's own, synced before a device is told."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import orjson

from streams.consignment import Header

Result = TypeVar("Result")

# What a row takes in the file beyond its record, about: ids, lengths, an index entry and what pages leave empty.
ROW_BYTES: Final = 100
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS spooled (
    id INTEGER PRIMARY KEY, urgent INTEGER NOT NULL, tenant TEXT NOT NULL, topic TEXT NOT NULL,
    key BLOB, value BLOB, headers TEXT NOT NULL, bytes INTEGER NOT NULL
)"""
_INDEX: Final = "CREATE INDEX IF NOT EXISTS in_order ON spooled (tenant, urgent DESC, id)"

_OPENING: Final = (
    # one writer and no other reader: the lock tells a second gateway of it, and saves a file of shared memory
    "PRAGMA locking_mode=EXCLUSIVE",
    "PRAGMA auto_vacuum=INCREMENTAL",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    _TABLE,
    _INDEX,
)


class SpoolBusy(Exception):
    """Another process has the file; the message says which."""


class Outgoing(NamedTuple):
    """A record on its way to Kafka, and whose it is."""

    topic: str
    key: bytes | None
    value: bytes
    headers: list[Header]
    tenant: str
    """Empty: the gateway's own, a dead letter."""
    urgent: bool


class Spool:
    """Each tenant's records in the order they came, urgent ones first; each has so many bytes of the disk, and its turn when they go.

    All that touches the file runs in one thread, so nothing waits for a disk but who asked.
    """

    def __init__(self, file: Path, share_bytes: int) -> None:
        """Open nothing yet."""
        self._file = file
        self._share = share_bytes
        self._thread = ThreadPoolExecutor(1, "spool")
        self.rows: Counter[str] = Counter()
        """By tenant."""
        self.bytes: Counter[str] = Counter()
        """The same, of their records."""
        self.waiting: Counter[str] = Counter()
        """The rows among them that are to be given out."""
        self._next = 0
        self._apart: set[int] = set()
        """Ids of rows that are not to be given out: Kafka has them, or is about to."""
        self._gone: list[int] = []
        """Those that Kafka has, and a full disk did not let go."""

    async def open(self) -> None:
        """Open the file, and find what the last process left. Raises SpoolBusy."""
        await self._run(self._open)

    async def close(self) -> None:
        """Close the file."""
        await self._run(lambda: self._db.close())
        self._thread.shutdown()

    def room(self, records: Sequence[Outgoing]) -> list[bool]:
        """Which of the records there is room for; behind the first of a tenant that has none, no other of it has."""
        after = Counter(self.bytes)
        fits: list[bool] = []
        for record in records:
            after[record.tenant] += _size(record)
            fits.append(after[record.tenant] <= self._share)
        return fits

    @property
    def backlog(self) -> int:
        """Rows to be given out."""
        return self.waiting.total()

    async def put(self, records: Sequence[Outgoing], *, sent: bool = False) -> range | None:
        """Write records, all or none; their ids when they are synced, None if the disk takes none now.

        Those that are `sent` are on their way to Kafka: not given out but by the next process, should this one die first.
        """
        ids = range(self._next, self._next + len(records))
        self._next = ids.stop
        if not records:
            return ids
        try:
            await self._run(lambda: self._put(ids, records))
        except sqlite3.OperationalError:
            return None
        if sent:
            self._apart.update(ids)
        for record in records:
            self.rows[record.tenant] += 1
            self.waiting[record.tenant] += not sent
            self.bytes[record.tenant] += _size(record)
        return ids

    async def first(self, count: int) -> tuple[list[int], list[Outgoing]]:
        """The records that are next, about so many: as many of one tenant as of another. With their ids."""
        tenants = [tenant for tenant, rows in self.waiting.items() if rows]
        share = -(-count // max(len(tenants), 1))
        found = []
        for everything in await self._run(lambda: [self._first(tenant, share + len(self._apart)) for tenant in tenants]):
            found += [row for row in everything if row[0] not in self._apart][:share]
        found.sort(key=lambda row: (not row[1], row[0]))
        return [row[0] for row in found], [Outgoing(*row[3:6], _headers(row[6]), row[2], bool(row[1])) for row in found]

    async def remove(self, ids: Sequence[int], records: Sequence[Outgoing]) -> None:
        """Kafka has them. What a full disk does not let go is let go later, or goes to Kafka once more after a restart."""
        for number, record in zip(ids, records, strict=True):
            self.rows[record.tenant] -= 1
            self.waiting[record.tenant] -= number not in self._apart
            self.bytes[record.tenant] -= _size(record)
        self._apart.update(ids)
        self._gone += ids
        gone, is_empty = self._gone, not self.rows.total()
        try:
            await self._run(lambda: self._remove(gone, is_empty))
        except sqlite3.OperationalError:
            return
        self._gone = self._gone[len(gone) :]
        self._apart.difference_update(gone)

    async def _run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False, timeout=1)
        try:
            for statement in _OPENING:
                self._db.execute(statement)
            found = self._db.execute("SELECT tenant, count(*), sum(bytes), max(id) FROM spooled GROUP BY tenant").fetchall()
        except sqlite3.OperationalError as problem:
            raise SpoolBusy(f"{self._file} cannot be opened ({problem}): is another gateway of this name running?") from problem
        for tenant, rows, size, last in found:
            self.rows[tenant], self.waiting[tenant], self.bytes[tenant] = rows, rows, size
            self._next = max(self._next, last + 1)

    def _put(self, ids: range, records: Sequence[Outgoing]) -> None:
        rows = [
            (number, record.urgent, record.tenant, record.topic, record.key, record.value, _text(record.headers), _size(record))
            for number, record in zip(ids, records, strict=True)
        ]
        with _Transaction(self._db):
            self._db.executemany("INSERT INTO spooled VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def _first(self, tenant: str, count: int) -> list[tuple[int, int, str, str, bytes | None, bytes, str]]:
        columns = "id, urgent, tenant, topic, key, value, headers"
        wanted = f"SELECT {columns} FROM spooled WHERE tenant = ? ORDER BY urgent DESC, id LIMIT ?"
        return self._db.execute(wanted, (tenant, count)).fetchall()

    def _remove(self, ids: Sequence[int], is_empty: bool) -> None:
        with _Transaction(self._db):
            self._db.executemany("DELETE FROM spooled WHERE id = ?", [(number,) for number in ids])
        if is_empty:
            self._db.execute("PRAGMA incremental_vacuum").fetchall()
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


class _Transaction:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, failed: object, *_: object) -> None:
        if not failed:
            self._db.execute("COMMIT")
        elif self._db.in_transaction:
            self._db.execute("ROLLBACK")


def _size(record: Outgoing) -> int:
    headers = sum(len(name) + len(value) for name, value in record.headers)
    return len(record.topic) + len(record.key or b"") + len(record.value) + headers + ROW_BYTES


def _text(headers: Sequence[Header]) -> str:
    return orjson.dumps([(name, value.hex()) for name, value in headers]).decode()


def _headers(text: str) -> list[Header]:
    return [(name, bytes.fromhex(value)) for name, value in orjson.loads(text)]
