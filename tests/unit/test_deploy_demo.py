import io
import re
from collections import Counter, deque

import polars as pl
import pytest
from rich.console import Console, ConsoleDimensions

from agents.gateway.message import Source
from deploy.demo.feed import Feed, Kind
from deploy.demo.figures import Figures
from deploy.demo.pace import Moment, Pace
from deploy.demo.screen import Screen, line
from deploy.demo.summary import by_protocol, summary
from deploy.demo.trace import in_words
from deploy.demo.verdict import unaccounted, unaccounted_in_city, unshown
from deploy.demo.workers import with_listeners
from schemas.catalog import CITY_READINGS, CITY_WINDOWS, CONTRACTS, DEAD_LETTERS, LATE, LIGHTS, READINGS, TRAFFIC, WINDOWS
from streams.settings import Settings

CITY = pl.DataFrame({"acknowledged": [True] * 5, "protocol": ["mqtt", "coap", "http", "websocket", "mqtt"]})
FACTORY = pl.DataFrame({"fault": ["sound", "sound", "late", "duplicate", "empty"], "acknowledged": [True] * 5})
MISSED = pl.Series([True] * 4 + [False])
DEVICES = {"accepted": 6, "delivered": 5, "duplicate": 1, "spooled": 0}
GATEWAY = {"received": 10, "passed": 5, "produced": 4, "rejected": 1}
LAG = {"factory": 0, "city": 0, "warehouse": 0}
BEFORE = Figures(ends=dict.fromkeys(CONTRACTS, 0), lag=LAG)


def after(**changes):
    ends = {LIGHTS.topic: 3, TRAFFIC.topic: 2, CITY_READINGS.topic: 14, CITY_WINDOWS.topic: 4, READINGS.topic: 4, WINDOWS.topic: 2}
    figures = {
        "ends": BEFORE.ends | ends,
        "lag": LAG,
        "devices": DEVICES,
        "gateway": GATEWAY,
        "ledger": {"received": 4, "accepted": 3, "duplicate": 1},
        "measurements": {"received": 14, "accepted": 13, "late": 1},
        "warehouse": {"received": 4, "stored": 4},
        "rows": {"messages": 5, "city_readings": 14, "readings": 3},
    }
    return Figures(**(figures | changes))


class Alerts:
    """A feed's figures, without Kafka."""

    def __init__(self, alerts=()):
        self._over_trends = {("factory", "missing")}
        self._since_ms = 1_000
        self.newest, self.changes = deque(), Counter()
        self._delays_ms = {kind: [] for kind in Kind}
        for alert in alerts:
            Feed.take(self, *alert)

    raised, delays = Feed.raised, Feed.delays


def alert(rule="above-critical", changed_at=2_000, domain="factory", **others):
    said = {
        "status": "RAISED",
        "severity": "CRITICAL",
        "device_id": "plant-1.press-0000",
        "message": "vibration of plant-1.press-0000 is 53",
    }
    return said | {"domain": domain, "rule": rule, "changed_at": changed_at, "historic": False} | others


def test_a_run_of_which_everything_is_accounted_for_is_well():
    assert unaccounted(BEFORE, after(), FACTORY) == []
    assert unaccounted_in_city(BEFORE, after(), CITY) == []
    assert unshown(BEFORE, after(), {"factory": 1, "city": 1}, by_protocol(CITY)) == []


@pytest.mark.parametrize(
    ("changes", "sent", "problem"),
    [
        ({}, FACTORY.with_columns(acknowledged=MISSED), "1 of the factory's 5 messages were not acknowledged"),
        ({"rows": {"readings": 2}}, FACTORY, "2 of 3 good readings are in ClickHouse"),
        ({"rows": {}}, FACTORY, "0 of 3 good readings are in ClickHouse"),
        ({"lag": LAG | {"warehouse": 2}}, FACTORY, "warehouse is 2 records behind"),
        ({"gateway": GATEWAY | {"received": 9, "produced": 4, "rejected": 0}}, FACTORY, "the gateway received 4 of 5 messages"),
        ({"gateway": GATEWAY | {"received": 11}}, FACTORY, "the gateway's messages do not add up"),
        ({"ledger": {"received": 3, "accepted": 3}}, FACTORY, "the factory worker received 3 of 4 readings"),
        ({"ledger": {"received": 4, "accepted": 3}}, FACTORY, "the factory's ledger does not add up"),
        ({"warehouse": {"received": 3, "stored": 3}}, FACTORY, "the warehouse's ledger does not add up to 4"),
    ],
)
def test_what_is_wrong_with_the_factory_is_said(changes, sent, problem):
    (said,) = unaccounted(BEFORE, after(**changes), sent)
    assert problem in said


