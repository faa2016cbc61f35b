"""Messages that the gate takes together: the records made of them, and what becomes of each message."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress, count

import polars as pl

from agents.gateway.duplicates import Duplicates
from agents.gateway.envelopes import Delivery, envelop
from agents.gateway.letters import letters, of_messages
from agents.gateway.message import Message, Verdict
from agents.gateway.place import Place
from agents.gateway.sparkplug.nodes import Birth, birth_row
from agents.guard import guarded
from schemas.catalog import DEAD_LETTERS, LIGHTS, SPARKPLUG_BIRTHS
from schemas.rejects import Reason, Reject
from schemas.wire import encode
from streams.access import named
from streams.consignment import Consignment
from streams.spool import Outgoing


@dataclass
class Round:
    """Columns of equal length: `verdicts` and `tenants` of the messages; `records`, `rows` and `marks` of what is made of those."""

    verdicts: list[Verdict]
    """DELIVERED until it is known to be something else."""
    tenants: list[str]
    records: list[Outgoing] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    """Which message each record is of."""
    marks: list[str | None] = field(default_factory=list)
    again: list[tuple[int, str | None]] = field(default_factory=list)
    """Messages that came before, and their marks."""
    apart: list[tuple[int, Verdict]] = field(default_factory=list)
    """What came of messages without a record of theirs: those that came before, the rejected, and what is not kept. A message that is
    several records may be in it several times, each time with another verdict."""
    misfits: int = 0
    """Messages of a lower quality of service than their mapping asks for."""
    consignment: Consignment | None = None
    sent_at: float = 0.0
    counted: set[int] | None = None
    """Messages of which something is in the ledger; None: each of them is one record at most, and nothing beside it."""

    def further(self, rows: Sequence[int]) -> Iterator[int]:
        """Positions of those rows of whose message something was counted before; from then on it was of all."""
        if self.counted is None:
            return
        for position, row in enumerate(rows):
            if row in self.counted:
                yield position
            self.counted.add(row)

    def keep(self, those: Sequence[bool]) -> None:
        """Leave the other records out."""
        self.records = [*compress(self.records, those)]
        self.rows = [*compress(self.rows, those)]
        self.marks = [*compress(self.marks, those)]

    def keep_births(self, births: Sequence[tuple[int, Birth]], node: str, schema_id: int, now_ms: int) -> None:
        """Make a record for each: what it is of is safe only with it."""
        columns = [birth_row(birth, node, now_ms) for _, birth in births]
        bodies = encode(SPARKPLUG_BIRTHS.codec, schema_id, pl.DataFrame(columns, schema=SPARKPLUG_BIRTHS.codec.columns))
        for (row, _), told, value in zip(births, columns, bodies, strict=True):
            self.records.append(Outgoing(named(SPARKPLUG_BIRTHS.topic), told["birth_key"].encode(), value, [], "", urgent=True))
            self.rows.append(row)
            self.marks.append(None)

    def reject(self, rejects: Sequence[Reject], messages: Sequence[Message], schema_ids: Mapping[str, int], now_ms: int) -> None:
        """Make a dead letter for each."""
        bodies = encode(DEAD_LETTERS.codec, schema_ids[DEAD_LETTERS.topic], of_messages(messages, rejects, now_ms))
        for reject, value in zip(rejects, bodies, strict=True):
            self.verdicts[reject.row] = Verdict.REJECTED
            self.apart.append((reject.row, Verdict.REJECTED))
            self.records.append(Outgoing(named(DEAD_LETTERS.topic), None, value, [], "", urgent=False))
            self.rows.append(reject.row)
            self.marks.append(None)


def assemble(deliveries: Sequence[Delivery], place: Place, duplicates: Duplicates, schema_ids: Mapping[str, int], now_ms: int) -> Round:
    """Make records of messages: of those that are new, in the order they came, and dead letters."""
    total = sum(len(delivery.messages) for delivery in deliveries)
    enveloped, found = guarded(total, lambda rows: envelop(_only(deliveries, rows), place, schema_ids[LIGHTS.topic], now_ms))
    if found.crashed:
        enveloped.moved(found.kept)
        enveloped.rejects += found.rejects
    tenants = [sender.tenant or place.tenant for messages, _, sender, _ in deliveries for _ in messages]
    made = Round([Verdict.DELIVERED] * len(tenants), tenants, misfits=enveloped.misfits)
    columns = zip(enveloped.rows, enveloped.addresses, enveloped.values, enveloped.headers, enveloped.marks, strict=True)
    for row, (_, tenant, topic, key, _, urgent, device, *_), value, headers, mark in columns:
        tenants[row] = tenant
        if duplicates.take(mark, now_ms):
            device.repeats = 0
            made.records.append(Outgoing(topic, key, value, headers, tenant, urgent))
            made.rows.append(row)
            made.marks.append(mark)
        else:
            device.repeats += 1
            made.verdicts[row] = Verdict.DUPLICATE
            made.again.append((row, mark))
            made.apart.append((row, Verdict.DUPLICATE))
    for row, tenant in enveloped.tenants.items():
        tenants[row] = tenant
    for row in enveloped.coalesced:
        made.verdicts[row] = Verdict.COALESCED
        made.apart.append((row, Verdict.COALESCED))
    if len({*enveloped.rows, *(reject.row for reject in enveloped.rejects)}) < len(enveloped.rows) + len(enveloped.rejects):
        made.counted = set()
    if enveloped.births:
        made.keep_births(enveloped.births, place.node, schema_ids[SPARKPLUG_BIRTHS.topic], now_ms)
    if enveloped.rejects:
        made.reject(enveloped.rejects, [message for messages, *_ in deliveries for message in messages], schema_ids, now_ms)
    return made


def _only(deliveries: Sequence[Delivery], rows: Sequence[int]) -> Sequence[Delivery]:
    """Deliveries with those of their messages alone that have these rows, counted through all."""
    if isinstance(rows, range) and rows.start == 0 and rows.stop == sum(len(delivery.messages) for delivery in deliveries):
        return deliveries
    wanted, row = set(rows), count()
    return [delivery._replace(messages=[message for message in delivery.messages if next(row) in wanted]) for delivery in deliveries]


def refusals(records: Sequence[Outgoing], details: Sequence[str], now_ms: int) -> pl.DataFrame:
    """A DeadLetter row for each record that Kafka will not take, with the record as it would have been."""
    topics, keys, values, *_ = zip(*records, strict=True)
    return letters([Reason.KAFKA_REFUSED] * len(records), details, topics, keys, values, now_ms)
