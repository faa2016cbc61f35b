import pytest
from aiocoap import Message
from aiocoap.error import UnparsableMessage
from aiocoap.optiontypes import StringOption

from streams.coap_requests import refuse_what_is_no_text


def test_a_message_whose_path_is_no_text_is_none(monkeypatch):
    monkeypatch.setattr(StringOption, "decode", StringOption.decode)
    refuse_what_is_no_text()
    # a confirmable POST, and Uri-Path (11) of two bytes
    head = bytes.fromhex("40020001")
    assert Message.decode(head + b"\xb2ab").opt.uri_path == ("ab",)
    with pytest.raises(UnparsableMessage, match="not UTF-8"):
        Message.decode(head + b"\xb2\xff\xfe")
