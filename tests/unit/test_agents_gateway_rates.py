from hypothesis import given
from hypothesis import strategies as st

from agents.gateway.rates import BURST_SECONDS, Buckets, Rates

STEPS = st.lists(st.tuples(st.integers(0, 30), st.floats(0, 5)), max_size=60)


@given(STEPS, st.sampled_from([0.1, 1, 7, 1000]), st.integers(1, 50))
def test_no_more_passes_in_any_time_than_a_full_bucket_and_what_flows_in_meanwhile(steps, per_second, burst):
    buckets, now, passed = Buckets(per_second, burst), 1_000.0, []
    for wanted, pause in steps:
        now += pause
        room = buckets.room("key", wanted, now)
        assert 0 <= room <= wanted
        buckets.take("key", room, now)
        passed.append((now, room))
    for start, (since, _) in enumerate(passed):
        total = 0
        for until, room in passed[start:]:
            total += room
            assert total <= burst + (until - since) * per_second + 1e-3


def test_an_empty_bucket_fills_at_its_rate():
    buckets = Buckets(per_second=2, burst=10)
    buckets.take("key", 10, 0)
    assert [buckets.room("key", 10, at) for at in (0, 0.4, 0.5, 3, 60)] == [0, 0, 1, 6, 10]


def test_tokens_given_back_are_there_again():
    buckets = Buckets(per_second=1, burst=3)
    buckets.take("key", 3, 0)
    buckets.take("key", -1, 0)
    assert buckets.room("key", 3, 0) == 1
    buckets.take("key", -5, 0)
    assert buckets.room("key", 9, 0) == 3


def test_each_key_has_a_bucket_and_the_one_used_longest_ago_goes_first():
    buckets = Buckets(per_second=1, burst=1, most=2)
    for key in "abc":
        buckets.take(key, 1, 0)
    assert [buckets.room(key, 1, 0) for key in "abc"] == [1, 0, 0]


def test_no_rate_is_no_limit():
    buckets = Buckets(0, 0)
    buckets.take("key", 1_000_000, 0)
    assert buckets.room("key", 1_000_000, 0) == 1_000_000


def test_one_device_gone_wild_leaves_the_others_of_its_tenant_their_share():
    rates = Rates(tenant_rate=10, device_rate=2)
    assert rates.admit("acme", "wild", 1_000, 0) == 2 * BURST_SECONDS
    assert rates.admit("acme", "wild", 1_000, 0) == 0
    assert rates.admit("acme", "calm", 5, 0) == 5


def test_a_tenant_that_uses_up_its_rate_takes_nothing_of_another_ones():
    rates = Rates(tenant_rate=1, device_rate=0)
    assert sum(rates.admit("acme", f"lamp-{n}", 1, 0) for n in range(100)) == BURST_SECONDS
    assert rates.admit("other", "lamp-1", 5, 0) == 5


def test_what_the_device_may_not_send_is_not_taken_from_its_tenant():
    rates = Rates(tenant_rate=1, device_rate=0.1)
    rates.admit("acme", "wild", 10, 0)
    assert rates.admit("acme", "calm", 1, 0) == 1
