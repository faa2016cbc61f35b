import pytest

from streams.assembly import NotReady
from streams.listening import Place, require_safe
from streams.settings import settings


@pytest.fixture
def setting(monkeypatch):
    """Sets a variable as of now."""

    def put(name, value):
        monkeypatch.setenv(name, value)
        settings.cache_clear()

    yield put
    settings.cache_clear()


@pytest.mark.parametrize(
    ("address", "place", "local"),
    [
        ("127.0.0.1:18090", ("127.0.0.1", 18090), True),
        ("[::1]:5683", ("::1", 5683), True),
        ("localhost:1", ("localhost", 1), True),
        ("0.0.0.0:443", ("0.0.0.0", 443), False),
        ("city.example:443", ("city.example", 443), False),
    ],
)
def test_an_address_is_a_host_and_a_port(address, place, local):
    assert (Place.of(address), Place.of(address).local) == (place, local)


def test_where_others_reach_it_the_gateway_listens_with_a_certificate_only():
    with pytest.raises(NotReady, match=r"0\.0\.0\.0:443.*HEADRACE_GATEWAY_CERTIFICATE"):
        require_safe(["127.0.0.1:1", "0.0.0.0:443"], lambda: True)


def test_where_others_reach_it_the_gateway_listens_when_somebody_can_come_in(setting):
    setting("HEADRACE_GATEWAY_CERTIFICATE", "gateway.pem")
    require_safe(["0.0.0.0:443"], lambda: True)
    with pytest.raises(NotReady, match="headrace device token"):
        require_safe(["0.0.0.0:443"], lambda: False)


def test_where_only_this_machine_reaches_it_the_gateway_listens_as_it_is():
    require_safe(["127.0.0.1:1", "[::1]:2"], lambda: False)
