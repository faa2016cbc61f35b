import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from importlib.resources import files

import clickhouse_connect
import polars as pl
import pytest

import streams.clickhouse
from schemas.catalog import MESSAGES, READINGS, STORED, WINDOWS
from streams.clickhouse import _MIGRATIONS, ANSWER_SECONDS, ClickHouse
from streams.clickhouse_errors import CannotOpen, ClickHouseAway, RowsRefused, TooMuch
from streams.pieces import columns
from streams.worker import migration_lock
from tests.integration.clickhouse_server import Handler

# Far from its expiry.
NOW = int(datetime(2080, 6, 1, tzinfo=UTC).timestamp() * 1000)
SCRIPTS = sorted(script.name for script in (files("deploy") / "clickhouse").iterdir() if script.name.endswith(".sql"))
TEXTS = {name: (files("deploy") / "clickhouse" / name).read_text() for name in SCRIPTS}


@pytest.fixture
def clickhouse(tmp_path):
    clickhouse = ClickHouse("", tmp_path / "clickhouse")
    yield clickhouse
    clickhouse.close()


def readings(count=4, start=NOW, offset=0):
    line = {"production_line": "line-1"}
    rows = [("press-1", "temperature", 20.0 + n, start + n, "hall-1", line, "plant-1", 0, offset + n) for n in range(count)]
    schema = {**READINGS.codec.columns, "partition": pl.Int32, "offset": pl.Int64}
    return pl.DataFrame([dict(zip(schema, row, strict=True)) for row in rows], schema).select(*columns(READINGS), "partition", "offset")


def messages(*topics, start=NOW):
    """A message of each topic, all of one id and device."""
    row = dict.fromkeys(MESSAGES[0].codec.columns, "x") | {"message_id": "1", "ingestion_time": start, "processing_time": start}
    row |= {"metadata": {"qos": 1, "priority": "NORMAL", "gateway_node": "gateway"}}
    frame = pl.DataFrame([row | {"original_topic": topic} for topic in topics], MESSAGES[0].codec.columns)
    return frame.select(columns(MESSAGES[0]))


def windows(revision, mean):
    row = ("press-1", "temperature", 60, NOW, 3, mean, 1.0, 3.0, 1.0, 2.0, NOW + 1, revision, "watermark")
    return pl.DataFrame([row], WINDOWS.codec.columns, orient="row").select(columns(WINDOWS))


def stored(clickhouse, table="readings", what="count()"):
    return clickhouse.query(f"SELECT {what} AS x FROM {table} FINAL")["x"].to_list()


def test_migrations_are_applied_in_order_once_and_recorded(clickhouse, tmp_path):
    clickhouse.insert("readings", readings(), "a")
    clickhouse.close()
    again = ClickHouse("", tmp_path / "clickhouse")
    assert stored(again) == [4]
    assert again.query("SELECT name FROM migrations ORDER BY name")["name"].to_list() == SCRIPTS
    again.close()


def test_migrations_are_numbered_in_four_digits_each_by_its_own():
    numbers = [name.partition("_")[0] for name in SCRIPTS]
    assert all(re.fullmatch(r"\d{4}", number) for number in numbers)
    assert len(set(numbers)) == len(numbers)


def test_one_message_id_on_two_topics_is_two_rows_and_one_taken_twice_is_one(clickhouse):
    clickhouse.insert("messages", messages("parks/1/air", "parks/1/noise", "parks/1/air"), "a")
    clickhouse.insert("messages", messages("parks/1/noise"), "b")
    assert sorted(stored(clickhouse, "messages", "original_topic")) == ["parks/1/air", "parks/1/noise"]


def apply(client, names):
    for name in names:
        client.command((files("deploy") / "clickhouse" / name).read_text())


