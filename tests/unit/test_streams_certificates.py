import os
import ssl

import pytest

from streams.assembly import NotReady
from streams.certificates import Certificates
from streams.settings import settings
from tests.conformance.authority import Authority


class Host:
    """What certificates need of their app."""

    def __init__(self):
        self.services = []


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def files(authority, monkeypatch):
    certificate, key = authority.issue("gateway")
    monkeypatch.setenv("HEADRACE_GATEWAY_CERTIFICATE", str(certificate))
    monkeypatch.setenv("HEADRACE_GATEWAY_KEY", str(key))
    settings.cache_clear()
    yield certificate, key
    settings.cache_clear()


def shown(context, authority):
    """The common name and serial number of what a client is shown."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(incoming, outgoing, server_side=True)
    client = ssl.create_default_context(cafile=authority.path).wrap_bio(outgoing, incoming, server_hostname="localhost")
    for _ in range(6):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client.getpeercert()["serialNumber"]


def replace(files, others):
    for number, (old, new) in enumerate(zip(files, others, strict=True)):
        new.replace(old)
        os.utime(old, ns=(number + 1, number + 1))  # as if at another time, on any file system


def test_a_certificate_that_is_renewed_is_shown_from_then_on(authority, files):
    certificates = Certificates(Host())
    context = certificates.context()
    before = shown(context, authority)
    certificates.look()
    assert shown(context, authority) == before
    replace(files, authority.issue("renewed"))
    certificates.look()
    assert shown(context, authority) != before
    assert certificates.renewed == 1


def test_files_that_do_not_belong_together_leave_the_certificate_before_them(authority, files):
    certificates = Certificates(Host())
    context = certificates.context()
    before = shown(context, authority)
    authority.issue("other")[0].replace(files[0])
    os.utime(files[0], ns=(1, 1))
    certificates.look()
    assert shown(context, authority) == before
    assert certificates.renewed == 0


def test_without_a_certificate_there_is_no_tls():
    settings.cache_clear()
    assert Certificates(Host()).context() is None


def test_files_that_cannot_be_used_are_said(files):
    files[1].write_text("no key")
    with pytest.raises(NotReady, match="HEADRACE_GATEWAY_CERTIFICATE"):
        Certificates(Host()).context()
