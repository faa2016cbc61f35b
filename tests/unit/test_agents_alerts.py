from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agents.alerts
from agents.alerts import Origin, alert_id
from agents.episodes import MEMORY_MS, Episode, Episodes, Key, advance, forget, from_frame, to_frame
from agents.rules import Escalation, Rule, Severity
from schemas.catalog import ALERTS
from schemas.wire import decode, encode

COOLDOWN = 300_000
LONG = MEMORY_MS + COOLDOWN + 10_000
"""An episode closed so long ago is forgotten."""
ORIGIN = Origin("acme", "factory")
HOT = Rule(
    name="hot",
    severity=Severity.CRITICAL,
    raises=pl.col("value") > 10,
    clears=pl.col("value") < 8,
    threshold=pl.lit(10.0),
    cooldown_ms=COOLDOWN,
    message="{subject} of {device} is {value:.1f} over {threshold:g}",
)
COLD = Rule(
    name="cold",
    severity=Severity.INFO,
    raises=pl.col("value") < 0,
    clears=pl.col("value") > 2,
    threshold=pl.lit(0.0),
    cooldown_ms=1_000,
    message="{device}",
)
HELD = replace(HOT, name="held", severity=Severity.WARNING, hold_ms=10_000)
WORSE = replace(HELD, name="worse", escalation=Escalation(pl.col("value") > 20, Severity.CRITICAL))
AT_ONCE = replace(WORSE, name="at-once", hold_ms=0)
START = 1_760_000_000_000
SCHEMA = {"device_id": pl.String, "subject": pl.String, "value": pl.Float64, "timestamp": pl.Int64, "watermark": pl.Int64}
Reading = tuple[str, str, float, int, int]


def readings(*rows: Reading) -> pl.DataFrame:
    return pl.DataFrame(rows, SCHEMA, orient="row")


def series(*values: tuple[float, float], behind: int = 0) -> pl.DataFrame:
    """Readings of one sensor: value, and seconds after START; their watermark is so far ahead of them."""
    return readings(*(("press", "heat", value, START + int(at * 1000), START + int(at * 1000) + behind) for value, at in values))


def judge(rules: list[Rule], episodes: Episodes, frame: pl.DataFrame, origin: Origin) -> pl.DataFrame:
    return agents.alerts.judge(rules, episodes, agents.alerts.evaluated(rules, frame, [episodes]), origin)


def told(alerts: pl.DataFrame) -> list[tuple[str, float, float]]:
    """Status, and seconds after START of the change and of the episode's start."""
    return [
        (status, (at - START) / 1000, (raised - START) / 1000)
        for status, at, raised in alerts.select("status", "changed_at", "raised_at").rows()
    ]


def test_an_episode_is_raised_once_and_cleared_by_its_own_condition():
    alerts = judge([HOT], Episodes(), series((9, 0), (11, 1), (12, 2), (9, 3), (11, 4), (7, 5), (7, 6)), ORIGIN)
    assert told(alerts) == [("RAISED", 1, 1), ("CLEARED", 5, 1)]
    assert alerts["alert_id"].n_unique() == 1


def test_an_alert_has_the_columns_of_its_topic():
    alerts = judge([HOT], Episodes(), series((11.26, 1)), ORIGIN)
    expected = {
        "alert_id": alert_id(ORIGIN, Key("press", "heat", "hot"), START + 1000),
        "tenant": "acme",
        "domain": "factory",
        "device_id": "press",
        "subject": "heat",
        "rule": "hot",
        "severity": "CRITICAL",
        "status": "RAISED",
        "value": 11.26,
        "threshold": 10.0,
        "message": "heat of press is 11.3 over 10",
        "raised_at": START + 1000,
        "changed_at": START + 1000,
        "historic": False,
        "expected_at": None,
        "confidence": None,
    }
    decoded = decode(encode(ALERTS.codec, 1, alerts), ALERTS.codec, {1: ALERTS.codec})
    assert decoded.frame.drop("row").rows(named=True) == [expected]