@pytest.mark.parametrize("unrecorded", range(5))
def test_messages_stored_before_their_topic_was_part_of_the_key_are_kept_wherever_the_migration_was_interrupted(tmp_path, unrecorded):
    folder = tmp_path / "clickhouse"
    by_topic = [name for name in SCRIPTS if "messages_by_topic" in name]
    with closing(ClickHouse("", folder)._connect(ANSWER_SECONDS)) as client:
        client.command(_MIGRATIONS)
        earlier = [name for name in SCRIPTS if name < by_topic[0]]
        apply(client, earlier)
        rows = messages("parks/1/air"), messages("parks/2/air", start=NOW + 86_400_000)
        for row in rows:
            client.insert_arrow("messages", row.to_arrow(compat_level=pl.CompatLevel.oldest()))
        # so many steps were done, the last of which was not recorded
        apply(client, by_topic[:unrecorded])
        for name in [*earlier, *by_topic[: max(unrecorded - 1, 0)]]:
            client.command("INSERT INTO migrations (name) VALUES ({name:String})", parameters={"name": name})
    with closing(ClickHouse("", folder)) as clickhouse:
        clickhouse.open()
        assert sorted(stored(clickhouse, "messages", "original_topic")) == ["parks/1/air", "parks/2/air"]
        clickhouse.insert("messages", messages("parks/1/noise"), "c")
        assert stored(clickhouse, "messages") == [3]
        assert clickhouse.query("SELECT name FROM system.tables WHERE name LIKE 'messages%'")["name"].to_list() == ["messages"]


