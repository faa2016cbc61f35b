"""Faust's worker, quiet: a log of one line an event from the first, and a sentence where it cannot listen."""

import errno
import logging
import os
import socket
from typing import TYPE_CHECKING, Any, NoReturn, cast

from faust import Worker as FaustWorker
from faust.cli.worker import worker as command
from mode import Service
from mode.utils.logging import level_number

from streams.settings import settings
from streams.worker.log_lines import config

if TYPE_CHECKING:
    from streams.assembly import App

logger = logging.getLogger(__name__)


class Worker(FaustWorker):
    """What `faust worker` runs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # Faust's own signature
        super().__init__(*args, **kwargs)
        self.spinner = None

    def execute_from_commandline(self) -> NoReturn:
        """Run until stopped. Raises SystemExit, exit code 1, where its web endpoints cannot listen."""
        conf = self.app.conf
        if conf.web_enabled:
            require_port(conf.web_bind, conf.web_port)
        super().execute_from_commandline()

    async def on_first_start(self) -> None:
        """Faust's hook before anything else starts; from its end on signals are handled."""
        await super().on_first_start()
        explain_crashes(cast("App", self.app))
        conf, ours = self.app.conf, settings()
        logger.info(
            "worker_starting app=%s kafka=%s registry=%s web=http://%s:%d pid=%d",
            conf.id,
            ours.kafka,
            ours.registry,
            conf.web_bind,
            conf.web_port,
            os.getpid(),
        )

    def _setup_logging(self) -> None:
        level = level_number(self.loglevel) or logging.WARNING
        self.logging_config = config(settings().log_format, level, self.logfile if isinstance(self.logfile, str) else "", settings().log_mb)
        super()._setup_logging()


def explain_crashes(app: "App") -> None:
    """Have the process end in words, before a crash of any service is told, where the app's topics are not those they were."""
    crash = Service.crash

    async def explained(service: Service, reason: BaseException) -> None:
        if not app.should_stop:
            await app.same_topics.explain()
        await crash(service, reason)

    Service.crash = explained  # type: ignore[assignment,method-assign]  # mode has no seam for it


def require_port(host: str, port: int) -> None:
    """SystemExit, exit code 1, unless web endpoints can listen there; where they listen they are told by `--web-port`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be listened on ({error.strerror or error})"
            raise SystemExit(
                f"{host}:{port} {why}: give this worker another port for its web endpoints with --web-port, or HEADRACE_WEB_BIND."
            ) from None


# It has no seam for its banner, a table of ten lines.
command.on_worker_created = lambda *_: None  # type: ignore[method-assign]