@pytest.mark.parametrize("after_ms", [1, COOLDOWN - 1])
def test_raised_within_the_cooldown_of_its_start_an_episode_is_reopened(after_ms):
    alerts = judge([HOT], Episodes(), series((11, 0), (7, 0.001), (11, after_ms / 1000), (7, 900)), ORIGIN)
    assert told(alerts) == [("RAISED", 0, 0), ("CLEARED", 0.001, 0), ("REOPENED", after_ms / 1000, 0), ("CLEARED", 900, 0)]
    assert alerts["alert_id"].n_unique() == 1


def test_raised_after_the_cooldown_of_its_start_an_episode_is_a_new_one():
    alerts = judge([HOT], Episodes(), series((11, 0), (7, 1), (11, COOLDOWN / 1000)), ORIGIN)
    assert told(alerts) == [("RAISED", 0, 0), ("CLEARED", 1, 0), ("RAISED", 300, 300)]
    assert alerts["alert_id"].n_unique() == 2


def test_an_open_episode_outlives_its_cooldown_and_any_time():
    episodes = Episodes()
    judge([HOT], episodes, series((11, 0)), ORIGIN)
    forget([HOT], episodes, START + 100 * MEMORY_MS)
    assert told(judge([HOT], episodes, series((11, 400_000), (7, 400_001)), ORIGIN)) == [("CLEARED", 400_001, 0)]


def test_a_reading_behind_the_watermark_raises_a_historic_alert_and_leaves_the_episode_as_it_is():
    episodes = Episodes()
    judge([HOT], episodes, series((11, 1000)), ORIGIN)
    alerts = judge([HOT], episodes, series((12, 0), (7, 1), behind=6_000), ORIGIN)
    assert told(alerts) == [("RAISED", 0, 0)]
    assert alerts["historic"].all()
    assert told(judge([HOT], episodes, series((7, 1001)), ORIGIN)) == [("CLEARED", 1001, 1000)]


def test_an_episode_of_a_rule_with_a_hold_time_begins_when_every_reading_raised_for_so_long():
    assert told(judge([HELD], Episodes(), series((11, 0), (12, 5), (11, 9.999), (11, 10), (11, 30)), ORIGIN)) == [("RAISED", 10, 10)]


@pytest.mark.parametrize("interrupting", [9, 7], ids=["in the band", "clear"])
def test_a_reading_that_does_not_raise_starts_the_hold_time_again(interrupting):
    alerts = judge(
        [HELD], Episodes(), series((11, 0), (interrupting, 9), (11, 11), (11, 20), (11, 21), (7, 22), (11, 23), (11, 33)), ORIGIN
    )
    assert told(alerts) == [("RAISED", 21, 21), ("CLEARED", 22, 21), ("REOPENED", 33, 21)]


def test_a_hold_time_longer_than_the_memory_of_episodes_is_waited_for():
    slow = replace(HELD, hold_ms=3 * MEMORY_MS)
    episodes = Episodes()
    judge([slow], episodes, series((11, 0)), ORIGIN)
    forget([slow], episodes, START + 2 * MEMORY_MS)
    assert told(judge([slow], episodes, series((11, 3 * 3600)), ORIGIN)) == [("RAISED", 3 * 3600, 3 * 3600)]


def test_historic_readings_hold_for_themselves():
    episodes = Episodes()
    assert judge([HELD], episodes, series((11, 0), (9, 5), (11, 6), (11, 12), behind=60_000), ORIGIN).is_empty()
    assert judge([HELD], episodes, series((11, 17)), ORIGIN).is_empty()
    alerts = judge([HELD], episodes, series((11, 16), behind=60_000), ORIGIN)
    assert (told(alerts), alerts["historic"].to_list()) == ([("RAISED", 16, 16)], [True])


def severities(alerts: pl.DataFrame) -> list[tuple[str, str, float]]:
    return [(status, severity, (at - START) / 1000) for status, severity, at in alerts.select("status", "severity", "changed_at").rows()]


