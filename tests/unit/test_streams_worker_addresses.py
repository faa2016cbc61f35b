import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.worker.addresses import shown, without_passwords


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mqtt://gw:S3CRET@broker:1883", "mqtt://broker:1883"),
        ("ssl://gw:S3CRET@b", "ssl://b"),
        ("http://svc:S3CRET@127.0.0.1:18081/apis/ccompat/v7", "http://127.0.0.1:18081/apis/ccompat/v7"),
        ("gw:S3CRET@broker", "broker"),
        ("http://a:S3CRET@[::1", "http://[::1"),
        ("127.0.0.1:9092", "127.0.0.1:9092"),
    ],
)
def test_an_address_is_shown_without_its_password(url, told):
    assert shown(url) == told


@given(st.text(), st.sampled_from(["mqtt", "http", "nonsense"]))
def test_no_password_is_ever_shown(user, scheme):
    assert "S3CRET" not in shown(f"{scheme}://{user.replace('S3CRET', '')}:S3CRET@host:1/path")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "error '401' for url 'http://svc:S3CRET@h:1/x'; see https://example.org/a@b",
            "error '401' for url 'http://h:1/x'; see https://example.org/a@b",
        ),
        ("mqtt://a:S3@CRET@h and mqtt://h", "mqtt://h and mqtt://h"),
        ("by me@host", "by me@host"),
    ],
)
def test_a_sentence_is_told_without_the_passwords_of_its_addresses(text, told):
    assert without_passwords(text) == told
