import pytest

from agents.gateway.fleet import GATEWAY_MS, REPORT_MS, Fleet
from agents.gateway.presence import Status
from agents.gateway.registration import Registration
from agents.gateway.terms import Policy, Terms

NOW = 1_764_000_000_000
PATIENCE = 900_000


def fleet(node="g", **terms):
    """A gateway that has listened to MQTT and HTTP for some seconds, and reads its own reports."""
    made = Fleet(node, Terms(**terms))
    made.started = True
    listen(made, NOW - 20_000, NOW)
    return made


def listen(some, start, end, protocols=("mqtt", "http"), step=10_000):
    for now in range(start, end + 1, step):
        some.hear([some.listen(set(protocols), now)])


def message(some, device="d", at=NOW, source="mqtt", tenant="t", kind="street_light"):
    presence = some.presence(tenant, device, kind)
    presence.seen_at, presence.source = at, source
    return presence


def due(some, now):
    return [(row["device_id"], row["status"]) for row in some.due([*some.devices.values()], now)]


def registered(**fields):
    return {"device_key": "t/d", **Registration(device_id="d", tenant_id="t", device_type="street_light", **fields).model_dump()}


def test_a_device_is_reported_when_it_comes_and_then_once_a_minute_however_much_it_says():
    some = fleet()
    reports = []
    for now in range(NOW, NOW + 10 * REPORT_MS, 1_000):
        message(some, at=now)
        reports += due(some, now)
    assert reports == [("d", "online")] * 10


def test_a_device_is_silent_when_its_patience_is_over_and_not_before():
    some = fleet()
    message(some)
    listen(some, NOW, NOW + PATIENCE)
    assert due(some, NOW + PATIENCE) == [("d", "online")]
    listen(some, NOW + PATIENCE, NOW + PATIENCE + 10_000)
    assert due(some, NOW + PATIENCE + 1) == [("d", "silent")]
    assert due(some, NOW + PATIENCE + 10_000) == []
    message(some, at=NOW + PATIENCE + 10_000)
    assert due(some, NOW + PATIENCE + 10_000) == [("d", "online")]


def test_a_type_has_a_patience_of_its_own():
    some = fleet(silence_ms_of={"parking_sensor": 5_000})
    message(some)
    message(some, "p", kind="parking_sensor")
    due(some, NOW)
    assert due(some, NOW + 6_000) == [("p", "silent")]


@pytest.mark.parametrize("protocols", [(), ("http",)], ids=["nothing", "http"])
def test_a_device_is_not_silent_while_its_gateway_does_not_hear_its_protocol(protocols):
    some = fleet()
    presence = message(some)
    assert due(some, NOW) == [("d", "online")]
    listen(some, NOW, NOW + 2 * PATIENCE, protocols)
    assert due(some, NOW + 2 * PATIENCE) == []
    assert some.shown(presence, NOW + 2 * PATIENCE)[0] is Status.UNWATCHED
    # heard again, it has its whole patience to say something
    listen(some, NOW + 2 * PATIENCE, NOW + 3 * PATIENCE)
    assert due(some, NOW + 3 * PATIENCE) == []
    listen(some, NOW + 3 * PATIENCE, NOW + 3 * PATIENCE + 10_000)
    assert due(some, NOW + 3 * PATIENCE + 10_000) == [("d", "silent")]


def test_a_gateway_that_hung_does_not_take_that_for_its_devices_silence():
    some = fleet()
    message(some)
    due(some, NOW)
    some.listen({"mqtt"}, NOW + 2 * PATIENCE)
    assert due(some, NOW + 2 * PATIENCE) == []


def reported(node, at, source="mqtt", status="online", last_seen=None):
    seen = at if last_seen is None else last_seen
    row = {"device_key": "t/d", "tenant_id": "t", "device_id": "d", "device_type": "street_light", "protocol": source}
    return row | {"first_seen": seen, "last_seen": seen, "status": status, "since": at, "node": node, "reported_at": at}


def test_what_another_gateway_heard_over_mqtt_is_waited_for_a_minute_longer_as_its_reports_may_be():
    some = fleet()
    some.hear([reported("other", NOW)])
    listen(some, NOW, NOW + PATIENCE + REPORT_MS + 10_000)
    assert due(some, NOW + PATIENCE + REPORT_MS) == []
    assert due(some, NOW + PATIENCE + REPORT_MS + 1) == [("d", "silent")]


def test_what_another_gateway_heard_over_http_only_that_one_can_call_silent():
    some = fleet()
    some.hear([reported("other", NOW, "http")])
    listen(some, NOW, NOW + 3 * PATIENCE)
    assert due(some, NOW + 3 * PATIENCE) == []
    status, why = some.shown(some.devices["t", "d"], NOW + 3 * PATIENCE)
    assert (status, why.split(":")[0]) == (Status.UNWATCHED, "other is down")


