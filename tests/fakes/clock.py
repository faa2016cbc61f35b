"""An event loop for tests: its time passes only when nothing is left to do, its threads are turns of the loop, and it can be stepped."""

import asyncio
import selectors


class Clock(asyncio.SelectorEventLoop):
    """A loop that begins at 0 s. What waits for it: code that looks at `loop.time()`, `asyncio.sleep`, timeouts, executors."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Selector(self))

    def time(self):
        return self.now

    def turn(self, turns=1):
        """Let everything that is ready run, so many times; no time passes."""
        for _ in range(turns):
            self.call_soon(self.stop)
            self.run_forever()

    def pass_by(self, seconds):
        """Let so much time pass, with all that happens in it."""
        self.run_until_complete(asyncio.sleep(seconds))

    def run_in_executor(self, executor, func, *args):
        """The work is done in a later turn, as a thread's would be."""
        done = self.create_future()
        self.call_soon(lambda: self.call_soon(_finish, done, func, args))
        return done


def _finish(done, func, args):
    if done.cancelled():
        return
    try:
        done.set_result(func(*args))
    except Exception as error:
        done.set_exception(error)


class _Selector(selectors.SelectSelector):
    """Where a loop would wait for its next timer, the time is that timer's at once."""

    def __init__(self, clock) -> None:
        super().__init__()
        self.clock = clock

    def select(self, timeout=None):
        if timeout is None:
            raise RuntimeError("every task waits for something that nobody does")
        self.clock.now += max(timeout, 0)
        return super().select(0)
