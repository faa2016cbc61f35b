import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from deploy.checks import Ill
from deploy.gateway_checks import NOTICE_DAYS, certificates, spool
from streams.settings import Settings
from streams.spool import Outgoing, Spool
from tests.conformance.authority import Authority


@pytest.fixture
def issued(tmp_path):
    return Authority(tmp_path).issue("gateway")[0]


def test_a_certificate_that_is_about_to_expire_is_ill_with_when(issued):
    with pytest.raises(Ill, match="expires in 0 days") as found:
        certificates(Settings(gateway_certificate=str(issued)))
    assert "renew" in found.value.remedy


def test_a_certificate_that_lasts_is_well(issued, monkeypatch):
    monkeypatch.setattr("deploy.gateway_checks.NOTICE_DAYS", 0)
    end = datetime.now(UTC) + timedelta(days=1)
    assert certificates(Settings(gateway_certificate=str(issued))) == f"valid until {end:%Y-%m-%d}"
    assert NOTICE_DAYS > 7


def test_what_is_no_certificate_is_named_with_its_variable(tmp_path):
    (tmp_path / "x.pem").write_text("nonsense")
    with pytest.raises(Ill) as found:
        certificates(Settings(gateway_client_ca=str(tmp_path / "x.pem")))
    assert "HEADRACE_GATEWAY_CLIENT_CA" in found.value.remedy


def test_messages_that_nobody_brings_to_kafka_are_ill_and_those_of_a_running_gateway_are_not(tmp_path):
    ours = Settings(data=tmp_path)
    assert spool(ours) == f"nothing, of {ours.spool_mb} MiB a tenant"
    kept = Spool(tmp_path / "spool" / "gateway-7.sqlite", 1 << 20)

    async def leave():
        await kept.open()
        await kept.put([Outgoing("t", b"k", b"v", [], "a", urgent=False)])
        running = spool(ours)
        await kept.close()
        return running

    assert "gateway-7" in asyncio.run(leave())
    with pytest.raises(Ill, match="1 messages lie in") as found:
        spool(ours)
    assert "HEADRACE_INSTANCE is '7'" in found.value.remedy
