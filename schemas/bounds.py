"""How much of anything that others write is taken: one table, as every limit has to leave room for the others in a record of Kafka.

Kafka takes records of up to a megabyte (`message.max.bytes`). Lengths are bytes of UTF-8 unless they say otherwise.
"""

from typing import Final

RECORD_BYTES: Final = 990_000
"""Of a record with its key, as it is produced: librdkafka takes 1,000,000 with headers, Kafka 1,048,588 with a batch's framing."""
PAYLOAD_BYTES: Final = 800_000
"""Of a message, and of the record that a dead letter holds: the rest of a record is room for topic, headers, id and detail."""
DETAIL_LETTERS: Final = 500
"""Of what a dead letter says: it quotes what was found, and people read it in one line."""
ANSWER_LETTERS: Final = 200
"""Of what a device says to a command beside whether it worked."""
QUOTED_LETTERS: Final = 100
"""Of one foreign value in a sentence."""
KEY_BYTES: Final = 1_000
"""Of a key that a dead letter quotes."""
DEPTH: Final = 64
"""Levels of nesting: no device has more than ten, and Python and orjson give up at some hundreds."""
MEMBERS: Final = 10_000
"""Of a message's object: a Sparkplug birth has one for each of a machine's tags, some thousands."""
TOPIC_CHARACTERS: Final = 1_000
"""MQTT allows 65,535 bytes; nobody reads such a name, and addresses are remembered by it."""
DEVICE_ID_BYTES: Final = 200
"""It keys records and state; see ROWS_PER_SHARD in tables/checkpoint.py."""
MESSAGE_ID_BYTES: Final = 200
"""A UUID has 36. Longer ones are known by their digest."""
DISTRICT_BYTES: Final = 200
"""It is the key of `city.districts` and a field of each of its records, as a device's id is of readings."""
TEXT_BYTES: Final = 1_000
"""Of any other text that is copied into records of ours: a location, a word as a value."""
HEADER_BYTES: Final = 16_384
"""Of a message's headers and content type together."""
METADATA_MEMBERS: Final = 50
METADATA_BYTES: Final = 16_384
"""Of what is kept beside a reading or a device, names and values together: it is copied to whoever asks for a page of devices."""
REMEMBERED_BYTES: Final = 32 << 20
"""Of the names in each of a gateway's memories: topics' addresses, who was heard, what came before. Some times that in objects."""
