"""ClickHouse as the warehouse sees it, embedded or a server: tables by migrations, inserts that may be repeated, queries."""

import logging
import threading
from collections.abc import Collection, Mapping
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import clickhouse_connect
import polars as pl
from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.catalog import STORED
from schemas.folders import private
from streams.clickhouse_errors import CannotOpen, ClickHouseAway, RowsRefused, TooMuch
from streams.worker.migration_lock import MARKED, migrating

logger = logging.getLogger(__name__)
# What it logs, with a traceback, it raises too.
logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)

CONNECT_SECONDS: Final = 5
# What an insert of 100,000 rows, which takes a fraction of a second, is given; also how long a hung server can delay a worker's stop.
ANSWER_SECONDS: Final = 30
# What a step of a migration is given, as one that copies a table takes as long as the table is large.
MIGRATION_SECONDS: Final = 6 * 3600

INSERT: Final[Mapping[str, str]] = {
    # Merging equal rows within the insert costs three times what the rest of it does; merges and FINAL do so anyway.
    "optimize_on_insert": "0",
    # Readings that come after a long outage may be of more days than the 100 allowed.
    "throw_on_max_partitions_per_insert_block": "0",
}

REFUSALS: Final = frozenset(
    {
        "ARGUMENT_OUT_OF_BOUND",
        "CANNOT_CONVERT_TYPE",
        "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
        "DECIMAL_OVERFLOW",
        "INCORRECT_DATA",
        "TOO_LARGE_STRING_SIZE",
        "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
        "VIOLATED_CONSTRAINT",
    }
)
"""ClickHouse's errors that are the fault of rows. Any other, such as a missing column, is one to wait for and not a record's."""

LIMITS: Final = frozenset({"TIMEOUT_EXCEEDED", "TOO_SLOW", "MEMORY_LIMIT_EXCEEDED"})
"""ClickHouse's errors that say that a question is too large."""

_MIGRATIONS: Final = """
CREATE TABLE IF NOT EXISTS migrations (name String, applied_at DateTime DEFAULT now()) ENGINE = ReplacingMergeTree ORDER BY name
"""


class ClickHouse:
    """The engine in `folder`, or the server of a DSN. Threads may share it."""

    def __init__(self, dsn: str, folder: Path) -> None:
        """Connect to nothing yet. `dsn`: `clickhouse://user:password@host:8123/database`, or empty for the embedded engine."""
        self._dsn, self._folder = dsn, folder
        self._client: Any = None
        self._opening = threading.Lock()

    @property
    def place(self) -> str:
        """Where it is, without the password."""
        return self._dsn.rpartition("@")[2] or str(self._folder)

    def open(self) -> Any:  # noqa: ANN401  # clickhouse-connect's client
        """Connect and migrate, unless that is done. Raises ClickHouseAway and, for the embedded engine, CannotOpen."""
        with self._opening:
            if self._client is None:
                client = self._connect(ANSWER_SECONDS)
                try:
                    self._migrate(client)
                except ClickHouseError as error:
                    client.close()
                    raise ClickHouseAway(f"ClickHouse at {self.place} cannot be migrated: {error}") from error
                self._client = client
            return self._client

    def version(self) -> str:
        """ClickHouse's own; asking for it makes no tables. Raises CannotOpen and ClickHouseAway."""
        client = self._connect(ANSWER_SECONDS)
        try:
            return str(client.server_version)
        finally:
            client.close()

    def close(self) -> None:
        """Disconnect."""
        with self._opening:
            if self._client is not None:
                self._client.close()
                self._client = None

    def insert(self, table: str, rows: pl.DataFrame, token: str) -> None:
        """Store rows, all or none; an insert with the token of a recent one is that one. Raises RowsRefused and ClickHouseAway."""
        client = self.open()
        try:
            client.insert_arrow(
                table, rows.to_arrow(compat_level=pl.CompatLevel.oldest()), settings={**INSERT, "insert_deduplication_token": token}
            )
        except (ClickHouseError, OSError) as error:  # the embedded engine is given rows in a temporary file: its disk may be full
            if getattr(error, "name", None) in REFUSALS:
                raise RowsRefused(str(error)) from error
            raise ClickHouseAway(f"ClickHouse at {self.place} does not take rows of {table}: {error}") from error

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None) -> pl.DataFrame:
        """The rows of a SELECT; bytes that are no text need hex() or base64Encode(). Raises ClickHouseAway, of which TooMuch.

        `parameters` are bound by ClickHouse where the text says `{name:Type}`.
        """
        client = self.open()
        try:
            return pl.DataFrame(client.query_arrow(sql, parameters=parameters, settings=settings))
        except ClickHouseError as error:
            if getattr(error, "name", None) in LIMITS:
                raise TooMuch(f"that takes too long or too much memory: ask for a shorter time ({error})") from error
            raise ClickHouseAway(f"ClickHouse at {self.place} does not answer {sql!r}: {error}") from error

    def counts(self) -> dict[str, int]:
        """Rows by table, those written twice counted once."""
        tables = {contract.sink for contract in STORED}
        counted = self.query(" UNION ALL ".join(f"SELECT '{table}' AS table, count() AS rows FROM {table} FINAL" for table in tables))
        return dict(counted.select("table", "rows").iter_rows())

    def _migrate(self, client: Any) -> None:  # noqa: ANN401
        """Apply `deploy/clickhouse/*.sql`, one statement each, in the order of their numbers, those that are not recorded."""
        client.command(_MIGRATIONS)
        scripts = {script.name: script for script in (files("deploy") / "clickhouse").iterdir() if script.name.endswith(".sql")}
        if not self._pending(client, scripts):
            return
        with closing(self._connect(MIGRATION_SECONDS)) as patient:
            while True:
                with migrating(patient):
                    if not (pending := self._pending(patient, scripts)):
                        return
                    logger.info("migration_begins name=%s", pending[0])
                    patient.command(scripts[pending[0]].read_text(encoding="utf-8"), settings=MARKED)
                    patient.command("INSERT INTO migrations (name) VALUES ({name:String})", parameters={"name": pending[0]})

    @staticmethod
    def _pending(client: Any, scripts: Collection[str]) -> list[str]:  # noqa: ANN401
        applied = {name for (name,) in client.query("SELECT name FROM migrations").result_rows}
        return sorted(set(scripts) - applied)

    def _connect(self, answer_seconds: float) -> Any:  # noqa: ANN401
        if self._dsn:
            try:
                # Without a session: one that an insert hangs in would be locked for the next.
                return clickhouse_connect.get_client(
                    dsn=self._dsn, autogenerate_session_id=False, connect_timeout=CONNECT_SECONDS, send_receive_timeout=answer_seconds
                )
            except ClickHouseError as error:
                raise ClickHouseAway(f"ClickHouse at {self.place} cannot be reached (HEADRACE_CLICKHOUSE says where): {error}") from error
        private(self._folder)
        try:
            return clickhouse_connect.get_client(interface="chdb", path=str(self._folder))
        except ClickHouseError as error:
            raise CannotOpen(
                f"The embedded ClickHouse cannot open {self._folder}: {error}. If another process has it, such as a second warehouse "
                "worker, stop that one, choose another folder with HEADRACE_DATA, or share a server with HEADRACE_CLICKHOUSE."
            ) from error
