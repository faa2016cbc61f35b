from itertools import count

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.desk import KEPT_MS, SHORT_ID, Action, Desk, by_device, overdue
from schemas.catalog import ALERT_ACTIONS, ALERTS

MINUTE = 60_000
NOW = 100 * MINUTE
ids = count()


def change(status, at, *, alert_id="a", device="press", rule="hot", severity="WARNING", historic=False, changed_at=None):
    told = {"alert_id": alert_id, "device_id": device, "rule": rule, "severity": severity, "status": status, "historic": historic}
    usual = {"tenant": "acme", "domain": "factory", "subject": "heat", "value": 1.0, "threshold": 1.0, "message": status}
    times = {"raised_at": 0, "changed_at": at if changed_at is None else changed_at, "arrival": at}
    return told | usual | times | {"expected_at": None, "confidence": None}


def action(what, arrival, *, alert_id="a", device="press", **more):
    usual = {"severity": None, "until": None, "rule": None, "by": "kim", "note": "", "tenant": "acme", "action_id": str(next(ids))}
    return usual | {"action": what, "alert_id": alert_id, "device_id": device, "at": arrival, "arrival": arrival} | more


def desk(*records):
    """A desk that was given changes and actions one by one."""
    found = Desk()
    for record in records:
        take(found, record)
    return found


def take(found, *records):
    for topic, contract, take in (("changed_at", ALERTS, found.change), ("action_id", ALERT_ACTIONS, found.act)):
        rows = [record for record in records if topic in record]
        take(pl.DataFrame(rows, schema={**contract.codec.columns, "arrival": pl.Int64}))


def one(*records, now=NOW):
    return desk(*records).alerts(now).row(0, named=True)


def test_an_alert_is_open_until_somebody_acknowledges_it_or_it_clears():
    raised = change("RAISED", 1)
    assert one(raised)["state"] == "open"
    acknowledged = one(raised, action("ACKNOWLEDGE", 5, at=4))
    assert [acknowledged[name] for name in ("state", "acknowledged_by", "acknowledged_at", "updated_at")] == ["acknowledged", "kim", 4, 5]
    cleared = one(raised, action("ACKNOWLEDGE", 5), change("CLEARED", 9))
    assert [cleared[name] for name in ("state", "message", "acknowledged_by")] == ["cleared", "CLEARED", "kim"]


@pytest.mark.parametrize(
    ("then", "state"), [("REOPENED", "open"), ("ESCALATED", "open"), ("DEESCALATED", "acknowledged"), ("CLEARED", "cleared")]
)
def test_raised_anew_or_escalated_by_its_rule_an_alert_needs_somebody_again(then, state):
    assert one(change("RAISED", 1), action("ACKNOWLEDGE", 5), change(then, 9))["state"] == state


def test_an_alert_that_was_sent_again_after_a_crash_takes_no_acknowledgement_back():
    raised, again = change("RAISED", 1), change("RAISED", 9, changed_at=1)
    acknowledged = action("ACKNOWLEDGE", 5)
    assert one(raised, acknowledged, again)["state"] == "acknowledged"
    found = Desk()
    take(found, raised, acknowledged, again)
    assert found.alerts(NOW)["state"].to_list() == ["acknowledged"]


def test_what_a_person_cleared_is_cleared_until_it_is_raised_anew():
    raised, cleared = change("RAISED", 1), action("CLEAR", 5, by="lee")
    assert [one(raised, cleared)[name] for name in ("state", "cleared_by")] == ["cleared", "lee"]
    assert one(raised, cleared, change("ESCALATED", 9))["state"] == "cleared"
    assert one(raised, cleared, change("CLEARED", 9), change("REOPENED", 12))["state"] == "open"


def test_the_severity_is_the_one_that_was_set_last_by_the_rule_or_a_person():
    raised, up = change("RAISED", 1), action("ESCALATE", 5, severity="CRITICAL")
    assert [one(raised, up)[name] for name in ("severity", "severity_by", "state")] == ["CRITICAL", "kim", "open"]
    assert one(raised, up, action("DEESCALATE", 6, severity="INFO"))["severity"] == "INFO"
    assert one(raised, up, change("CLEARED", 9))["severity"] == "CRITICAL"
    by_rule = one(raised, up, change("DEESCALATED", 9, severity="INFO"))
    assert (by_rule["severity"], by_rule["severity_by"]) == ("INFO", None)


