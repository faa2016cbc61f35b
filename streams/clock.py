"""The time by this machine's clock: for what people and workers do, never for what a reading means."""

import time


def now_ms() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)