@pytest.mark.parametrize(
    ("changes", "sent", "problem"),
    [
        ({}, CITY.with_columns(acknowledged=MISSED), "1 of the city's 5 messages were not acknowledged"),
        ({}, CITY.vstack(CITY), "5 of the city's 10 messages are in Kafka"),
        ({"rows": {"messages": 4, "city_readings": 14}}, CITY, "4 of the city's 5 messages are in ClickHouse"),
        ({"rows": {"messages": 5, "city_readings": 13}}, CITY, "13 of the city's 14 measurements are in ClickHouse"),
        ({"devices": DEVICES | {"duplicate": 0}}, CITY, "does not add up"),
        ({"devices": DEVICES | {"delivered": 4, "spooled": 1}}, CITY, "1 messages are still in the gateway's spool"),
        ({"measurements": {"received": 13, "accepted": 13}}, CITY, "the city worker received 13 of 14"),
        ({"measurements": {"received": 14, "accepted": 13}}, CITY, "the city's ledger does not add up"),
    ],
)
def test_what_is_wrong_with_a_city_is_said(changes, sent, problem):
    (said,) = unaccounted_in_city(BEFORE, after(**changes), sent)
    assert problem in said


def test_a_whole_demo_shows_windows_and_alerts_of_both_domains_and_every_protocol():
    ends = after().ends | {CITY_WINDOWS.topic: 0}
    assert unshown(BEFORE, after(ends=ends), {"factory": 0, "city": 1}, {"mqtt": 5, "http": 1, "websocket": 1}) == [
        "the city sent nothing over coap",
        "no alert of the factory was raised",
        "no window of the city was closed",
    ]


def test_a_gateway_that_counts_signs_of_life_adds_up():
    assert unaccounted_in_city(BEFORE, after(devices=DEVICES | {"accepted": 8, "coalesced": 2}), CITY) == []


def test_the_time_to_an_alert_is_told_of_readings_apart_from_trends_and_silence():
    feed = Alerts([(alert(), 2_040), (alert(), 2_060), (alert("missing"), 62_000), (alert("air-year", domain="districts"), 3_600_000)])
    assert feed.delays() == {Kind.READINGS: (2, 50.0, 59.8), Kind.TRENDS: (2, 1_829_000.0, pytest.approx(3_562_620))}


def test_alerts_of_what_was_measured_before_the_start_do_not_count():
    feed = Alerts([(alert(changed_at=999), 2_000_000)])
    assert feed.delays() == {}
    assert feed.raised("factory") == 0
    assert not feed.newest


def test_a_machine_that_keeps_up_is_not_called_behind_while_groups_commit():
    pace = Pace()
    assert {pace.look(Moment(at, 1.5, 900 if at % 2 else 0, 600 * at)) for at in range(60)} == {""}
    assert not pace.was_behind


def test_devices_behind_their_clock_are_said():
    pace = Pace()
    said = pace.look(Moment(1, 12.3, 0, 600))
    assert "this machine falls behind: the devices are 12 s behind their clock" in said
    assert pace.look(Moment(2, 0.5, 0, 1200)) == ""
    assert pace.was_behind
    assert pace.worst_seconds == 12.3


def test_records_that_wait_longer_and_longer_are_said():
    pace = Pace()
    said = [pace.look(Moment(at, 0, 500 * at, 600 * at)) for at in range(1, 40)]
    assert not any(said[:10])
    assert "19,500 records wait" in said[-1]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (120, 40), (200, 60)])
