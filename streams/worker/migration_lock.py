"""One migrator at a time of a ClickHouse database: the lock is a table, as ClickHouse makes a table of a name once.

A lock is held for one step. Its holder's end may leave it there; it is taken over when it is old and its statement runs no more.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from uuid import uuid4

from clickhouse_connect.driver.exceptions import ClickHouseError

POLL_SECONDS: Final = 0.2
# From the lock to the start of the step's statement it takes milliseconds; a holder that is suspended in between for so long has lost it.
ABANDONED_SECONDS: Final = 60
WORD: Final = "headrace-migration"
MARKED: Final[Mapping[str, str]] = {"log_comment": WORD}
"""Settings of a step's statement, by which others see that it runs."""

_TAKE: Final = "CREATE TABLE migration_lock (nothing UInt8) ENGINE = MergeTree ORDER BY nothing COMMENT '{at} {holder}'"
_HELD: Final = "SELECT comment FROM system.tables WHERE database = currentDatabase() AND name = 'migration_lock'"
_RUNNING: Final = "SELECT count() FROM system.processes WHERE Settings['log_comment'] = {word:String}"


@contextmanager
def migrating(client: Any) -> Iterator[None]:  # noqa: ANN401  # clickhouse-connect's client
    """Hold the lock; waits while another migrator has it. Raises ClickHouseError."""
    ours = uuid4().hex
    while not _taken(client, ours):
        _take_over(client)
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        if _held(client)[1] == ours:
            client.command("DROP TABLE migration_lock SYNC")


def _taken(client: Any, holder: str) -> bool:  # noqa: ANN401
    return _done(client, _TAKE.format(at=_now(client), holder=holder), "TABLE_ALREADY_EXISTS")


def _take_over(client: Any) -> None:  # noqa: ANN401
    """Remove an abandoned lock: of several that try, one, as a table is renamed to a name of its own once."""
    at, holder = _held(client)
    running = client.query(_RUNNING, parameters={"word": WORD}).result_rows[0][0]
    if holder and not running and _now(client) - at > ABANDONED_SECONDS:
        _done(client, f"RENAME TABLE migration_lock TO migration_lock_of_{holder}", "TABLE_ALREADY_EXISTS", "UNKNOWN_TABLE")


def _held(client: Any) -> tuple[int, str]:  # noqa: ANN401
    """Since when, in Unix seconds of the server, and by whom; by nobody: empty."""
    for (comment,) in client.query(_HELD).result_rows:
        at, _, holder = comment.partition(" ")
        return int(at), holder
    return 0, ""


def _now(client: Any) -> int:  # noqa: ANN401
    return int(client.query("SELECT toUnixTimestamp(now())").result_rows[0][0])


def _done(client: Any, statement: str, *otherwise: str) -> bool:  # noqa: ANN401
    """Whether it was; False for ClickHouse's errors of these names."""
    try:
        client.command(statement)
    except ClickHouseError as error:
        if getattr(error, "name", None) in otherwise:
            return False
        raise
    return True
