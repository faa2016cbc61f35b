"""The gateway's TLS: one certificate for all that listens, taken up anew when its file changes."""

import ssl
from pathlib import Path
from typing import Final

from mode import Service

from streams.assembly import App, NotReady
from streams.base.pem import defect
from streams.settings import settings

# A certificate is renewed days before it expires.
LOOK_SECONDS: Final = 10.0


class Certificates(Service):
    """Contexts with the certificate of the settings. A pair of files that do not fit together is logged, and the one before stays."""

    def __init__(self, app: App) -> None:
        """Run with `app`. Raises NotReady where the files cannot be used."""
        super().__init__()
        ours = settings()
        self._chain = (ours.gateway_certificate, ours.gateway_key or None)
        self._contexts: list[ssl.SSLContext] = []
        self._seen = self._written_at()
        self.renewed = 0
        """How often another one was taken up."""
        app.services.append(self)

    def context(self) -> ssl.SSLContext | None:
        """One for a listener of its own, which follows the files; None where there is no certificate. Raises NotReady."""
        if not self._chain[0]:
            return None
        try:
            context = self._load()
            if authorities := settings().gateway_client_ca:
                context.load_verify_locations(authorities)
                # a device may come with a password or a token instead
                context.verify_mode = ssl.CERT_OPTIONAL
        except OSError as error:  # of which SSLError is one
            raise NotReady(
                f"TLS of the gateway: {self._wrong(error)}. "
                "HEADRACE_GATEWAY_CERTIFICATE, _KEY and _CLIENT_CA name PEM files that it may read."
            ) from error
        self._contexts.append(context)
        return context

    @Service.timer(LOOK_SECONDS)
    async def _look(self) -> None:
        self.look()

    def look(self) -> None:
        """Take up files that were written since; connections there are keep what they began with."""
        written_at = self._written_at()
        if written_at == self._seen:
            return
        try:
            self._load()  # in vain, if key and certificate are not of one pair
            for context in self._contexts:
                context.load_cert_chain(*self._chain)
        except OSError as error:
            self.log.warning("certificate_refused: %s", self._wrong(error))
        else:
            self.renewed += 1
            self.log.info("certificate_renewed file=%s", self._chain[0])
        self._seen = written_at

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self._chain)
        return context

    def _wrong(self, error: OSError) -> str:
        """Which file is none, or what else is wrong with them."""
        found = (defect(file) for file in (*self._chain, settings().gateway_client_ca) if file)
        return next(filter(None, found), f"{', '.join(filter(None, self._chain))}: {error}")

    def _written_at(self) -> list[int]:
        files = [Path(name) for name in self._chain if name]
        return [file.stat().st_mtime_ns for file in files if file.exists()]