def test_an_episode_goes_up_and_down_in_severity_under_one_id():
    alerts = judge([AT_ONCE], Episodes(), series((11, 0), (21, 1), (22, 2), (9, 3), (9, 4), (25, 5), (7, 6)), ORIGIN)
    assert severities(alerts) == [
        ("RAISED", "WARNING", 0),
        ("ESCALATED", "CRITICAL", 1),
        ("DEESCALATED", "WARNING", 3),
        ("ESCALATED", "CRITICAL", 5),
        ("CLEARED", "CRITICAL", 6),
    ]
    assert alerts["alert_id"].n_unique() == 1


def test_a_change_of_severity_holds_as_long_as_the_rule_says():
    alerts = judge([WORSE], Episodes(), series((11, 0), (11, 10), (21, 11), (11, 20), (21, 21), (21, 31), (11, 32), (11, 42)), ORIGIN)
    assert severities(alerts) == [("RAISED", "WARNING", 10), ("ESCALATED", "CRITICAL", 31), ("DEESCALATED", "WARNING", 42)]


def test_an_episode_begins_with_the_severity_its_reading_calls_for():
    assert severities(judge([WORSE], Episodes(), series((11, 0), (21, 10)), ORIGIN)) == [("RAISED", "CRITICAL", 10)]
    historic = judge([AT_ONCE], Episodes(), series((21, 0), behind=6_000), ORIGIN)
    assert severities(historic) == [("RAISED", "CRITICAL", 0)]


def test_an_episode_whose_rule_no_longer_escalates_comes_down():
    episodes = Episodes()
    judge([AT_ONCE], episodes, series((21, 0)), ORIGIN)
    assert severities(judge([replace(AT_ONCE, escalation=None)], episodes, series((21, 1)), ORIGIN)) == [("DEESCALATED", "WARNING", 1)]


@pytest.mark.parametrize(("at", "is_told"), [(-300, True), (-299, False), (0, False), (500, False), (1000, False), (1001, True)])
def test_a_historic_reading_of_an_episode_already_told_of_is_absorbed(at, is_told):
    episodes = Episodes()
    judge([HOT], episodes, series((11, 0), (7, 1000)), ORIGIN)
    assert judge([HOT], episodes, series((11, at), behind=2_000_000), ORIGIN).height == is_told


def test_a_historic_alert_absorbs_those_within_its_cooldown():
    alerts = judge([HOT], Episodes(), series((11, 0), (12, 1), (13, 299), (14, 300), (15, 301), behind=3_000_000), ORIGIN)
    assert told(alerts) == [("RAISED", 0, 0), ("RAISED", 300, 300)]


def test_a_live_reading_raises_after_a_historic_one_that_did():
    rows = [("press", "heat", 11.0, START, START + 6_000), ("press", "heat", 11.0, START + 7_000, START + 6_000)]
    alerts = judge([HOT], Episodes(), readings(*rows), ORIGIN)
    assert alerts.select("status", "historic").rows() == [("RAISED", True), ("RAISED", False)]
    assert alerts["alert_id"].n_unique() == 2


@pytest.mark.parametrize("is_settled", [True, False])
def test_an_episode_absorbs_nothing_from_when_it_may_be_forgotten_whether_it_was_or_not(is_settled):
    episodes = Episodes()
    judge([HOT], episodes, series((11, 0), (7, 1)), ORIGIN)
    if is_settled:
        forget([HOT], episodes, START + LONG)
    assert told(judge([HOT], episodes, series((11, 0), behind=LONG), ORIGIN)) == [("RAISED", 0, 0)]


def test_a_historic_alert_absorbs_others_after_a_new_episode_too():
    episodes = Episodes()
    judge([HOT], episodes, series((11, 0), behind=6_000), ORIGIN)
    assert told(judge([HOT], episodes, series((11, 1000)), ORIGIN)) == [("RAISED", 1000, 1000)]
    assert judge([HOT], episodes, series((11, 1), behind=2_000_000), ORIGIN).is_empty()