@contextmanager
def server(folder, handler=Handler):
    """A ClickHouse that several share, by its DSN."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
        made.daemon_threads, made.block_on_close = True, False
        made.client = clickhouse_connect.get_client(interface="chdb", path=str(folder / "server"))
        threading.Thread(target=made.serve_forever).start()
        try:
            yield f"clickhouse://127.0.0.1:{made.server_port}/default"
        finally:
            made.shutdown()
            made.client.close()


def test_a_migration_may_take_longer_than_an_answer(tmp_path, monkeypatch):
    class Slow(Handler):
        def execute(self, parameters, body):
            if b"FROM messages_without_topic" in body:
                time.sleep(2)
            return super().execute(parameters, body)

    monkeypatch.setattr(streams.clickhouse, "ANSWER_SECONDS", 1)
    with server(tmp_path, Slow) as dsn, closing(ClickHouse(dsn, tmp_path)) as clickhouse:
        assert sorted(stored(clickhouse, "migrations", "name")) == SCRIPTS


def test_of_two_migrators_that_start_together_each_step_is_done_by_one(tmp_path):
    done = Counter()

    class Counting(Handler):
        def execute(self, parameters, body):
            name = next((name for name, text in TEXTS.items() if text == body.decode()), None)
            done[name] += 1
            if name:
                time.sleep(0.02)  # the other gets there meanwhile
            return super().execute(parameters, body)

    with server(tmp_path, Counting) as dsn, ThreadPoolExecutor(4) as pool:
        several = [ClickHouse(dsn, tmp_path) for _ in range(4)]
        for opened in [pool.submit(each.open) for each in several]:
            opened.result()
        assert sorted(stored(several[0], "migrations", "name")) == SCRIPTS
        assert {name: done[name] for name in SCRIPTS} == dict.fromkeys(SCRIPTS, 1)
        assert several[0].query("SELECT name FROM system.tables WHERE name LIKE 'migration_lock%'").is_empty()
        for each in several:
            each.close()


def test_the_lock_of_a_migrator_that_was_killed_is_taken_over_when_it_is_old(tmp_path, monkeypatch):
    with server(tmp_path) as dsn, closing(ClickHouse(dsn, tmp_path)) as clickhouse:
        with closing(clickhouse._connect(ANSWER_SECONDS)) as client:
            assert migration_lock._taken(client, "killed")
            migration_lock._take_over(client)
            assert migration_lock._held(client)[1] == "killed"
        monkeypatch.setattr(migration_lock, "ABANDONED_SECONDS", -1)
        assert sorted(stored(clickhouse, "migrations", "name")) == SCRIPTS


@pytest.mark.parametrize("contract", STORED, ids=lambda contract: contract.topic)
def test_a_row_of_every_contract_comes_back_as_it_went_in(clickhouse, contract):
    samples = {pl.String: "a", pl.Binary: b"\x00\xff", pl.Float64: 0.1, pl.Boolean: True, pl.Int32: 2**31 - 1, pl.Int64: NOW}

    def of(dtype):
        return {field.name: of(field.dtype) for field in dtype.fields} if isinstance(dtype, pl.Struct) else samples.get(dtype, {"k": "v"})

    row = {name: of(dtype) for name, dtype in contract.codec.columns.items()}
    rows = pl.DataFrame([row], contract.codec.columns).select(columns(contract))
    clickhouse.insert(contract.sink, rows, "a")
    binary = {name for name, dtype in rows.schema.items() if dtype == pl.Binary}
    names = ", ".join(f"hex(assumeNotNull({name}))" if name in binary else f"`{name}`" for name in rows.columns)
    assert clickhouse.query(f"SELECT {names} FROM {contract.sink}").row(0) == tuple(
        value.hex().upper() if isinstance(value, bytes) else value for value in rows.row(0)
    )


def test_what_a_line_and_a_shift_produced_is_found_by_columns_of_their_own(clickhouse):
    clickhouse.insert("readings", readings(), "a")
    assert stored(clickhouse, what="concat(production_line, '/', shift)") == ["line-1/"] * 4


def test_an_insert_tried_again_is_stored_once(clickhouse):
    clickhouse.insert("readings", readings(), "a")
    clickhouse.insert("readings", readings(), "a")
    assert clickhouse.query("SELECT count() AS x FROM readings")["x"].to_list() == [4]


def test_of_records_of_one_time_that_of_the_highest_offset_counts_whatever_was_inserted_last(clickhouse):
    newer = readings(offset=10).with_columns(value=pl.lit(99.0))
    clickhouse.insert("readings", newer, "a")
    clickhouse.insert("readings", readings(), "b")
    assert stored(clickhouse, what="value") == [99.0] * 4


def test_the_highest_revision_of_a_window_counts_whatever_was_inserted_last(clickhouse):
    clickhouse.insert("windows", windows(revision=4, mean=2.5), "a")
    clickhouse.insert("windows", windows(revision=3, mean=2.0), "b")
    assert stored(clickhouse, "windows", "mean") == [2.5]


def test_one_insert_holds_readings_of_more_days_than_clickhouse_allows_by_default(clickhouse):
    rows = pl.concat([readings(1, start=NOW + day * 86_400_000) for day in range(150)])
    clickhouse.insert("readings", rows, "a")
    assert stored(clickhouse) == [150]


def test_a_row_beyond_what_the_table_can_hold_is_refused_with_all_of_its_insert(clickhouse):
    beyond = readings(1, start=int(datetime(2150, 1, 1, tzinfo=UTC).timestamp() * 1000))
    with pytest.raises(RowsRefused, match="timestamp_in_range"):
        clickhouse.insert("readings", pl.concat([readings(), beyond]), "a")
    assert stored(clickhouse) == [0]


def test_a_table_that_is_not_as_migrated_is_no_fault_of_the_rows(clickhouse):
    clickhouse.open().command("ALTER TABLE readings DROP COLUMN location")
    with pytest.raises(ClickHouseAway, match="location"):
        clickhouse.insert("readings", readings(), "a")


def test_a_server_that_is_away_is_said_to_be_without_its_password():
    with pytest.raises(ClickHouseAway, match=r"127\.0\.0\.1:1/headrace cannot be reached") as raised:
        ClickHouse("clickhouse://user:secret@127.0.0.1:1/headrace", None).open()
    assert "secret" not in str(raised.value)


def test_a_second_process_is_told_what_to_do(clickhouse, tmp_path):
    clickhouse.open()
    second = "import sys; from pathlib import Path; from streams.clickhouse import ClickHouse; ClickHouse('', Path(sys.argv[1])).open()"
    done = subprocess.run([sys.executable, "-c", second, str(tmp_path / "clickhouse")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert CannotOpen.__name__ in done.stderr
    assert "second warehouse worker" in done.stderr


def test_counts_are_of_every_table_and_count_a_repeated_row_once(clickhouse):
    clickhouse.insert("readings", readings(), "a")
    clickhouse.insert("readings", readings(), "b")
    assert clickhouse.counts() == {contract.sink: 4 if contract is READINGS else 0 for contract in STORED}


def test_a_disk_that_does_not_take_rows_is_no_fault_of_theirs(clickhouse, monkeypatch, tmp_path):
    with monkeypatch.context() as without_room:
        without_room.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
        with pytest.raises(ClickHouseAway, match="does not take rows of readings"):
            clickhouse.insert("readings", readings(), "a")
    clickhouse.insert("readings", readings(), "a")
    assert stored(clickhouse) == [4]


@pytest.mark.parametrize("least", [{"max_execution_time": 0.1}, {"max_memory_usage": 1_000_000}])
def test_a_question_that_takes_more_than_it_is_given_says_so(clickhouse, least):
    with pytest.raises(TooMuch, match="ask for a shorter time"):
        clickhouse.query("SELECT uniqExact(sipHash64(number)) AS n FROM numbers(1000000000)", settings=least)
