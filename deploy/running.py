"""The workers on this machine: which run, whether they are ready, and how far they are behind."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from typing import Any, Final, NamedTuple

import httpx
import psutil

from streams.settings import Settings

PORTS: Final = {"factory": 6066, "warehouse": 6067, "gateway": 6068, "desk": 6069, "uplink": 6070, "city": 6071}
"""Where each worker's web endpoints are unless --web-port says otherwise."""
TIMEOUT_SECONDS: Final = 3
_EVERYWHERE: Final = {"", "0.0.0.0", "::"}  # what they may be bound to


class Running(NamedTuple):
    """A worker: its process if that is known, where it answers, and what it says."""

    name: str
    pid: int | None
    url: str
    state: str
    """`ready`; else what is not, or that it does not answer."""
    lag: int | None
    """Records it has not read yet; None where it reads none, or does not say."""

    @property
    def ready(self) -> bool:
        """Whether it does its work."""
        return self.state == "ready"


def running(ours: Settings) -> list[Running]:
    """Every worker of this Kafka found by its process, and those that answer at their usual ports, by name."""
    there = [(name, pid, url, kafka) for pid, words, kafka in _processes() for name, url in _worker(words, ours)]
    taken = {url for _, _, url, _ in there}
    found = [(name, pid, url) for name, pid, url, kafka in there if kafka in ("", ours.kafka)]
    usual = [(name, None, _url("", port, ours)) for name, port in PORTS.items()]
    asked = [*found, *(each for each in usual if each[2] not in taken)]
    if not asked:
        return []
    with ThreadPoolExecutor(len(asked)) as pool:
        told = list(pool.map(lambda each: _ask(each[0], each[1], each[2], ours), asked))
    return sorted((each for each in told if each is not None), key=lambda each: (each.name, each.url))


def _processes() -> Iterator[tuple[int, Sequence[str], str]]:
    """Id, command line and HEADRACE_KAFKA of every process: there may be workers of other lines on the machine."""
    usual = Settings.model_fields["kafka"].default
    for process in psutil.process_iter():
        words, kafka = list[str](), ""
        with suppress(psutil.Error):
            words = process.cmdline()
        if "worker" in words:
            with suppress(psutil.Error):  # another user's
                kafka = process.environ().get("HEADRACE_KAFKA", usual)
            yield process.pid, words, kafka


def _worker(words: Sequence[str], ours: Settings) -> Iterator[tuple[str, str]]:
    """Name and address of the worker that a command line is of, if it is of one: `faust -A streams.factory worker`."""
    said = dict(pairwise(words)) | dict(word.split("=", 1) for word in words if word.startswith("--") and "=" in word)
    package, _, name = (said.get("-A") or said.get("--app") or "").partition(".")
    if package == "streams" and name in PORTS and "worker" in words:
        yield name, _url(said.get("--web-bind", ""), int(said.get("--web-port", PORTS[name])), ours)


def _url(bind: str, port: int, ours: Settings) -> str:
    host = bind or ours.web_bind
    host = "127.0.0.1" if host in _EVERYWHERE else f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}"


def _ask(name: str, pid: int | None, url: str, ours: Settings) -> Running | None:
    """What a worker says of itself; None where there is none."""
    token = ours.web_token.get_secret_value()
    try:
        answer = httpx.get(f"{url}/ready", timeout=TIMEOUT_SECONDS, headers={"Authorization": f"Bearer {token}"} if token else {})
        checks: dict[str, dict[str, Any]] = answer.json()["checks"]
    except httpx.HTTPError:
        return Running(name, pid, url, "does not answer", None) if pid else None
    except (ValueError, KeyError, TypeError):
        return Running(name, pid, url, f"does not say: status {answer.status_code}", None) if pid else None
    ill = [check for check, state in checks.items() if not state["ok"]]
    detail = checks.get("lag", {}).get("detail")
    records = detail.get("records") if isinstance(detail, dict) else None
    lag = sum(filter(None, records.values())) if records else None
    return Running(name, pid, url, f"not ready: {', '.join(ill)}" if ill else "ready", lag)