def test_what_a_device_that_was_offline_for_a_day_delivers_is_told_of_once_a_cooldown():
    backlog = [("press", "heat", 11.0, START + second * 1000, START + 86_400_000 + second) for second in range(0, 3600, 10)]
    assert judge([HOT], Episodes(), readings(*backlog), ORIGIN).height == 3600 * 1000 // COOLDOWN


def test_sensors_devices_and_rules_have_episodes_of_their_own():
    rows = [("a", "heat", 11.0, START, 0), ("a", "cold", 11.0, START, 0), ("b", "heat", 11.0, START, 0), ("b", "heat", -1.0, START + 1, 0)]
    alerts = judge([HOT, COLD], Episodes(), readings(*rows), ORIGIN)
    assert sorted(alerts.select("device_id", "subject", "rule", "status").rows()) == [
        ("a", "cold", "hot", "RAISED"),
        ("a", "heat", "hot", "RAISED"),
        ("b", "heat", "cold", "RAISED"),
        ("b", "heat", "hot", "CLEARED"),
        ("b", "heat", "hot", "RAISED"),
    ]


@pytest.mark.parametrize("device", ["", "{device}", "плант\x00", "🏭", "a\nb", "{0.__class__}"])
def test_a_device_may_be_named_anything(device):
    episodes = Episodes()
    alerts = judge([COLD], episodes, readings((device, "heat", -1.0, START, 0)), ORIGIN)
    assert alerts["message"].item() == device
    assert from_frame(to_frame(episodes)) == episodes


def test_where_a_rule_crashes_no_episode_changes():
    crashing = Rule(
        name="crash",
        severity=Severity.INFO,
        raises=pl.col("value") > 10,
        clears=pl.lit(False),
        threshold=pl.lit(None),
        cooldown_ms=0,
        message="{threshold:g}",
    )
    episodes = Episodes([(Key("a", "heat", "hot"), Episode(START, START, open=True, told_at=START))])
    before = dict(episodes)
    with pytest.raises(TypeError):
        judge([HOT, crashing], episodes, readings(("a", "heat", 7.0, START, 0), ("b", "heat", 11.0, START, 0)), ORIGIN)
    assert episodes == before


def test_a_closed_episode_is_forgotten_when_no_reading_can_meet_it():
    episodes = Episodes()
    judge([HOT], episodes, series((11, 0), (7, 1)), ORIGIN)
    latest = START + 1000 + COOLDOWN + MEMORY_MS
    forget([HOT], episodes, latest)
    assert len(episodes) == 1
    forget([HOT], episodes, latest + 1)
    assert episodes == Episodes()


def test_episodes_are_stored_and_taken_up_again():
    stored = [
        (Key("b", "heat", "hot"), Episode(1, 2, open=True, told_at=3)),
        (Key("a", "é", "hot"), Episode(4, 5, open=False, told_at=6, historic_at=7)),
        (Key("c", "heat", "hot"), Episode(4, 5, open=True, told_at=6, pending_at=7, historic_pending_at=8, escalated=True)),
    ]
    episodes = Episodes(stored)
    assert from_frame(to_frame(episodes)) == episodes
    assert from_frame(to_frame(Episodes())) == Episodes()
    assert to_frame(episodes).equals(to_frame(Episodes(reversed(stored))))


KEYS = [Key(device, subject, "hot") for device in "abé" for subject in ("heat", "noise")]


@given(st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 3), st.booleans())), st.integers(0, 20))
def test_stored_episodes_are_brought_up_to_date_by_what_was_put_and_forgotten(steps, stored_after):
    episodes, frame = Episodes(), to_frame({})
    for number, (key, at, put) in enumerate(steps):
        if number == stored_after:
            frame = advance(frame, episodes.changes())
        if put:
            episodes[key] = Episode(at, at, open=bool(at % 2), told_at=at)
        elif key in episodes:
            del episodes[key]
    frame = advance(frame, episodes.changes())
    assert frame.equals(to_frame(episodes))
    assert episodes.changes() == {}


