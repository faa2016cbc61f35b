import pytest

from agents.gateway.terms import Policy, Terms
from streams.settings import Settings


def test_terms_are_those_of_a_tenant_or_a_type_or_of_all():
    terms = Terms.of("quarantine,acme=reject", "60,manhole_cover=86400")
    assert (terms.policy("acme"), terms.policy("other")) == (Policy.REJECT, Policy.QUARANTINE)
    assert (terms.patience_ms("manhole_cover"), terms.patience_ms("street_light")) == (86_400_000, 60_000)
    assert Terms.of("acme=reject", "x=1") == Terms(unknown_of={"acme": Policy.REJECT}, silence_ms_of={"x": 1_000})
    assert Terms.of("", "") == Terms()


@pytest.mark.parametrize("wrong", [{"unknown_devices": "maybe"}, {"unknown_devices": "accept acme=reject"}, {"silence_seconds": "soon"}])
def test_settings_that_are_no_terms_are_refused(wrong):
    with pytest.raises(ValueError, match="is needed"):
        Settings(**wrong)
