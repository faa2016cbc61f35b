import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.gateway.layout import Layout

LAYOUT = Layout("temperature:>i2/10 humidity:u1 battery_mv:<u2 sequence:>u4")


@given(st.integers(-(2**15), 2**15 - 1), st.integers(0, 255), st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1))
def test_fields_are_read_as_they_were_packed(temperature, humidity, battery, sequence):
    payload = struct.pack(">hB", temperature, humidity) + struct.pack("<H", battery) + struct.pack(">I", sequence)
    read = LAYOUT.read(payload)
    assert read == {"temperature": temperature / 10, "humidity": humidity, "battery_mv": battery, "sequence": sequence}


@pytest.mark.parametrize("payload", [b"", b"\0" * 8, b"\0" * 10])
def test_a_payload_of_another_length_is_not_of_the_layout(payload):
    with pytest.raises(ValueError, match="the layout has 9"):
        LAYOUT.read(payload)


def test_what_is_no_number_is_not_read_as_one():
    with pytest.raises(ValueError, match="y is nan, not a number"):
        Layout("x:<f4 y:<f4").read(struct.pack("<2f", 1, float("nan")))


@pytest.mark.parametrize("text", ["", "x", "x:i3", "x:i2/0", "x:i2 x:i2", "1x:i2", "x:i2,y:i2"])
def test_a_text_that_is_no_layout_is_refused(text):
    with pytest.raises(ValueError, match="is no layout"):
        Layout(text)
