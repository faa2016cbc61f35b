"""`python -m deploy.embedded.supervisor`: owns the services in the background, restarts one that dies, stops all on SIGTERM.

Standard output is for `headrace up`, one JSON object a line: `{"step": …}`, at last `{"ready": true}` or `{"error": …}`.
"""

import json
import logging
import os
import signal
import sys
import time
from collections import defaultdict, deque
from typing import Final, NoReturn

from deploy.embedded.errors import StackError
from deploy.embedded.log_files import rotate
from deploy.embedded.service import Service
from deploy.embedded.stack import LocalStack
from streams.settings import settings

DEATHS: Final = 3  # of one service within this many seconds: restarting does not help
WITHIN_SECONDS: Final = 120.0

log = logging.getLogger("supervisor")


def main() -> None:
    """Start the stack, say so, then watch it until a signal or a hopeless service ends it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    try:
        with LocalStack(settings(), report=lambda step: _tell(step=step)) as stack:
            _tell(ready=True)
            # nobody reads the pipe any more
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
            log.info("ready")
            _watch(stack)
    except StackError as error:
        _hear_no_signals()
        log.error("%s", error)  # noqa: TRY400 - the message is for a person, a traceback is not
        _tell(error=str(error))
        sys.exit(1)


def _leave(number: int, _frame: object) -> NoReturn:
    log.info("stopping on signal %s", signal.Signals(number).name)
    _hear_no_signals()
    sys.exit(0)


def _hear_no_signals() -> None:
    """From now on, as it ends: another one must not interrupt the stopping."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)


def _tell(**message: object) -> None:
    print(json.dumps(message), flush=True)  # noqa: T201 - the pipe to `headrace up`


def _watch(stack: LocalStack) -> NoReturn:
    deaths: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=DEATHS))
    while True:
        time.sleep(0.5)
        rotate(stack.settings.data / "logs" / "supervisor.log")
        for service in stack.services:
            if not service.running:
                _revive(service, deaths[service.name])


def _revive(service: Service, deaths: deque[float]) -> None:
    deaths.append(time.monotonic())
    log.warning("%s", service.ended())
    if len(deaths) == DEATHS and deaths[-1] - deaths[0] < WITHIN_SECONDS:
        raise StackError(f"{service.name} died {DEATHS} times within {WITHIN_SECONDS:.0f} s: the stack stops.")
    service.start()
    log.info("%s restarted", service.name)


if __name__ == "__main__":
    main()
