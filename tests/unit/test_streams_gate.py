import asyncio
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.gateway.message import Post, Sender, Source, Verdict
from agents.gateway.place import Place
from streams.gate import Gate

AVRO = "application/avro"
IDS = (1, 2)


class Writers:
    """Schemas that are told when a test says so."""

    def __init__(self):
        self.known, self.missing = {}, set()
        self.told = {schema_id: asyncio.Event() for schema_id in IDS}

    async def fetch(self, ids):
        await asyncio.gather(*(self.told[schema_id].wait() for schema_id in ids))

    def tell(self, schema_id):
        self.missing.add(schema_id)
        self.told[schema_id].set()


def gate():
    app = SimpleNamespace(writes=[], services=[], metrics=SimpleNamespace(sources=[]), writers=Writers())
    return Gate(app, Place("gw", "run", "default"), Path("nowhere"))


def post(device, number, schema_id=None):
    if schema_id is None:
        return Post(f"sensors/{device}/air", b"%d" % number)
    return Post(f"sensors/{device}/air", bytes([0, *schema_id.to_bytes(4), number]), content_type=AVRO)


def on_the_way(made, lane="default"):
    """What is to go to Kafka, in order: device and number."""
    found = []
    for asked in made._asked.get(lane, ()):
        for message in asked.delivery.messages:
            number = message.payload[-1] if message.content_type else int(message.payload)
            found.append((message.topic.split("/")[1], number))
    return found


async def turns():
    for _ in range(20):
        await asyncio.sleep(0)


async def test_only_the_device_whose_schema_is_not_known_waits_and_nothing_of_it_overtakes():
    made = gate()
    messages = [post("a", number, 1 if number == 10 else None) for number in range(15)]
    messages[5:5] = [post("b", 0), post("b", 1)]
    messages.append(post("b", 2))
    parts = made.take(Source.MQTT, Sender(), messages)
    made.take(Source.MQTT, Sender(), [post("a", 15), post("b", 3), post("a", 16)])
    await turns()
    assert [number for device, number in on_the_way(made) if device == "b"] == [0, 1, 2, 3]
    assert [number for device, number in on_the_way(made) if device == "a"] == [*range(10)]
    made.app.writers.tell(1)
    await turns()
    assert [number for device, number in on_the_way(made) if device == "a"] == [*range(17)]
    assert sorted(row for part in parts for row in part.rows) == [*range(18)]
    assert not made._waiting


async def test_each_message_has_its_own_verdict_whichever_part_it_was_settled_in():
    made = gate()
    accepted = asyncio.ensure_future(made.accept(Source.HTTP, Sender(), [post("a", 0, 1), post("b", 1), post("a", 2), post("c", 3)]))
    await turns()
    verdicts = {("a", 0): Verdict.REJECTED, ("b", 1): Verdict.DELIVERED, ("a", 2): Verdict.DUPLICATE, ("c", 3): Verdict.SPOOLED}

    def settle():
        taken = made._asked.pop("default", [])
        made._asked["default"] = taken
        return {asked.verdicts: on_the_way(SimpleNamespace(_asked={"default": [asked]})) for asked in taken}

    for future, messages in settle().items():
        future.set_result([verdicts[message] for message in messages])
    made.app.writers.tell(1)
    await turns()
    for future, messages in settle().items():
        if not future.done():
            future.set_result([verdicts[message] for message in messages])
    assert await accepted == [*verdicts.values()]


async def test_who_goes_away_while_it_waits_holds_up_nothing_behind_it():
    made = gate()
    gone = asyncio.ensure_future(made.accept(Source.HTTP, Sender(), [post("a", 0, 1)]))
    await turns()
    made.take(Source.HTTP, Sender(), [post("a", 1)])
    gone.cancel()
    await turns()
    assert on_the_way(made) == [("a", 1)]


STEPS = st.lists(
    st.one_of(
        st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([None, None, None, *IDS])), min_size=1, max_size=5),
        st.sampled_from(IDS),
        st.just("turn"),
    ),
    max_size=20,
)


@settings(max_examples=300)
@given(STEPS)
def test_a_device_s_messages_go_in_their_order_whenever_schemas_are_told_and_all_go_in_the_end(steps):
    async def run():
        made, sent, number = gate(), defaultdict(list), 0
        for step in steps:
            if step == "turn":
                await turns()
            elif isinstance(step, int):
                made.app.writers.tell(step)
            else:
                messages = []
                for device, schema_id in step:
                    messages.append(post(device, number, schema_id))
                    sent[device].append(number)
                    number += 1
                made.take(Source.MQTT, Sender(), messages)
            went = on_the_way(made)
            for device in "abc":
                of_device = [each for name, each in went if name == device]
                assert of_device == sent[device][: len(of_device)]
        for schema_id in IDS:
            made.app.writers.tell(schema_id)
        await turns()
        assert sorted(on_the_way(made)) == sorted((device, each) for device, those in sent.items() for each in those)
        assert not made._waiting

    asyncio.run(run())


@pytest.mark.parametrize("known", [True, False])
async def test_where_nobody_waits_what_came_together_goes_together(known):
    made = gate()
    if known:
        made.app.writers.tell(1)
    messages = [post("a", 0), post("b", 1), *([post("a", 2, 1)] if known else [])]
    (part,) = made.take(Source.MQTT, Sender(), messages)
    assert (len(part.rows), len(on_the_way(made))) == (len(messages), len(messages))
