"""The registry's schemas as a worker meets their ids: known, known to be missing, or waited for."""

import asyncio
import logging
from collections.abc import Mapping, Sequence, Set
from typing import Final

from tenacity import AsyncRetrying, before_sleep_log, retry_if_exception_type, wait_exponential_jitter

from schemas.codec import Codec
from schemas.registry import Registry, RegistryDown
from schemas.wire import Decoded, decode

logger = logging.getLogger(__name__)

# Garbage that happens to start like a record names random ids, and the registry has to be asked for each. A question costs it and us
# 2 ms of a core: 40 a second are a tenth of one at most, so that other partitions hardly notice.
CONCURRENCY: Final = 4
REST_SECONDS: Final = 0.1
# How long a missing id is remembered: a schema that is restored in the registry is seen after this.
MISSING_SECONDS: Final = 60


class Writers:
    """Writers' schemas by id; `missing` are those the registry lately said it has not."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._gate = asyncio.Semaphore(CONCURRENCY)
        self._missing: set[int] = set()
        self._asked: dict[int, asyncio.Future[None]] = {}
        """Questions that have no answer yet, by id: however many wait for one, it is asked for once."""

    @property
    def known(self) -> Mapping[int, Codec]:
        """Schemas by id."""
        return self._registry.known

    @property
    def missing(self) -> Set[int]:
        """Ids without a schema."""
        return self._missing

    async def decode(self, values: Sequence[bytes | None], reader: Codec) -> Decoded:
        """The values' rows and rejects; waits for as long as the registry owes an answer about a schema."""
        while (decoded := decode(values, reader, self.known, self.missing)).unknown:
            await self.fetch(decoded.unknown)
        return decoded

    async def fetch(self, ids: Set[int]) -> None:
        """Make each id known or missing; waits for as long as the registry is away."""
        for schema_id in ids:
            if schema_id not in self._asked:
                self._asked[schema_id] = asyncio.ensure_future(self._fetch(schema_id))
        # who waits no more is no reason to stop asking for others
        await asyncio.gather(*(asyncio.shield(self._asked[schema_id]) for schema_id in ids))
        # Counted from here: what is asked for first must not be forgotten before the last answer.
        asyncio.get_running_loop().call_later(MISSING_SECONDS, self._missing.difference_update, ids)

    async def _fetch(self, schema_id: int) -> None:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(RegistryDown),
            wait=wait_exponential_jitter(multiplier=0.2, max=5),
            before_sleep=before_sleep_log(logger, logging.WARNING),
        )
        try:
            if await retrying(self._ask, schema_id) is None:
                self._missing.add(schema_id)
        finally:
            del self._asked[schema_id]

    async def _ask(self, schema_id: int) -> Codec | None:
        """One question. Between two of them others have their turn: an id that gets no answer is no reason not to ask for the rest."""
        await self._gate.acquire()
        try:
            return await self._registry.writer(schema_id)
        finally:
            asyncio.get_running_loop().call_later(REST_SECONDS, self._gate.release)

    async def close(self) -> None:
        """Ask no more, and close the connections."""
        for question in self._asked.values():
            question.cancel()
        await self._registry.close()
