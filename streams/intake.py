"""A contract's topic, taken in batch by batch: decoded, counted, and what cannot be read dead-lettered."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any

from faust.types import TP, EventT
from mode import Service

from agents.letters import dead_letters
from schemas.catalog import DEAD_LETTERS, Contract
from schemas.rejects import Reject
from schemas.wire import Decoded, decode
from streams.assembly import App
from streams.batches import Batch


class Intake(Service):
    """What becomes of a topic's records, whoever takes them."""

    def __init__(self, app: App, contract: Contract) -> None:
        """Run with `app`."""
        super().__init__()
        self.app = app
        self.contract = contract
        self.counts: Counter[str] = Counter()
        """The ledger since the start: `received` = what became of them + every `rejected/<reason>` + what is in hand or was revoked."""
        self.away: set[str] = set()
        """What it waits for."""
        app.reads.append(contract)
        app.services.append(self)
        app.waits.append(self._waits)

    async def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Rows and rejects of the next records; waits for as long as the registry owes an answer about a schema."""
        writers = self.app.writers
        decoded = decode(values, self.contract.codec, writers.known, writers.missing)
        while decoded.unknown:
            self.away.add("schemas")
            await writers.fetch(decoded.unknown)
            decoded = decode(values, self.contract.codec, writers.known, writers.missing)
        self.away.discard("schemas")
        return decoded

    async def dead_letter(self, batch: Batch, rejects: Sequence[Reject]) -> None:
        """Tell of what cannot be used; delivered before the commit, as the transport flushes first."""
        if rejects:
            letters = dead_letters(batch, rejects)
            await self.app.send_frame(DEAD_LETTERS, letters, letters["key"].to_list())
            self.count(rejects)

    def count(self, rejects: Sequence[Reject]) -> None:
        """Note rejects in the ledger."""
        self.counts.update(f"rejected/{reject.reason}" for reject in rejects)

    def _waits(self) -> dict[TP, str]:
        return {tp: ", ".join(sorted(self.away)) for tp in self.app.consumer.assignment()} if self.away else {}


class Batchwise(Intake):
    """A topic of which each batch is taken by itself: what is done with it is `take`'s, and whoever takes it acknowledges it."""

    def __init__(self, app: App, contract: Contract, name: str, gathered_ms: int | None = None) -> None:
        """Run with `app`, as its agent `name`; records are gathered for as long as the contract says, or for `gathered_ms`."""
        super().__init__(app, contract)
        app.agent(app.batch_topic(contract, gathered_ms=gathered_ms), name=name)(self._consume)

    @abstractmethod
    async def take(self, event: EventT[Any]) -> None:
        """Work on a batch; the topic is read no further meanwhile."""

    async def _consume(self, stream: Any) -> None:  # noqa: ANN401  # Faust's streams are not typed for raw channels
        async for event in stream.noack().events():
            self.counts["received"] += len(event.value)
            await self.take(event)
