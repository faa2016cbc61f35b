"""What a gateway writes about what it cannot pass on: DeadLetter columns, which have no partition or offset, as it came from no log."""

from collections.abc import Sequence

import polars as pl

from agents.gateway.message import Message
from schemas.bounds import DETAIL_LETTERS, KEY_BYTES, PAYLOAD_BYTES, RECORD_BYTES, TOPIC_CHARACTERS
from schemas.catalog import DEAD_LETTERS
from schemas.quoting import brief
from schemas.rejects import Reason, Reject


def of_messages(messages: Sequence[Message], rejects: Sequence[Reject], at_ms: int) -> pl.DataFrame:
    """A row for each reject: the topic its device published to, when it came, and the payload."""
    sources = [messages[reject.row] for reject in rejects]
    reasons, details = [reject.reason for reject in rejects], [reject.detail for reject in rejects]
    topics, payloads = [source.topic for source in sources], [source.payload for source in sources]
    return letters(reasons, details, topics, [None] * len(sources), payloads, at_ms)


def letters(
    reasons: Sequence[Reason],
    details: Sequence[str],
    topics: Sequence[str],
    keys: Sequence[bytes | None],
    values: Sequence[bytes],
    at_ms: int,
) -> pl.DataFrame:
    """A row for each; of what is too large, its beginning."""
    return pl.DataFrame(
        {
            "reason": [str(reason) for reason in reasons],
            "detail": [brief(detail, DETAIL_LETTERS) for detail in details],
            "topic": [brief(topic, TOPIC_CHARACTERS) for topic in topics],
            "partition": -1,
            "offset": -1,
            "timestamp": at_ms,
            "key": [key and key[:KEY_BYTES] for key in keys],
            "value": [value[:PAYLOAD_BYTES] for value in values],
        },
        schema_overrides=dict(DEAD_LETTERS.codec.columns or {}),
    )


def too_large(keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> list[int]:
    """Positions of the records that Kafka does not take."""
    # nearly always none, and told without looking at each with its key
    if max(map(len, filter(None, values)), default=0) + max(map(len, filter(None, keys)), default=0) <= RECORD_BYTES:
        return []
    pairs = enumerate(zip(keys, values, strict=True))
    return [at for at, (key, value) in pairs if len(key or b"") + len(value or b"") > RECORD_BYTES]