def test_episodes_stored_before_there_were_hold_times_are_taken_up():
    episodes = Episodes([(Key("b", "heat", "hot"), Episode(1, 2, open=True, told_at=3, historic_at=4))])
    assert from_frame(to_frame(episodes).drop("pending_at", "historic_pending_at", "escalated")) == episodes


def test_the_open_episodes_of_a_rule_are_known_whatever_became_of_them():
    heat, cold = Key("a", "heat", "hot"), Key("a", "heat", "cold")
    opened = Episode(START, START, open=True, told_at=START)
    episodes = Episodes([(heat, opened), (cold, opened)])
    episodes[heat] = opened._replace(open=False)
    del episodes[cold]
    assert (episodes.open["hot"], episodes.open["cold"]) == (set(), set())
    episodes.update({heat: opened})
    assert episodes.open["hot"] == {heat}


def test_an_alerts_id_is_the_same_for_ever():
    """Sinks hold these ids: a change here would tell every alert twice."""
    assert alert_id(ORIGIN, Key("press", "heat", "hot"), START) == "2e7d8db8c87ec49d09be2e6b0012734f"


def test_no_two_episodes_share_an_id():
    keys = [Key(device, subject, rule) for device in "ab" for subject in "ab" for rule in "ab"]
    ids = {alert_id(origin, key, at) for origin in (ORIGIN, Origin("b", "factory")) for key in keys for at in (START, START + 1)}
    assert len(ids) == 2 * 8 * 2


@st.composite
def logs(draw) -> tuple[list[Reading], list[int], set[int]]:
    """Readings in disorder under a rising watermark, where to cut them, and after which cuts to forget."""
    steps = st.sampled_from([0, 1, 1_000, 5_000, 100_000, COOLDOWN, LONG])
    behind = st.sampled_from([0, 0, 0, 0, 1, 5_000, 10_000, 200_000, COOLDOWN, LONG, 2 * LONG])
    values = st.sampled_from([-1.0, 0.0, 3.0, 7.0, 9.0, 11.0, 11.0, 12.0, 21.0, 25.0])
    drawn = draw(st.lists(st.tuples(st.sampled_from("aab"), values, steps, behind), min_size=1, max_size=40))
    now, rows = START, []
    for device, value, step, back in drawn:
        now += step
        rows.append((device, "heat", value, now - back, now - 5_000))
    cuts = sorted(draw(st.sets(st.integers(0, len(rows)), max_size=6)) | {0, len(rows)})
    return rows, cuts, draw(st.sets(st.sampled_from(cuts)))


def per_key(batches: list[pl.DataFrame]) -> dict[tuple[str, ...], list[tuple[object, ...]]]:
    found = defaultdict(list)
    for row in pl.concat(batches).iter_rows(named=True):
        found[row["device_id"], row["subject"], row["rule"]].append(tuple(row.values()))
    return found


@settings(deadline=None)
@given(logs())
def test_alerts_and_episodes_are_the_same_however_the_log_is_cut_and_whenever_episodes_are_forgotten(log):
    rows, cuts, forgetting = log
    rules, one, cut = [HOT, COLD, HELD, WORSE, AT_ONCE], Episodes(), Episodes()
    singly = [judge(rules, one, readings(row), ORIGIN) for row in rows]
    batches = []
    for start, end in pairwise(cuts):
        batches.append(judge(rules, cut, readings(*rows[start:end]), ORIGIN))
        if end in forgetting:
            forget(rules, cut, rows[end - 1][-1])
            cut = from_frame(to_frame(cut))
    assert per_key(batches) == per_key(singly)
    forget(rules, one, rows[-1][-1])
    forget(rules, cut, rows[-1][-1])
    assert cut == one