def test_while_kafka_is_behind_nobody_calls_silent_what_others_may_have_heard():
    some = fleet()
    some.hear([reported("other", NOW)])
    presence = some.devices["t", "d"]
    for now in range(NOW, NOW + 3 * PATIENCE, 10_000):
        some.listen({"mqtt"}, now)  # and its own record does not come back
    assert due(some, NOW + 3 * PATIENCE) == []
    assert some.shown(presence, NOW + 3 * PATIENCE) == (
        Status.UNWATCHED,
        "Kafka is behind: this gateway's own reports do not come back",
    )


def test_a_device_that_another_gateway_heard_is_online_again_here():
    some = fleet()
    some.hear([reported("other", NOW, status="offline", last_seen=NOW - 1)])
    assert some.shown(some.devices["t", "d"], NOW)[0] is Status.OFFLINE
    some.hear([reported("other", NOW + 5)])
    assert some.shown(some.devices["t", "d"], NOW + 5)[0] is Status.ONLINE


def test_who_only_looks_sees_a_device_unwatched_when_its_gateway_is_gone():
    some = fleet()
    message(some)
    looker = Fleet()
    looker.hear([*some.due([*some.devices.values()], NOW), some.listen({"mqtt"}, NOW)])
    assert looker.shown(looker.devices["t", "d"], NOW + GATEWAY_MS)[0] is Status.ONLINE
    assert looker.shown(looker.devices["t", "d"], NOW + GATEWAY_MS + 1)[0] is Status.UNWATCHED


def test_a_gateway_that_starts_anew_goes_by_its_own_reports():
    before, after = fleet(), Fleet("g")
    message(before)
    after.hear(before.due([*before.devices.values()], NOW))
    assert after.devices["t", "d"].here
    after.started = True
    listen(after, NOW, NOW + PATIENCE + 10_000)
    assert due(after, NOW + PATIENCE + 10_000) == [("d", "silent")]


@pytest.mark.parametrize(
    ("policy", "unknown", "retired"),
    [
        (Policy.ACCEPT, None, Policy.QUARANTINE),
        (Policy.QUARANTINE, Policy.QUARANTINE, Policy.QUARANTINE),
        (Policy.REJECT, Policy.REJECT, Policy.REJECT),
    ],
)
def test_who_is_let_in_is_the_tenants_policy(policy, unknown, retired):
    some = fleet(unknown=Policy.REJECT, unknown_of={"t": policy})
    assert some.presence("t", "d", "").barred is unknown
    assert not [*some.register([registered()])]
    presence = some.presence("t", "d", "")
    assert presence.barred is None
    assert not [*some.register([registered(retired=True)])]
    assert presence.barred is retired


def test_devices_that_were_let_in_stay_known_when_no_more_are():
    some = fleet(unknown=Policy.REJECT)
    some.hear([reported("other", NOW)])
    assert some.presence("t", "d", "").barred is None
    assert some.presence("t", "stranger", "").barred is Policy.REJECT


def test_addresses_are_made_anew_when_a_stranger_becomes_known():
    some = fleet(unknown=Policy.REJECT)
    assert not [*some.register([registered()])]
    assert not some.outdated
    some.presence("t", "stranger", "")
    assert not [*some.register([registered(firmware="2")])]
    assert not some.outdated
    assert not [*some.register([registered() | {"device_id": "stranger"}])]
    assert some.outdated


def test_strangers_take_no_memory_however_many_they_are():
    some = fleet(unknown=Policy.QUARANTINE)
    for number in range(1000):
        some.presence("t", str(number), "")
    assert not some.devices
    few = Fleet("g", most=10)
    assert [few.presence("t", str(number), "").barred for number in range(20)] == [None] * 20
    assert len(few.devices) == 10


def test_a_record_that_is_no_device_is_said_and_the_one_before_stays():
    some = fleet()
    assert not [*some.register([registered(district="harbour")])]
    (problem,) = some.register([registered() | {"device_type": "A B"}])
    assert problem.startswith("t/d: device_type: ")
    assert some.devices["t", "d"].registration.district == "harbour"


def test_a_device_of_which_only_duplicates_come_is_online_and_the_reason_says_so():
    some = fleet()
    device = message(some)
    assert some.shown(device, NOW) == (Status.ONLINE, "")
    device.repeats = 7
    status, why = some.shown(device, NOW)
    assert status is Status.ONLINE
    assert why.startswith("its last 7 messages were left out as duplicates")
