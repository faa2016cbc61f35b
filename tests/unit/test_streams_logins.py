import asyncio

import pytest

from agents.gateway.identity import Credential, Kind, digest
from streams.exposition import Metrics
from streams.logins import ADDRESS_TRIES, NAME_TRIES, Claim, Logins, Refused, whose
from streams.passwords import hashed
from streams.settings import settings


class Host:
    """What logins need of their app, which follows nothing here."""

    def __init__(self):
        self.reads, self.prerequisites, self.metrics = [], [], Metrics()


@pytest.fixture
def logins():
    return Logins(Host())


def give(logins, kind, secret, device="lamp-1", **fields):
    credential = Credential(tenant=settings().tenant, device=device, kind=kind, name=f"{kind}-{secret}", secret=secret, **fields)
    assert list(logins.identities.take([credential.model_dump() | {"credential_id": f"{device}/{credential.name}"}])) == []


async def enter(logins, address="10.0.0.1", *, local=False, **claim):
    return await logins.identify(Claim(**claim), address, local=local)


async def refusal(logins, address="10.0.0.1", *, local=False, **claim):
    with pytest.raises(Refused) as refused:
        await enter(logins, address, local=local, **claim)
    return refused.value


async def test_anybody_comes_in_only_where_nobody_else_reaches_it_and_no_credential_was_ever_given(logins):
    assert await enter(logins, local=True) is None
    await refusal(logins, local=False)
    give(logins, Kind.TOKEN, digest("t"))
    await refusal(logins, local=True)
    give(logins, Kind.TOKEN, digest("t"), revoked=True)
    await refusal(logins, local=True)
    assert logins.counts == {("anonymous", "refused"): 3}


async def test_a_device_comes_in_by_whatever_it_was_given(logins):
    give(logins, Kind.TOKEN, digest("t"), "by-token")
    give(logins, Kind.CERTIFICATE, "CN=lamp", "by-certificate")
    give(logins, Kind.PASSWORD, hashed("secret"), "by-password")
    assert (await enter(logins, token="t")).device == "by-token"
    assert (await enter(logins, subjects=["DNS=x", "CN=lamp"])).device == "by-certificate"
    for user in ("by-password", f"{settings().tenant}/by-password"):
        assert (await enter(logins, user=user, password="secret")).device == "by-password"


async def test_a_certificate_that_is_not_known_is_not_made_up_for_by_a_token(logins):
    give(logins, Kind.TOKEN, digest("t"))
    assert (await refusal(logins, subjects=["CN=stranger"], token="t")).retry_seconds == 0


async def test_a_tenant_s_device_is_no_other_tenant_s(logins):
    give(logins, Kind.PASSWORD, hashed("secret"))
    await refusal(logins, user="other/lamp-1", password="secret")


async def test_after_some_wrong_passwords_a_device_has_to_wait_at_that_address_and_nowhere_else(logins):
    give(logins, Kind.PASSWORD, hashed("secret"))
    for _ in range(NAME_TRIES):
        assert (await refusal(logins, user="lamp-1", password="wrong")).retry_seconds == 0
    assert (await refusal(logins, user="lamp-1", password="wrong")).retry_seconds > 0
    assert (await refusal(logins, user="lamp-1", password="secret")).retry_seconds > 0
    assert (await enter(logins, "10.0.0.2", user="lamp-1", password="secret")).device == "lamp-1"
    assert logins.counts[Kind.PASSWORD, "limited"] == 2


async def test_a_device_that_came_in_lately_is_not_shut_out_by_who_guesses_at_its_password(logins):
    give(logins, Kind.PASSWORD, hashed("secret"))
    await enter(logins, user="lamp-1", password="secret")
    for _ in range(NAME_TRIES + 1):
        await refusal(logins, user="lamp-1", password="wrong")
    assert (await enter(logins, user="lamp-1", password="secret")).device == "lamp-1"


async def test_right_passwords_of_many_devices_at_one_address_use_nothing_up(logins):
    secret = hashed("secret")
    for number in range(30):
        give(logins, Kind.PASSWORD, secret, f"lamp-{number}")
    found = await asyncio.gather(*(enter(logins, user=f"lamp-{number}", password="secret") for number in range(30)))
    assert [each.device for each in found] == [f"lamp-{number}" for number in range(30)]
    assert logins._of_address.room("10.0.0.1", ADDRESS_TRIES, asyncio.get_running_loop().time()) == ADDRESS_TRIES


async def test_an_address_that_guesses_at_tokens_is_limited_and_those_that_know_one_still_come_in(logins):
    give(logins, Kind.TOKEN, digest("t"))
    for number in range(ADDRESS_TRIES):
        assert (await refusal(logins, token=f"guess-{number}")).retry_seconds == 0
    assert (await refusal(logins, token="guess")).retry_seconds > 0
    assert (await enter(logins, token="t")).device == "lamp-1"


async def test_a_new_password_takes_the_place_of_the_one_remembered(logins):
    name = {"tenant": settings().tenant, "device": "lamp-1", "kind": Kind.PASSWORD, "name": "password"}
    for password in ("old", "new"):
        list(logins.identities.take([Credential(secret=hashed(password), **name).model_dump() | {"credential_id": "x"}]))
        assert (await enter(logins, user="lamp-1", password=password)).device == "lamp-1"
    await refusal(logins, user="lamp-1", password="old")


async def test_a_secret_that_is_no_hash_lets_nobody_in(logins):
    give(logins, Kind.PASSWORD, "secret")
    await refusal(logins, user="lamp-1", password="secret")


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("/run/socket", "/run/socket"),
    ],
)
def test_tries_are_counted_by_what_a_subscriber_has(address, counted):
    assert whose(address) == counted


async def test_the_addresses_of_one_network_of_ipv6_have_their_tries_together(logins):
    give(logins, Kind.PASSWORD, hashed("secret"))
    for number in range(NAME_TRIES):
        assert (await refusal(logins, f"2001:db8::{number:x}", user="lamp-1", password="wrong")).retry_seconds == 0
    assert (await refusal(logins, "2001:db8::ffff", user="lamp-1", password="wrong")).retry_seconds > 0
    assert (await enter(logins, "2001:db8:0:1::1", user="lamp-1", password="secret")).device == "lamp-1"
    for number in range(ADDRESS_TRIES):
        await refusal(logins, f"2001:db8:7::{number:x}", token=f"guess-{number}")
    assert (await refusal(logins, "2001:db8:7::ffff", token="guess")).retry_seconds > 0
