import pytest

from agents.gateway.duplicates import Duplicates
from agents.gateway.envelopes import Delivery
from agents.gateway.message import Post, Sender, Source, Verdict
from agents.gateway.place import Place
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
