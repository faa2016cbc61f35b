"""A worker's HTTP API, asked by a command: a document, or a sentence that says what is wrong and an exit status."""

from typing import Any, Final, Literal, NoReturn

import httpx
import typer

from deploy.output.listing import fail, plain
from streams.settings import settings

TIMEOUT_SECONDS: Final = 30


class _Document(dict[str, Any]):
    """What a worker of the kind `worker` answered; a field that it lacks ends the command in a sentence."""

    def __init__(self, worker: str, answer: httpx.Response, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self._worker, self._answer = worker, answer

    def __missing__(self, field: str) -> NoReturn:
        _unanswered(self._worker, self._answer)


def ask(worker: Literal["desk", "gateway"], method: str, path: str, **how: Any) -> dict[str, Any]:  # noqa: ANN401
    """The worker's answer; `how` as httpx takes it. Exit status 1: refused, and why. 2: no worker answers, or what it needs is away."""
    at = getattr(settings(), worker).rstrip("/")
    token = settings().web_token.get_secret_value()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = httpx.request(method, at + path, headers=headers, timeout=TIMEOUT_SECONDS, **how)
    except (httpx.HTTPError, httpx.InvalidURL) as absence:
        start = f"Start one (faust -A streams.{worker} worker), or set HEADRACE_{worker.upper()}."
        fail(plain(f"No {worker} worker answers at {at}: {absence}. {start}"))
        raise typer.Exit(2) from absence
    try:
        found = answer.json()
    except ValueError:
        found = None
    if isinstance(found, dict) and "error" in found:
        fail(plain(found["error"]))
        raise typer.Exit(2 if answer.is_server_error else 1)
    if not (isinstance(found, dict) and answer.is_success):
        _unanswered(worker, answer)
    return _Document(worker, answer, found)


def _unanswered(worker: str, answer: httpx.Response) -> NoReturn:
    """Say that there is nothing of a name, or that what answers is no such worker. Exit status 1."""
    found = (
        "There is nothing of that name" if answer.status_code == httpx.codes.NOT_FOUND else f"Status {answer.status_code}, and no answer,"
    )
    fail(plain(f"{found} at {answer.url}. If it is not a {worker} worker's, set HEADRACE_{worker.upper()} to where one is."))
    raise typer.Exit(1)