def test_the_screen_fits_its_terminal_and_shows_what_matters(width, height):
    feed = Alerts([(alert(), 2_040)] * 50 + [(alert("missing"), 62_000)])
    console = Console(width=width, height=height, record=True, file=io.StringIO(), force_terminal=True)
    screen = Screen(BEFORE, {"factory": 6066, "city": 6071, "warehouse": 6067, "desk": 6069, "gateway": 6068})
    size = ConsoleDimensions(width, height)
    screen.render(BEFORE, feed, 1, "", size)
    behind = Pace().look(Moment(1, 12, 0, 0))
    console.print(screen.render(after(), feed, 83, behind, size))
    shown = console.export_text().splitlines()
    assert len(shown) <= height
    assert max(map(len, shown)) <= width
    text = "\n".join(shown)
    for what in (
        "factory",
        "city",
        "1:23 so far",
        "Ctrl-C ends it",
        "6068",
        "p50 40 ms",
        "trends and silence",
        "falls behind",
        "up to",
        "RAISED",
    ):
        assert what in text
    assert text.count("RAISED") >= 5


@pytest.mark.parametrize("width", [80, 100, 160])
def test_a_long_message_of_an_alert_is_cut_and_neither_its_time_nor_its_state(width):
    feed = Alerts([(alert(message="current of plant-1.lathe-0012 is " + "9" * 200), 2_040)])
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(Screen(BEFORE, {}).render(after(), feed, 1, "", ConsoleDimensions(width, 24)))
    shown = next(row for row in console.export_text().splitlines() if "RAISED" in row)
    assert re.match(r"\d\d:\d\d:\d\d +RAISED ", shown)
    assert shown.rstrip().endswith("…")


def test_a_line_for_a_log_says_what_is_new_in_this_run():
    said = line(after(), BEFORE, BEFORE, Alerts())
    assert said.startswith("4 readings")
    assert "city: 5 messages, 4 windows" in said


def test_the_summary_is_a_table_of_eighty_columns_that_explains_copies():
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(summary(BEFORE, after(), Alerts([(alert(), 2_040)]), FACTORY, CITY.with_columns(topic=pl.lit(""))))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "{" not in text
    assert "watched: accepted" in text
    assert "Acknowledged: the MQTT broker or the gateway has answered for it. In Kafka:" in text.replace("\n", " ")
    assert "sent 1 readings twice" in text.replace("\n", " ")
    assert all(f"over {source}" in text for source in Source)
    assert "of readings: p50 40 ms" in text


def test_what_both_domains_write_to_one_topic_stands_in_neither_ones_column():
    console = Console(width=80, record=True, file=io.StringIO())
    ends = after().ends | {LATE.topic: 42, DEAD_LETTERS.topic: 25}
    console.print(summary(BEFORE, after(ends=ends), Alerts([(alert(), 2_040)]), FACTORY, CITY.with_columns(topic=pl.lit(""))))
    said = next(row for row in console.export_text().splitlines() if "dead letters" in row)
    assert said == "of both together: 42 late records and 25 dead letters"


def test_what_is_missing_is_named_and_many_are_in_a_file():
    rows = {
        "device": "d",
        "sequence": "7",
        "protocol": "http",
        "what": "lights/d/status",
        "last_seen": "Kafka, t/0@5: it is not in ClickHouse",
    }
    said = [*in_words(pl.DataFrame([rows] * 7), "missing.csv")]
    assert said[0] == "d, message 7 over http (lights/d/status) was last seen at Kafka, t/0@5: it is not in ClickHouse"
    assert said[5:] == ["and 2 more: missing.csv"]


def test_the_gateway_listens_where_the_settings_say_and_else_where_nobody_does():
    ours = with_listeners(Settings(gateway_http="127.0.0.1:80"))
    assert ours.gateway_http == "127.0.0.1:80"
    assert len({ours.gateway_http, ours.gateway_websocket, ours.gateway_coap}) == 3
    assert ours.gateway_device_rate == 0