def test_a_silence_is_of_a_device_or_one_of_its_rules_and_of_what_is_raised_later_too():
    until = NOW + MINUTE
    whole = action("SILENCE", 1, alert_id=None, until=until)
    part = action("SILENCE", 1, alert_id=None, until=until, rule="hot")
    for silence, rule, device, state in (
        (whole, "hot", "press", "silenced"),
        (part, "hot", "press", "silenced"),
        (part, "cold", "press", "open"),
        (whole, "hot", "oven", "open"),
    ):
        assert one(silence, change("RAISED", 5, rule=rule, device=device))["state"] == state
    assert one(whole, change("RAISED", 5), now=until)["state"] == "open"


def test_a_silence_ends_when_somebody_says_so():
    silence = action("SILENCE", 1, alert_id=None, until=NOW + MINUTE, rule="hot")
    other = action("UNSILENCE", 2, alert_id=None)
    assert one(silence, other, change("RAISED", 5))["state"] == "silenced"
    assert one(silence, action("UNSILENCE", 2, alert_id=None, rule="hot"), change("RAISED", 5))["state"] == "open"


def test_what_no_version_knows_of_does_nothing():
    alert = one(change("RAISED", 1), action("EXPLODE", 2), action("ESCALATE", 3, severity="FATAL"))
    assert (alert["severity"], alert["state"]) == ("WARNING", "open")
    assert overdue(desk(change("RAISED", 1, severity="FATAL")).alerts(NOW), NOW, 0).is_empty()


def test_an_escalated_alert_has_waited_since_it_was_raised():
    assert one(change("RAISED", 1), action("ESCALATE", 5, severity="CRITICAL"))["waiting_since"] == 1


def test_an_alert_whose_beginning_is_no_longer_in_the_log_has_waited_since_what_is():
    assert one(change("DEESCALATED", 7))["waiting_since"] == 7


def test_a_historic_alert_waits_for_nobody():
    assert one(change("RAISED", 1, historic=True))["state"] == "cleared"


def test_an_action_about_an_alert_that_is_not_there_yet_counts_once_it_is():
    found = desk(action("ACKNOWLEDGE", 5))
    take(found, change("RAISED", 1))
    assert found.alerts(NOW)["state"].to_list() == ["acknowledged"]


def test_an_alert_nobody_cared_for_goes_one_severity_up_each_time_and_under_the_same_ids():
    found = desk(change("RAISED", MINUTE, severity="INFO"))
    assert overdue(found.alerts(NOW), 6 * MINUTE - 1, 5 * MINUTE).is_empty()
    due = overdue(found.alerts(NOW), 6 * MINUTE, 5 * MINUTE)
    assert due.select("action", "severity", "by", "at").rows() == [("ESCALATE", "WARNING", "desk", 6 * MINUTE)]
    assert overdue(found.alerts(NOW), 9 * MINUTE, 5 * MINUTE).equals(due)
    found.act(due.with_columns(arrival=pl.lit(6 * MINUTE, pl.Int64)))
    found.act(due.with_columns(arrival=pl.lit(7 * MINUTE, pl.Int64)))
    assert overdue(found.alerts(NOW), 11 * MINUTE - 1, 5 * MINUTE).is_empty()
    again = overdue(found.alerts(NOW), 11 * MINUTE, 5 * MINUTE)
    assert again["severity"].to_list() == ["CRITICAL"]
    found.act(again.with_columns(arrival=pl.lit(11 * MINUTE, pl.Int64)))
    assert overdue(found.alerts(NOW), NOW, 5 * MINUTE).is_empty()


@pytest.mark.parametrize("what", ["ACKNOWLEDGE", "SILENCE", "CLEAR"])
def test_an_alert_somebody_cared_for_is_not_escalated(what):
    found = desk(change("RAISED", MINUTE), action(what, MINUTE, until=2 * NOW))
    assert overdue(found.alerts(NOW), NOW, MINUTE).is_empty()


def test_a_day_after_it_closed_an_alert_is_dropped_and_an_open_one_is_not():
    found = desk(change("RAISED", 1), change("RAISED", 1, alert_id="b"), change("CLEARED", 2), action("ACKNOWLEDGE", 3, alert_id="b"))
    take(found, action("ACKNOWLEDGE", 2), action("SILENCE", 2, alert_id=None, until=9 * KEPT_MS, device="oven"))
    found.forget(KEPT_MS + 1)
    assert found.changes.height == 3
    found.forget(KEPT_MS + 5)
    assert found.alerts(KEPT_MS + 5).select("alert_id", "state").rows() == [("b", "acknowledged")]
    assert found.actions.select("alert_id", "action").rows() == [("b", "ACKNOWLEDGE"), (None, "SILENCE")]


