"""Whether ClickHouse is there: as the inserts find it, and asked in between, as with nothing to store nobody else would see."""

from collections.abc import Sequence
from typing import Final

from mode import Service

from streams.assembly import App
from streams.clickhouse import ClickHouse
from streams.clickhouse_errors import CannotOpen, ClickHouseAway
from streams.sinking import Sinking
from streams.web import State
from streams.worker.threads import Threads

# As often as Kafka is asked.
ASK_SECONDS: Final = 5.0


class Reach(Service):
    """Asks ClickHouse all the time, and is the check `clickhouse` of `/ready`."""

    def __init__(self, app: App, clickhouse: ClickHouse, sinks: Sequence[Sinking]) -> None:
        """Run with `app`, which stores by `sinks`."""
        super().__init__()
        self._clickhouse, self._sinks = clickhouse, sinks
        self._thread = Threads("reach")
        self.problem: str | None = None
        """Why it did not answer when it was last asked; None if it did."""
        app.services.append(self)
        app.checks["clickhouse"] = self.check

    def check(self) -> State:
        """Whether ClickHouse answers, and takes what is to be stored."""
        waiting = [sink.contract.sink for sink in self._sinks if "clickhouse" in sink.away]
        detail = {"at": self._clickhouse.place, "problem": self.problem, "waiting": waiting}
        return State(self.problem is None and not waiting, detail)

    @Service.task
    async def _asks(self) -> None:
        while not self.should_stop:
            try:
                await self._thread.run(self._clickhouse.query, "SELECT 1")
            except (CannotOpen, ClickHouseAway) as problem:
                self.problem = str(problem)
            else:
                self.problem = None
            await self.sleep(ASK_SECONDS)
