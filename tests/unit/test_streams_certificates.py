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


NO_PEM = {
    "UTF-16": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".encode("utf-16"),
    "DER": b"\x30\x82\x01\x00",
    "empty": b"",
    "Latin-1": b"-----BEGIN CERTIFICATE-----\ncaf\xe9\n",
    "words": b"no certificate",
}


@pytest.mark.parametrize("name", NO_PEM)
@pytest.mark.parametrize("which", [0, 1])
def test_a_file_of_any_kind_that_is_none_of_pem_is_named_in_a_sentence(files, name, which):
    files[which].write_bytes(NO_PEM[name])
    with pytest.raises(NotReady, match="TLS of the gateway") as refused:
        Certificates(Host()).context()
    assert repr(str(files[which])) in str(refused.value)
    assert "_ssl.c" not in str(refused.value)


def test_a_file_that_is_not_there_or_cut_off_is_named(files):
    files[0].write_bytes(files[0].read_bytes()[:200])
    with pytest.raises(NotReady, match=str(files[0])):
        Certificates(Host()).context()
    files[0].unlink()
    with pytest.raises(NotReady, match="cannot be read: No such file or directory"):
        Certificates(Host()).context()


def test_files_that_cannot_be_used_are_said(files):
    files[1].write_text("no key")
    with pytest.raises(NotReady, match="HEADRACE_GATEWAY_CERTIFICATE"):
        Certificates(Host()).context()