def test_a_silence_that_was_ended_does_not_come_back_when_its_end_is_dropped():
    found = desk(
        change("RAISED", 1), action("SILENCE", 2, until=9 * KEPT_MS, rule="hot"), action("UNSILENCE", 3, alert_id=None, rule="hot")
    )
    found.forget(2 * KEPT_MS)
    assert found.alerts(2 * KEPT_MS)["state"].to_list() == ["open"]
    assert found.actions.is_empty()


def test_a_flood_of_alerts_takes_less_than_a_kilobyte_each():
    many = pl.int_range(100_000, eager=True).cast(pl.String).str.zfill(32).alias("alert_id")
    found = Desk()
    for record in (change("RAISED", 1, device="plant-1.press-0000"), change("CLEARED", 2, device="plant-1.press-0000")):
        row = pl.DataFrame([record], schema={**ALERTS.codec.columns, "arrival": pl.Int64})
        found.change(row.drop("alert_id").join(many.to_frame(), how="cross"))
    assert found.alerts(NOW)["state"].value_counts().rows() == [("cleared", 100_000)]
    assert found.changes.estimated_size() < 100_000 * 1_000
    found.forget(2 * KEPT_MS)
    assert found.changes.is_empty()


RECORDS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["RAISED", "REOPENED", "ESCALATED", "CLEARED"]), st.sampled_from("ab")),
        st.tuples(st.sampled_from([*Action]), st.sampled_from("ab")),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(RECORDS, st.data())
def test_where_alerts_stand_does_not_depend_on_how_the_two_logs_came_together_or_how_often(steps, data):
    records = []
    for at, (what, alert_id) in enumerate(steps, 1):
        if what in [*Action]:
            records.append(action(what, at, alert_id=alert_id, severity="CRITICAL", until=NOW + at, rule="hot"))
        else:
            records.append(change(what, at, alert_id=alert_id, severity="INFO"))
    logs = [[record for record in records if "changed_at" in record], [record for record in records if "changed_at" not in record]]
    again = [log[start:] for log in logs if (start := data.draw(st.integers(0, len(log)))) < len(log)]
    other = Desk()
    pending = [list(log) for log in logs]
    while any(pending):
        log = data.draw(st.sampled_from([log for log in pending if log]))
        take(other, *[log.pop(0) for _ in range(data.draw(st.integers(1, len(log))))])
    for log in again:
        take(other, *log)
    expected = desk(*records).alerts(NOW).sort("alert_id")
    assert other.alerts(NOW).sort("alert_id").equals(expected)
    for alert_id in expected["alert_id"]:
        assert other.alerts(NOW, alert_id).equals(expected.filter(alert_id=alert_id))


@given(st.sets(st.text("0123456789ab", min_size=1, max_size=20), min_size=1, max_size=12))
def test_a_short_id_names_its_alert_and_no_other(names):
    found = desk(*(change("RAISED", 1, alert_id=name) for name in names))
    short = found.ids()
    assert short.keys() == names
    assert all(found.named(beginning) == [name] or beginning in names for name, beginning in short.items())
    assert all(len(beginning) == min(len(name), SHORT_ID) for name, beginning in short.items() if len(found.named(name[:SHORT_ID])) == 1)


def test_an_alert_is_named_by_any_beginning_that_no_other_has():
    found = desk(*(change("RAISED", 1, alert_id=name) for name in ("abc1", "abc2", "abd", "ab")))
    assert [found.named(text) for text in ("abd", "abc", "ab", "x", "abc1")] == [["abd"], ["abc1", "abc2"], ["ab"], [], ["abc1"]]


def test_a_storm_of_alerts_is_a_line_for_each_device_the_worst_first():
    found = desk(
        *(change("RAISED", at, alert_id=f"p{at}", device="press", rule=f"r{at % 2}") for at in range(1, 5)),
        change("RAISED", 9, alert_id="o", device="oven", severity="CRITICAL"),
    )
    told = by_device(found.alerts(NOW))
    assert told.select("device_id", "severity", "alerts", "rules").rows() == [
        ("oven", "CRITICAL", 1, ["hot"]),
        ("press", "WARNING", 4, ["r0", "r1"]),
    ]
