"""A disk under SQLite that gets full, breaks at any call, and works a job only when a test says so."""

import sqlite3
from collections import deque
from concurrent.futures import Executor, Future

_WRITES = ("BEGIN", "INSERT", "DELETE", "COMMIT", "PRAGMA INCREMENTAL", "PRAGMA WAL")


class Disk(Executor):
    """The file outlives who opened it, as a disk's does. Pass `connect` for sqlite3's and the disk itself for a thread.

    `full`: every write fails; `failing`: the statements that do, counted from now.
    `held`: jobs wait for `work`; until then each is done at once.
    """

    def __init__(self):
        self.file = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.full = self.held = False
        self.failing = range(0)
        self.calls = 0
        self.jobs = deque()

    def connect(self, *_, **__):
        return _Connection(self)

    def submit(self, work, /, *args, **kwargs):
        future = Future()
        self.jobs.append((future, lambda: work(*args, **kwargs)))
        if not self.held:
            self.work()
        return future

    def work(self, count=None):
        """Do so many of the jobs that wait, in their order; without a count all."""
        for _ in range(len(self.jobs) if count is None else min(count, len(self.jobs))):
            future, job = self.jobs.popleft()
            try:
                future.set_result(job())
            except Exception as error:
                future.set_exception(error)

    def crash(self):
        """The process dies: what it had begun is undone."""
        self.jobs.clear()
        if self.file.in_transaction:
            self.file.execute("ROLLBACK")

    def fail(self, after=0, calls=1_000_000):
        """Fail at so many calls, after so many that are good."""
        self.calls, self.failing = 0, range(after + 1, after + 1 + calls)

    def mend(self):
        self.full, self.failing = False, range(0)

    def check(self, statement):
        self.calls += 1
        if self.calls in self.failing:
            raise sqlite3.OperationalError("disk I/O error")
        if self.full and statement.upper().startswith(_WRITES):
            raise sqlite3.OperationalError("database or disk is full")


class _Connection:
    def __init__(self, disk):
        self._disk = disk

    @property
    def in_transaction(self):
        return self._disk.file.in_transaction

    def execute(self, statement, *parameters):
        self._disk.check(statement)
        return self._disk.file.execute(statement, *parameters)

    def executemany(self, statement, rows):
        """A disk fills up between two rows as well."""
        for row in rows:
            self._disk.check(statement)
            self._disk.file.execute(statement, row)

    def close(self):
        pass
