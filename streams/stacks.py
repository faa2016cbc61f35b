"""What every thread and every task of a process is doing, written down when it hangs."""

import asyncio
import faulthandler
import gc
import signal
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, Final, TextIO

# What stands between an `__await__` or an `async for` and the code it runs, without an attribute that leads there.
WRAPPERS: Final = {"coroutine_wrapper", "async_generator_asend", "async_generator_athrow"}


# The descriptor, as Faust redirects `sys.stderr` to the log.
STDERR: Final = 2


def end_after(seconds: float) -> None:
    """Have the kernel end the process by SIGPROF, all stacks on standard error, once it has used the processor for so long from now on.

    Each call begins anew, and 0 ends it. It is for code that keeps the interpreter lock, so that no thread can look any more. Time of the
    processor, as a process that is suspended uses none: a timer that runs out meanwhile would end it when it wakes.
    """
    faulthandler.register(signal.SIGPROF, file=STDERR, chain=True)
    signal.setitimer(signal.ITIMER_PROF, seconds)


def dump(loop: asyncio.AbstractEventLoop, file: TextIO) -> None:
    """Write the stacks of all threads, innermost call first, and of all tasks of the loop, outermost first; from any thread."""
    faulthandler.dump_traceback(file)
    for task in asyncio.all_tasks(loop):
        print(f"\nTask {task.get_name()}", file=file)
        for code, line in calls(task):
            print(f'  File "{code.co_filename}", line {line}, in {code.co_qualname}', file=file)


def calls(task: "asyncio.Task[object]") -> Iterator[tuple[CodeType, int | None]]:
    """Code and line of each call of a task, down to where it waits.

    `Task.print_stack` shows the first call of a waiting task only, and raises on Cython's, whose lines are None.
    """
    awaited: object = task.get_coro()
    while awaited is not None:
        frame: FrameType | None = _first(awaited, "cr_frame", "ag_frame", "gi_frame")
        if frame is not None:
            yield frame.f_code, frame.f_lineno
        inside = _first(awaited, "cr_await", "ag_await", "gi_yieldfrom")
        if inside is None and type(awaited).__name__ in WRAPPERS:
            inside = next(iter(gc.get_referents(awaited)), None)
        awaited = inside


def _first(awaited: object, *names: str) -> Any:  # noqa: ANN401  # the attributes of three kinds of awaitable
    return next((found for name in names if (found := getattr(awaited, name, None)) is not None), None)
