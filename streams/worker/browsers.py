"""Pages of other sites in a browser on this machine: they reach what listens on a loopback address, and nothing proves who they are."""

from typing import Final

from aiohttp import web
from yarl import URL

from schemas.quoting import quoted
from streams.worker.loopback import is_loopback

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OTHER_SITES: Final = frozenset({"cross-site", "same-site"})
"""Of Sec-Fetch-Site: what is not of the very origin, nor typed into the address bar."""


def refusal(request: web.Request, *, local: bool) -> str:
    """Why a request that proves nothing may be another site's doing; empty: it is not. `local`: only this machine reaches the server.

    Every browser says the origin of what it posts and of a WebSocket (Fetch, section 3.2; RFC 6455, section 4.1). A name that an attacker
    lets point to 127.0.0.1 makes any page one of the same origin (DNS rebinding), so a local server has local names alone.
    """
    host = request.headers.get("Host", "")
    if local and host and not is_loopback(_name(f"//{host}")):
        return f"this server is for this machine: ask for it as 127.0.0.1 or localhost, not {quoted(host)}, or prove by a token who you are"
    if request.method in _READS and "Upgrade" not in request.headers:
        return ""  # a browser shows no other site the answer
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        return f"a page of {quoted(origin)} may not ask this of {quoted(host)}: prove by a token who you are"
    if request.headers.get("Sec-Fetch-Site") in _OTHER_SITES:
        return "a page of another site may not ask this: prove by a token who you are"
    return ""


def _name(address: str) -> str:
    """The host of an address; empty where it is none."""
    try:
        return URL(address).host or ""
    except ValueError:
        return ""
