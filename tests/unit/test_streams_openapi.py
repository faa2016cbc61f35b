from html.parser import HTMLParser

import pytest

from streams.openapi import home, page


def operation(*fields, **more):
    parameters = [
        {
            "name": name,
            "required": required,
            "description": f"The {name}.",
            "schema": {} if required else {"default": 7, "minimum": 1, "maximum": 1000},
        }
        for name, required in fields
    ]
    return {"summary": "What <is> known.", "parameters": parameters, **more}


BODY = {"properties": {"until": {"description": "When it ends.", "enum": ["noon", "night"]}}, "required": ["until"]}
DOCUMENT = {
    "info": {"title": "Headrace, factory worker"},
    "paths": {
        "/api/devices": {"get": operation(("limit", False))},
        "/api/devices/{device}": {"get": operation(("device", True))},
        "/api/silences": {"post": operation(requestBody={"content": {"application/json": {"schema": BODY}}}), "get": operation()},
    },
}


class Reader(HTMLParser):
    """What a browser shows, and where its links lead."""

    def __init__(self):
        super().__init__()
        self.text, self.links = [], []

    def handle_data(self, data):
        self.text.append(data)

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("href", "src")]


@pytest.fixture
def read():
    reader = Reader()
    reader.feed(page(DOCUMENT))
    return reader


def test_every_question_is_told_with_what_it_takes(read):
    text = " ".join(" ".join(read.text).split())
    assert "GET /api/devices What <is> known. name default meaning values limit 7 The limit. from 1, to 1,000" in text
    assert "GET /api/devices/{device} What <is> known. name default meaning values device needed The device." in text
    assert "POST /api/silences What <is> known. name default meaning values until needed When it ends. noon, night" in text


def test_links_lead_to_what_can_be_asked_by_its_address_alone_and_nowhere_else(read):
    assert read.links == ["/api/devices", "/api/silences"]


def test_the_first_page_links_to_what_can_be_asked_by_its_address_alone():
    text = home("Headrace, <a> worker", ["/api/alerts", "/api/alerts/{alert_id}"])
    assert '<a href="/api/alerts">/api/alerts</a>' in text
    assert "<li>/api/alerts/{alert_id}" in text
    assert "<a> worker" not in text
