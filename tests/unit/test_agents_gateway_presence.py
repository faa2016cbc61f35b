from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.gateway.presence import Presence, Status, says_offline

AT = 1_764_000_000_000
SIGNS = st.lists(st.tuples(st.sampled_from(["message", "offline"]), st.integers(0, 3)), min_size=1, max_size=30)


def show(presence, signs, cuts, at=AT):
    """Signs of life, each so many milliseconds after the one before; folded after those that are cuts."""
    for number, (sign, later) in enumerate(signs):
        at += later
        if sign == "message":
            presence.seen_at, presence.source = at, "mqtt"
        else:
            presence.leave(at)
        if number in cuts:
            presence.fold()
    presence.fold()
    return presence


def facts(presence):
    return presence.first_seen, presence.last_seen, presence.offline_at


@given(SIGNS, st.sets(st.integers(0, 29)))
def test_what_a_device_is_does_not_depend_on_how_its_messages_were_cut(signs, cuts):
    often, once = show(Presence("t", "d"), signs, cuts), show(Presence("t", "d"), signs, set())
    assert facts(often)[1:] == facts(once)[1:]
    assert bool(often.offline_at) == (signs[-1][0] == "offline")


def report(presence, node):
    status = Status.OFFLINE if presence.offline_at else Status.ONLINE
    since = presence.offline_at or presence.last_seen
    return {
        "status": str(status),
        "since": since,
        "first_seen": presence.first_seen,
        "last_seen": presence.last_seen,
        "node": node,
        "device_type": "street_light",
        "protocol": "mqtt",
    }


@given(SIGNS, st.integers(1, 29))
def test_who_follows_the_reports_knows_what_the_gateway_knows(signs, every):
    gateway, follower = Presence("t", "d"), Presence("t", "d")
    for start in range(0, len(signs), every):
        show(gateway, signs[start : start + every], set(), AT + sum(later for _, later in signs[:start]))
        follower.hear(report(gateway, "g"), ours=False)
    assert facts(follower)[1:] == facts(gateway)[1:]


@given(st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=10, unique_by=lambda each: each[0]), st.randoms())
def test_reports_of_several_gateways_end_in_the_same_whatever_their_order(seen, random):
    reports = []
    for later, offline in seen:
        presence = Presence("t", "d")
        presence.seen_at = AT + 2 * later
        if offline:
            presence.leave(AT + 2 * later + 1)
        presence.fold()
        reports.append(report(presence, f"g{later}"))
    ends = []
    for _ in range(2):
        follower = Presence("t", "d")
        for each in reports:
            follower.hear(each, ours=False)
        ends.append(facts(follower))
        random.shuffle(reports)
    assert ends[0] == ends[1]


@pytest.mark.parametrize("payload", [b"offline", b" OFFLINE\n", b'"offline"', b'{"state": "offline"}', b'{"status": "Offline", "at": 1}'])
def test_a_device_says_that_it_is_gone_in_a_word_or_in_json(payload):
    assert says_offline(payload)
    assert not says_offline(payload.lower().replace(b"offline", b"online"))


@pytest.mark.parametrize("payload", [b"", b"gone", b"{", b"{}", b'{"state": 1}', b"\xff\x00", b'"', b"offline online"])
def test_what_says_neither_online_nor_offline_is_refused(payload):
    with pytest.raises(ValueError, match=r"."):
        says_offline(payload)


@given(st.binary(max_size=60) | st.integers(1, 1_300).map(lambda depth: b'{"state":' + b"[" * depth + b"]" * depth + b"}"))
def test_any_payload_says_one_or_the_other_or_is_told_that_it_does_not(payload):
    with suppress(ValueError):
        assert says_offline(payload) in (True, False)
