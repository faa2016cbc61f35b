"""How a simulated run stands, once a second in a file, for whoever started it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson

EVERY_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Status:
    """One moment of a run."""

    sent: int = 0
    unanswered: int = 0
    """Of those sent, not yet acknowledged."""
    sent_until_ms: int = 0
    """All that was due up to then is sent; 0 before the first. Behind the clock by what is missing to now."""

    @classmethod
    def read(cls, path: Path) -> "Status":
        """What the file says, or of a run that has not begun."""
        try:
            return cls(**orjson.loads(path.read_bytes()))
        except FileNotFoundError:
            return cls()

    def write(self, path: Path) -> None:
        """Replace the file at once, so that no half of it is read."""
        partial = path.with_name(f"{path.name}.partial")
        partial.write_bytes(orjson.dumps(asdict(self)))
        partial.replace(path)


@asynccontextmanager
async def told(path: Path | None, status: Callable[[], Status]) -> AsyncIterator[None]:
    """Inside, the file says every second how the run stands; without a path nothing does."""
    if path is None:
        yield
        return
    telling = asyncio.create_task(_tell(path, status))
    try:
        yield
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling
        status().write(path)


async def _tell(path: Path, status: Callable[[], Status]) -> None:
    while True:
        status().write(path)
        await asyncio.sleep(EVERY_SECONDS)
