import pytest

from agents.gateway.duplicates import Duplicates
from agents.gateway.envelopes import Delivery
from agents.gateway.message import Post, Sender, Source, Verdict
from agents.gateway.place import Place
from agents.gateway.presence import MOST_REPEATS
from agents.gateway.sparkplug.wire import PAYLOAD, DataType
from schemas.catalog import CONTRACTS, DEAD_LETTERS
from schemas.codec import Codec
from schemas.reference import read_record
from streams.rounds import assemble

SCHEMA_IDS = {topic: number for number, topic in enumerate(CONTRACTS, 1)}


class Crashing(Post):
    """A message that our code cannot bear."""

    @property
    def content_type(self):
        raise RecursionError("maximum recursion depth exceeded")


@pytest.mark.parametrize("at", [0, 3, 5])
def test_a_message_on_which_anything_raises_is_a_dead_letter_and_its_neighbours_go_on(at):
    messages = [Post("lights/l-1/status", b'{"on": true, "sequence": %d}' % number) for number in range(5)]
    messages.insert(at, Crashing("lights/l-2/status", b"{}"))
    deliveries = [Delivery(messages[:2], Source.MQTT, Sender(), 1), Delivery(messages[2:], Source.HTTP, Sender(), 1)]
    made = assemble(deliveries, Place("gw", "run", "default"), Duplicates(), SCHEMA_IDS, 2)
    assert [row for row, verdict in enumerate(made.verdicts) if verdict is Verdict.REJECTED] == [at]
    assert [made.verdicts[row] for row in range(6) if row != at] == [Verdict.DELIVERED] * 5
    (letter,) = [record.value for record in made.records if record.topic == DEAD_LETTERS.topic]
    told = read_record(Codec(DEAD_LETTERS.codec.text), letter)
    assert (told["reason"], told["detail"]) == ("crashed", "RecursionError: maximum recursion depth exceeded")
    assert (told["topic"], told["value"]) == ("lights/l-2/status", b"{}")


def test_a_device_whose_sequence_starts_anew_with_each_sleep_is_told_of_until_it_says_something_new():
    place, duplicates = Place("gw", "run", "default"), Duplicates()

    def send(body):
        made = assemble([Delivery([Post("sensors/st-1/temperature", body)], Source.HTTP, Sender(), 1)], place, duplicates, SCHEMA_IDS, 2)
        return made.verdicts[0]

    device = place.fleet.presence("default", "st-1", "environment_sensor")
    assert send(b'{"temperature":21.5,"seq":1}') is Verdict.DELIVERED
    for sent in range(1, MOST_REPEATS + 1):
        assert not device.repeats_only
        assert send(b'{"temperature":21.5,"seq":1}') is Verdict.DUPLICATE
        assert device.repeats == sent
    assert device.repeats_only
    assert send(b'{"temperature":21.5,"seq":2}') is Verdict.DELIVERED
    assert not device.repeats_only


def test_of_a_message_that_comes_again_only_what_is_a_dead_letter_counts_as_rejected():
    place, duplicates = Place("gw", "run", "default"), Duplicates()
    birth = PAYLOAD(seq=0, timestamp=1_790_000_000_000)
    birth.metrics.add(name=b"temperature", datatype=DataType.INT32, int_value=20, timestamp=1_790_000_000_000)
    birth.metrics.add(name=b"pressure", datatype=DataType.INT32, string_value=b"high")
    again = Post("spBv1.0/g/NBIRTH/n", birth.SerializeToString())
    for came_before in (False, True):
        made = assemble([Delivery([again], Source.MQTT, Sender(), 1)], place, duplicates, SCHEMA_IDS, 2)
        letters = [row for record, row in zip(made.records, made.rows, strict=True) if record.topic == DEAD_LETTERS.topic]
        assert [row for row, came in made.apart if came is Verdict.REJECTED] == letters == [0]
        assert (Verdict.DUPLICATE in [came for _, came in made.apart]) is came_before
