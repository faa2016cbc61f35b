import pytest

from agents.gateway.formats import format_of


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        ("", "JSON"),
        ("application/json", "JSON"),
        ('Application/JSON ; Charset = "UTF-8"', "JSON"),
        ("application/senml+json", "JSON"),
        ("application/cloudevents+json; charset=utf-8", "JSON"),
        ("application/vnd.x+json", "JSON"),
        ("text/json", "JSON"),
        ("text/plain;charset=utf-8", "JSON"),
        ("application/x-www-form-urlencoded", "JSON"),
        ("application/octet-stream", "JSON"),
        ("application/x-protobuf", "Protobuf"),
        ("application/avro; newer", "Avro"),
        ("application/json; charset=utf-16", ""),
        ("text/plain; charset=iso-8859-1", ""),
        ("application/senml+cbor", ""),
        ("application/cbor", ""),
        ("image/png", ""),
        ("json", ""),
        ("/", ""),
        (";", "JSON"),
    ],
)
def test_a_content_type_says_the_format_and_what_says_nothing_is_tried_as_json(content_type, name):
    assert format_of(content_type) == name
