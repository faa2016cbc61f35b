"""Messages on this gateway's own disk while Kafka is away: in SQLite, in a file of the gateway's own, synced before a device is told."""

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence, Set
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import orjson

from schemas.folders import private
from streams.consignment import Header

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
_Row = tuple[int, int, str, str, bytes | None, bytes, str]

# What a row takes in the file beyond its record, about: ids, lengths, an index entry and what pages leave empty.
ROW_BYTES: Final = 100
LET_GO_ROWS: Final = 5_000
"""Deleted together: a disk that is nearly full has no room to note more."""
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

    All that touches the file runs in one thread, in the order it was asked for; so nothing waits for a disk but who asked. What that thread
    knows is its own: the counters are kept here, from what it answers.
    """

    def __init__(
        self,
        file: Path,
        share_bytes: int,
        *,
        connect: Callable[..., sqlite3.Connection] = sqlite3.connect,
        thread: Executor | None = None,
    ) -> None:
        """Open nothing yet. `connect` opens the file, as sqlite3's does; `thread`: where that runs, one job at a time."""
        self._file = file
        self._share = share_bytes
        self._connect = connect
        self._thread = thread or ThreadPoolExecutor(1, "spool")
        self.rows: Counter[str] = Counter()
        """Records that Kafka does not have yet, by tenant."""
        self.bytes: Counter[str] = Counter()
        """What those take, and those that are being written."""
        self.waiting: Counter[str] = Counter()
        """The rows among them that are to be given out."""
        self.topics: Counter[tuple[str, str]] = Counter()
        """Those again, by tenant and topic."""
        self._next = 0
        self._sent: set[int] = set()
        """Ids of rows that are on their way to Kafka."""
        # the thread's own:
        self._held: set[int] = set()
        """Ids of rows that are not to be given out, as they were sent."""
        self._gone: set[int] = set()
        """Those that Kafka has, and a full disk did not let go."""

    async def open(self) -> None:
        """Open the file, and find what the last process left. Raises SpoolBusy."""
        await self._run(self._open)

    async def close(self) -> None:
        """Let go what can be let go, and close the file."""
        await self._run(self._close)
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

    def ready(self, tenant: str, without: Set[str]) -> int:
        """A tenant's rows to be given out, but for those of some topics."""
        return self.waiting[tenant] - sum(self.topics[tenant, topic] for topic in without)

    async def put(self, records: Sequence[Outgoing], *, sent: bool = False) -> range | None:
        """Write records, all or none; their ids when they are synced, None if the disk takes none now.

        Those that are `sent` are on their way to Kafka: not given out but by the next process, should this one die first.
        """
        ids = range(self._next, self._next + len(records))
        self._next = ids.stop
        if not records:
            return ids
        sizes: Counter[str] = Counter()
        for record in records:
            sizes[record.tenant] += _size(record)
        self.bytes.update(sizes)  # before it is there: what comes meanwhile finds no room that is taken already
        if not await self._run(lambda: self._put(ids, records, sent=sent)):
            self.bytes.subtract(sizes)
            return None
        rows = Counter(record.tenant for record in records)
        self.rows.update(rows)
        if sent:
            self._sent.update(ids)
        else:
            self.waiting.update(rows)
            self.topics.update((record.tenant, record.topic) for record in records)
        return ids

    async def first(self, count: int, without: Set[str] = frozenset()) -> tuple[list[int], list[Outgoing]]:
        """The records that are next, about so many: as many of one tenant as of another, none of some topics. With their ids.

        Nothing where the disk cannot be read now.
        """
        tenants = [tenant for tenant in self.waiting if self.ready(tenant, without)]
        share, left_out = -(-count // max(len(tenants), 1)), orjson.dumps([*without]).decode()
        found = await self._run(lambda: self._first(tenants, share, left_out))
        found.sort(key=lambda row: (not row[1], row[0]))
        return [row[0] for row in found], [Outgoing(*row[3:6], _headers(row[6]), row[2], bool(row[1])) for row in found]

    async def remove(self, ids: Sequence[int], records: Sequence[Outgoing]) -> None:
        """Kafka has them, each said once. What a full disk does not let go is let go later, or goes to Kafka once more after a restart."""
        for number, record in zip(ids, records, strict=True):
            self.rows[record.tenant] -= 1
            self.waiting[record.tenant] -= number not in self._sent
            self.topics[record.tenant, record.topic] -= number not in self._sent
            self.bytes[record.tenant] -= _size(record)
        self._sent.difference_update(ids)
        is_empty = not self.rows.total()
        await self._run(lambda: self._remove(ids, is_empty=is_empty))

    async def _run(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # What follows runs in the thread.

    def _open(self) -> None:
        private(self._file.parent)
        try:
            self._db = self._connect(self._file, isolation_level=None, check_same_thread=False, timeout=1)
            for statement in _OPENING:
                self._db.execute(statement)
            found = self._db.execute("SELECT tenant, topic, count(*), sum(bytes), max(id) FROM spooled GROUP BY tenant, topic").fetchall()
        except sqlite3.Error as problem:
            raise SpoolBusy(f"{self._file} cannot be opened ({problem}): is another gateway of this name running?") from problem
        for tenant, topic, rows, size, last in found:
            self.rows[tenant] += rows
            self.waiting[tenant] += rows
            self.topics[tenant, topic] = rows
            self.bytes[tenant] += size
            self._next = max(self._next, last + 1)

    def _close(self) -> None:
        self._let_go(is_empty=False)
        self._db.close()

    def _put(self, ids: range, records: Sequence[Outgoing], *, sent: bool) -> bool:
        self._let_go(is_empty=False)
        rows = [
            (number, record.urgent, record.tenant, record.topic, record.key, record.value, _text(record.headers), _size(record))
            for number, record in zip(ids, records, strict=True)
        ]
        try:
            with _Transaction(self._db):
                self._db.executemany("INSERT INTO spooled VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as problem:
            logger.warning("spool_not_written records=%d reason=%s", len(rows), problem)
            return False
        if sent:
            self._held.update(ids)
        return True

    def _first(self, tenants: Sequence[str], count: int, left_out: str) -> list[_Row]:
        """At most `count` of each tenant."""
        try:
            _end(self._db)
            return [row for tenant in tenants for row in self._first_of(tenant, count, left_out)]
        except sqlite3.Error as problem:
            logger.warning("spool_not_read reason=%s", problem)
            return []

    def _first_of(self, tenant: str, count: int, left_out: str) -> list[_Row]:
        # by the index alone, as it has all ids: what was sent, or a full disk holds, is passed over without its values
        among = "" if left_out == "[]" else "AND topic NOT IN (SELECT value FROM json_each(?))"
        parameters = (tenant, left_out) if among else (tenant,)
        ids = self._db.execute(f"SELECT id FROM spooled WHERE tenant = ? {among} ORDER BY urgent DESC, id", parameters)
        wanted = [*islice((number for (number,) in ids if number not in self._held and number not in self._gone), count)]
        ids.close()
        which = "SELECT id, urgent, tenant, topic, key, value, headers FROM spooled WHERE id IN (SELECT value FROM json_each(?))"
        return self._db.execute(which, (orjson.dumps(wanted).decode(),)).fetchall()

    def _remove(self, ids: Sequence[int], *, is_empty: bool) -> None:
        self._held.difference_update(ids)
        self._gone.update(ids)
        self._let_go(is_empty=is_empty)

    def _let_go(self, *, is_empty: bool) -> None:
        """Delete what Kafka has; where the disk does not let it go, it is not given out and tried again later."""
        while self._gone:
            some = [(number,) for number in islice(self._gone, LET_GO_ROWS)]
            try:
                with _Transaction(self._db):
                    self._db.executemany("DELETE FROM spooled WHERE id = ?", some)
            except sqlite3.Error as problem:
                logger.warning("spool_not_emptied records=%d reason=%s", len(self._gone), problem)
                return
            self._gone.difference_update(number for (number,) in some)
        if is_empty:
            with suppress(sqlite3.Error):  # the file stays as large as it is
                self._db.execute("PRAGMA incremental_vacuum").fetchall()
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


class _Transaction:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        _end(self._db)
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, failed: object, *_: object) -> None:
        try:
            if not failed:
                self._db.execute("COMMIT")
        finally:
            with suppress(sqlite3.Error):
                _end(self._db)


def _end(db: sqlite3.Connection) -> None:
    """Undo what a transaction left that a broken disk let be neither committed nor undone: it was said not to be there."""
    if db.in_transaction:
        db.execute("ROLLBACK")


def _size(record: Outgoing) -> int:
    headers = sum(len(name) + len(value) for name, value in record.headers)
    return len(record.topic) + len(record.key or b"") + len(record.value) + headers + ROW_BYTES


def _text(headers: Sequence[Header]) -> str:
    return orjson.dumps([(name, value.hex()) for name, value in headers]).decode()


def _headers(text: str) -> list[Header]:
    return [(name, bytes.fromhex(value)) for name, value in orjson.loads(text)]
