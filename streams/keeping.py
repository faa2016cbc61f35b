"""What the gate takes in is brought to Kafka, and lies on this gateway's disk while Kafka is away.

round ─┬▶ Kafka ──────── confirmed ─▶ DELIVERED
       ├▶ overdue: a copy to the spool ─▶ SPOOLED, and out of it when Kafka confirms
       └▶ Kafka or the topic is away, or something of the tenant lies in the spool: the spool ─▶ SPOOLED ─▶ drained in order ─▶ Kafka
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaError
from mode import Service

from agents.gateway.message import Verdict
from schemas.catalog import CONTRACTS, DEAD_LETTERS
from streams.access import named
from streams.assembly import App, NotReady
from streams.clock import now_ms
from streams.consignment import Consignment
from streams.producer import DeliveryFailed, Producer
from streams.rounds import Round, refusals
from streams.settings import settings
from streams.spool import Outgoing, Spool, SpoolBusy
from streams.topics import MISSING, REFUSALS, create_missing

# Kafka answers within some milliseconds, and within a second where its disk or its garbage is in the way; CoAP devices ask again after two.
PATIENCE_SECONDS: Final = 2.0
DRAIN_RECORDS: Final = 2_000
# While others' messages go straight to Kafka: 2,000 at once made their 99th percentile three times as long (bench/tenancy.py).
BESIDE_RECORDS: Final = 200
BESIDE_PAUSE_SECONDS: Final = 0.01
BESIDE_SECONDS: Final = 1.0
"""How long after such a message."""
FULL_SECONDS: Final = 4.0
"""How long nothing is taken of a tenant whose share of the disk is full."""
MAKING_SECONDS: Final = 1.0
"""How long a round waits for a new topic: Kafka makes one within some hundredths of a second."""
REFUSED_SECONDS: Final = 60.0
"""How long messages for a topic that Kafka would not make are dead letters, before it is asked anew."""


class Keeping(Service):
    """Knows what of each tenant's messages is where: the ledger.

    accepted = delivered + spooled + rejected + duplicate + coalesced, at every instant; what is `full` is not accepted. A message of
    several records is counted once for each, all but once as `further`, too: accepted - further are the messages.
    """

    def __init__(self, app: App, spool: Path, forget: Callable[[str | None], None]) -> None:
        """Run with `app`; `spool`: the file. `forget` is told the mark of each message that was not taken."""
        super().__init__()
        self.app = app
        self.spool = Spool(spool, settings().spool_mb << 20)
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """The ledger since the start, by tenant, but for `spooled`, which the spool knows."""
        self._forget = forget
        self._backlogged = asyncio.Event()
        self._overdue: set[asyncio.Future[None]] = set()
        self._unconfirmed = 0
        """Rounds that were sent, and neither lie with Kafka nor in the spool yet."""
        self._catalogued = frozenset(map(named, CONTRACTS))
        self._topics = {*self._catalogued}
        self._unmade: set[str] = set()
        """Topics that are not there yet."""
        self._refused: dict[str, KafkaError] = {}
        """Topics that Kafka would not make, and why."""
        self._ask_again_at = 0.0
        self._full_until: dict[str, float] = {}
        self._straight_at = float("-inf")
        """When something went to Kafka that had not lain in the spool."""
        self._drains_since = float("inf")
        """Since when Kafka owes an answer to what came out of the spool."""
        app.services.append(self)

    def drains(self, tenant: str) -> bool:
        """Whether what lies in the spool of a tenant is on its way to Kafka: what comes had better wait than make it longer."""
        answers = not self._overdue and time.monotonic() - self._drains_since < PATIENCE_SECONDS
        return answers and self.spool.ready(tenant, self._unmade) > 0

    @property
    def is_full(self) -> bool:
        """Whether a tenant was lately told to send later."""
        return any(until > time.monotonic() for until in self._full_until.values())

    async def on_start(self) -> None:
        """Open the spool, and take over what the last process left in it."""
        self._producer = Producer(settings().kafka, compression="lz4", batch_bytes=131_072)
        try:
            await self.spool.open()
        except SpoolBusy as busy:
            raise NotReady(str(busy)) from busy
        for tenant, rows in self.spool.rows.items():
            self.counts[tenant]["accepted"] += rows
        if self.spool.backlog:
            self.log.info("spool_left records=%d", self.spool.backlog)
            self._backlogged.set()

    async def on_shutdown(self) -> None:
        """Close. What Kafka has yet to confirm stays in the spool."""
        await self._producer.close()
        await self.spool.close()

    @Service.task
    async def _drain(self) -> None:
        """Give Kafka what lies in the spool, in order, when it has what was sent before."""
        while not self.should_stop:
            await self._backlogged.wait()
            self._backlogged.clear()
            while self._ready() and not self.should_stop:
                await asyncio.gather(*self._overdue)
                beside = time.monotonic() < self._straight_at + BESIDE_SECONDS
                ids, records = await self.spool.first(BESIDE_RECORDS if beside else DRAIN_RECORDS, frozenset(self._unmade))
                if not records:  # the disk cannot be read
                    self._drains_since = 0.0
                    await self.sleep(PATIENCE_SECONDS)
                    continue
                await self._know_topics(records)
                if any(record.topic in self._unmade for record in records):
                    continue
                self._drains_since = time.monotonic()
                consignment = await self._send(records)
                await consignment.settled()
                self._drains_since = float("inf")
                await self._delivered(records, consignment)
                await self.spool.remove(ids, records)
                if beside:
                    await self.sleep(BESIDE_PAUSE_SECONDS)

    async def forward(self, round_: Round) -> None:
        """Send a round's records or, where Kafka is away, spool them; spool those of tenants whose earlier ones lie there."""
        self._hold_back(round_)
        await self._know_topics(round_.records)
        if self._overdue:
            while self._unconfirmed:  # what was sent before has to lie before it in the spool, too
                await self.sleep(0.005)
            await self._keep(round_)
            self._backlogged.set()
            return
        if (self.spool.backlog or self._unmade) and any(behind := [self._is_behind(record) for record in round_.records]):
            part = replace(round_)
            part.keep(behind)
            await self._keep(part)
            self._backlogged.set()
            round_.keep([not is_behind for is_behind in behind])
        if round_.records:
            round_.sent_at = self._straight_at = time.monotonic()
            round_.consignment = await self._send(round_.records)
            self._unconfirmed += 1

    def _is_behind(self, record: Outgoing) -> bool:
        """Whether earlier records of the tenant are to go before it, or its topic is not there."""
        return record.topic in self._unmade or self.spool.ready(record.tenant, self._unmade) > 0

    def _hold_back(self, round_: Round) -> None:
        """What comes of a tenant that was just told to send again would overtake that: it is told the same."""
        now = time.monotonic()
        self._full_until = {tenant: until for tenant, until in self._full_until.items() if until > now}
        if self._full_until:
            full = [record.tenant in self._full_until for record in round_.records]
            self._refuse(round_, full)
            round_.keep([not is_full for is_full in full])

    async def confirm(self, round_: Round) -> None:
        """Wait for Kafka to have a round, but no longer than a device should."""
        consignment = round_.consignment
        if consignment is None:
            return
        patience = 0.0 if self._overdue else max(0.0, round_.sent_at + PATIENCE_SECONDS - time.monotonic())
        try:
            async with asyncio.timeout(patience):
                await consignment.settled()
        except TimeoutError:
            await self._keep(round_, consignment)
        else:
            for tenant, count in Counter(record.tenant for record in round_.records).items():
                self.counts[tenant]["accepted"] += count
            self._count_further(round_, round_.records, round_.rows)
            await self._delivered(round_.records, consignment)
            for record, row in zip(round_.records, round_.rows, strict=True) if consignment.refused else ():
                if record.value in consignment.refused:
                    round_.verdicts[row] = Verdict.REJECTED
        self._unconfirmed -= 1

    def _count_further(self, round_: Round, records: Sequence[Outgoing], rows: Sequence[int]) -> None:
        """Note how many accepted records are not the first of their message, so that messages can be told from records."""
        whose = [(record.tenant, row) for record, row in zip(records, rows, strict=True) if record.tenant]
        for position in round_.further([row for _, row in whose]):
            self.counts[whose[position][0]]["further"] += 1

    async def _keep(self, round_: Round, consignment: Consignment | None = None) -> None:
        """Spool a round's records, as many as there is room for; what is sent in `consignment` leaves the spool when Kafka has it."""
        fits = self.spool.room(round_.records)
        until = time.monotonic() + FULL_SECONDS
        self._full_until |= {record.tenant: until for record, fit in zip(round_.records, fits, strict=True) if not fit}
        kept = [record for record, fit in zip(round_.records, fits, strict=True) if fit]
        ids = await self.spool.put(kept, sent=consignment is not None)
        if ids is None:
            self.log.error("spool_refused records=%d hint='the disk takes nothing: is it full?'", len(kept))
            self._full_until |= dict.fromkeys((record.tenant for record in kept), until)
            fits, kept, ids = [False] * len(fits), [], range(0)
        for record, row, fit in zip(round_.records, round_.rows, fits, strict=True):
            if not fit:
                continue
            self.counts[record.tenant]["accepted"] += 1
            if round_.verdicts[row] is Verdict.DELIVERED:
                round_.verdicts[row] = Verdict.SPOOLED
        self._count_further(round_, kept, [*compress(round_.rows, fits)])
        self._refuse(round_, [not fit for fit in fits])
        if consignment is not None:
            leaving = self.add_future(self._leave(ids, kept, consignment))
            self._overdue.add(leaving)
            leaving.add_done_callback(self._overdue.discard)

    def _refuse(self, round_: Round, full: Sequence[bool]) -> None:
        """Have senders send records again, one for each of the round's."""
        for record, row, mark, is_full in zip(round_.records, round_.rows, round_.marks, full, strict=True):
            if is_full:
                self.counts[record.tenant]["full"] += 1
                round_.verdicts[row] = Verdict.FULL
                self._forget(mark)

    async def _leave(self, ids: Sequence[int], records: Sequence[Outgoing], consignment: Consignment) -> None:
        await consignment.settled()
        await self._delivered(records, consignment)
        await self.spool.remove(ids, records)

    async def _send(self, records: Sequence[Outgoing]) -> Consignment:
        """Queue records for Kafka; those for topics that it would not make are refused at once."""
        fit = [record for record in records if record.topic not in self._refused] if self._refused else records
        topics, keys, values, headers, *_ = zip(*fit, strict=True) if fit else ((), (), (), ())
        consignment = await self._producer.consign(topics, keys, values, headers)
        if len(fit) < len(records):
            consignment.refused |= {record.value: self._refused[record.topic] for record in records if record.topic in self._refused}
        return consignment

    async def _delivered(self, records: Sequence[Outgoing], consignment: Consignment) -> None:
        """Count what Kafka has; what it refuses for good is a dead letter. Raises DeliveryFailed where the producer can go on no more.

        A topic of the catalogue that is gone is the worker's end, and no record's fault.
        """
        for tenant, count in Counter(record.tenant for record in records).items():
            self.counts[tenant]["delivered"] += count
        if not consignment.refused:
            return
        refused = [(record, consignment.refused[record.value]) for record in records if record.value in consignment.refused]
        for record, error in refused:
            if error.name() in MISSING and record.topic in self._catalogued:
                self.app.same_topics.gone(record.topic)
            if error.name() not in REFUSALS:
                raise DeliveryFailed(record.topic, len(refused), error)
            self.log.error("kafka_refused topic=%s error=%s", record.topic, error.str())
            self._topics.discard(record.topic)
            self.counts[record.tenant]["delivered"] -= 1
            self.counts[record.tenant]["rejected"] += 1
        letters = refusals([record for record, _ in refused], [error.str() for _, error in refused], now_ms())
        await self.app.send_frame(DEAD_LETTERS, letters, letters["key"].to_list())
        await self.app.bulk.flush()

    async def _know_topics(self, records: Sequence[Outgoing]) -> None:
        """Make topics that are not known to be there. One that cannot be made now is `_unmade`: its records wait, and no others do."""
        if self._refused and time.monotonic() > self._ask_again_at:
            self._refused.clear()
        if new := {record.topic for record in records} - self._topics - self._refused.keys() - self._unmade:
            self._unmade |= new
            await asyncio.wait({asyncio.ensure_future(self._make(new))}, timeout=MAKING_SECONDS)

    @Service.timer(PATIENCE_SECONDS)
    async def _make_again(self) -> None:
        if self._unmade:
            await self._make({*self._unmade})

    async def _make(self, topics: set[str]) -> None:
        there, refused = await asyncio.to_thread(create_missing, settings().kafka, topics)
        self._topics |= there
        if refused:
            self._refused |= refused
            self._ask_again_at = time.monotonic() + REFUSED_SECONDS
        self._unmade -= there | refused.keys()
        self._backlogged.set()

    def _ready(self) -> bool:
        """Whether something in the spool can go to Kafka."""
        return any(self.spool.ready(tenant, self._unmade) > 0 for tenant in self.spool.waiting)
