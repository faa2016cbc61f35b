"""The schema registry (Confluent's REST API), and the disk cache that outlives its absences."""

import json
import logging
import os
import ssl
import tempfile
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import httpx

from schemas.catalog import Contract
from schemas.codec import GREATEST_SCHEMA_ID, Codec
from schemas.folders import private

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 5.0
COMPATIBILITY: Final = "BACKWARD"
"""A new schema must read what the last one wrote. Apicurio starts with NONE, and then calls everything compatible."""

# error codes of the API, under HTTP 404
NO_SUBJECT: Final = 40401
NO_VERSION: Final = 40402
NO_SCHEMA: Final = 40403

_ASK_AGAIN: Final = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
"""Client errors that are about who asks, or how often, and say nothing of what was asked for."""


class RegistryDown(Exception):
    """The registry did not answer, or not as a registry does: ask again later, and reject nothing for it."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(f"schema registry {url}: {problem}")


class SchemaRefused(Exception):
    """The registry would not take a schema: `reasons`, in its words."""

    def __init__(self, subject: str, reasons: list[str]) -> None:
        super().__init__(f"{subject}: {'; '.join(reasons)}")
        self.subject = subject
        self.reasons = reasons


class Version(NamedTuple):
    """One schema of a subject; versions count from 1."""

    number: int
    schema_id: int
    codec: Codec


class Registry:
    """Schemas by id, from memory, disk or the registry at `url`, in this order: what an id means never changes.

    Every schema seen is kept under `cache`, in a folder of the url's own, and read back by the next process.
    """

    def __init__(self, url: str, cache: Path) -> None:
        self.url = url.rstrip("/")
        self._place = str(httpx.URL(self.url).copy_with(userinfo=b""))  # without a password: it is printed, and names a folder
        self._folder = cache / quote(self._place, safe="")
        private(self._folder)
        read = {int(file.stem): Codec(file.read_text(encoding="utf-8")) for file in self._folder.glob("*.avsc")}
        self.known: dict[int, Codec] = {schema_id: codec for schema_id, codec in read.items() if not codec.defect}
        """Writers' schemas by id; grows as ids are met."""
        # authorities' certificates are read once, and for https alone: that takes 40 ms of the processor, longer than to ask
        trust = httpx.create_ssl_context() if self.url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # a connection for each question: there are few, and one that was kept may have died with the registry
        self._synchronous = httpx.Client(timeout=TIMEOUT_SECONDS, verify=trust, limits=httpx.Limits(max_keepalive_connections=0))
        self._asynchronous = httpx.AsyncClient(timeout=TIMEOUT_SECONDS, verify=trust)

    def register(self, contract: Contract, version: Codec | None = None) -> int:
        """Register the contract's schema under its subject, held BACKWARD, and give its id; doing so again changes nothing.

        `version` stands for another version of the schema, such as a writer's. While the registry is down, the id it once gave this
        very schema. Raises SchemaRefused, and RegistryDown where there is none.
        """
        codec = version or contract.codec
        try:
            self._hold_backward(contract.subject)
            answer = self._ask("POST", f"/subjects/{contract.subject}/versions", {"schema": _sent(codec)})
        except RegistryDown:
            given = [schema_id for schema_id, known in self.known.items() if known.text == codec.text]
            if not given:
                raise
            return given[0]
        if answer.status_code in {HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}:
            raise SchemaRefused(contract.subject, _reasons(answer.json()))
        schema_id: int = self._body(answer, "id")["id"]
        self._remember(schema_id, codec)
        return schema_id

    def verify(self) -> list[int]:
        """Forget the cached schemas that the registry does not have under their ids any more, and give these, ascending.

        A registry that was emptied gives ids anew: records would be read by another schema than they were written with. Where it does not
        answer, nothing is forgotten, and RegistryDown is raised.
        """
        lost = [schema_id for schema_id in sorted(self.known) if not self._has(schema_id, self.known[schema_id])]
        for schema_id in lost:
            del self.known[schema_id]
            with suppress(OSError):
                (self._folder / f"{schema_id}.avsc").unlink(missing_ok=True)
        if lost:
            logger.warning("schemas_forgotten ids=%s: %s has other schemas under these ids, or none: was it emptied?", lost, self._place)
        return lost

    def _has(self, schema_id: int, codec: Codec) -> bool:
        answer = self._ask("GET", f"/schemas/ids/{schema_id}")
        return _error(answer) != NO_SCHEMA and _same(self._body(answer, "schema")["schema"], codec.text)

    def check(self, contract: Contract) -> list[str]:
        """Why the registry would refuse the contract's schema, in its words; nothing for a schema it would take. Raises RegistryDown."""
        self._hold_backward(contract.subject)
        path = f"/compatibility/subjects/{contract.subject}/versions/latest?verbose=true"
        answer = self._ask("POST", path, {"schema": _sent(contract.codec)})
        if answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
            return _reasons(answer.json())
        if _error(answer) in {NO_SUBJECT, NO_VERSION}:
            return []
        verdict = self._body(answer, "is_compatible")
        return [] if verdict["is_compatible"] else _reasons(verdict)

    def versions(self, contract: Contract) -> list[Version]:
        """The versions of the contract's schema, oldest first; none if it was never registered. Raises RegistryDown."""
        path = f"/subjects/{contract.subject}/versions"
        answer = self._ask("GET", path)
        if _error(answer) == NO_SUBJECT:
            return []
        if not answer.is_success:
            raise RegistryDown(self._place, f"status {answer.status_code}: {answer.text[:200]}")
        found = [self._body(self._ask("GET", f"{path}/{number}"), "schema") for number in sorted(answer.json())]
        return [Version(body["version"], body["id"], Codec(body["schema"])) for body in found]

    async def writer(self, schema_id: int) -> Codec | None:
        """The schema of an id; None if the registry says it has none. Raises RegistryDown: wait, and ask again."""
        if schema_id in self.known:
            return self.known[schema_id]
        if not 0 < schema_id <= GREATEST_SCHEMA_ID:
            return None
        try:
            answer = await self._asynchronous.get(f"{self.url}/schemas/ids/{schema_id}")
        except httpx.HTTPError as problem:
            raise RegistryDown(self._place, f"does not answer: {problem or type(problem).__name__}") from problem
        return self._told(schema_id, answer)

    def writer_now(self, schema_id: int) -> Codec | None:
        """As `writer`, for who has no event loop."""
        if schema_id in self.known:
            return self.known[schema_id]
        if not 0 < schema_id <= GREATEST_SCHEMA_ID:
            return None
        return self._told(schema_id, self._ask("GET", f"/schemas/ids/{schema_id}"))

    async def close(self) -> None:
        """Close the connections `writer` keeps."""
        await self._asynchronous.aclose()

    def _told(self, schema_id: int, answer: httpx.Response) -> Codec | None:
        """The schema in an answer; None for whatever else a registry says of an id: who sent it is not to make others wait for ever."""
        if answer.is_client_error and answer.status_code not in _ASK_AGAIN:
            return None
        codec = Codec(self._body(answer, "schema")["schema"])
        self._remember(schema_id, codec)
        return codec

    def _hold_backward(self, subject: str) -> None:
        """Set the subject's compatibility unless somebody chose one."""
        answer = self._ask("GET", f"/config/{subject}")
        if _error(answer) == NO_SUBJECT or self._body(answer, "compatibilityLevel")["compatibilityLevel"] == "NONE":
            self._body(self._ask("PUT", f"/config/{subject}", {"compatibility": COMPATIBILITY}), "compatibility")

    def _remember(self, schema_id: int, codec: Codec) -> None:
        """Keep a schema; where the disk does not take it, a full one for instance, until this process ends."""
        self.known[schema_id] = codec
        try:
            with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=self._folder, delete=False) as file:
                file.write(codec.text)
            os.replace(file.name, self._folder / f"{schema_id}.avsc")
        except OSError as problem:
            logger.warning("schema_not_cached id=%d: %s", schema_id, problem)

    def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> httpx.Response:
        try:
            return self._synchronous.request(method, f"{self.url}{path}", json=body)
        except httpx.HTTPError as problem:
            raise RegistryDown(self._place, f"does not answer: {problem or type(problem).__name__}") from problem

    def _body(self, answer: httpx.Response, member: str) -> dict[str, Any]:
        """The answer's JSON object, if it is a good one with that member."""
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not answer.is_success or not isinstance(body, dict) or member not in body:
            raise RegistryDown(self._place, f"status {answer.status_code}: {answer.text[:200]}")
        return body


def _error(answer: httpx.Response) -> int | None:
    """The API's error code of a 404; None where the answer is another, or not the API's."""
    if answer.status_code != HTTPStatus.NOT_FOUND:
        return None
    try:
        body = answer.json()
    except ValueError:
        return None
    return body.get("error_code") if isinstance(body, dict) else None


def _sent(codec: Codec) -> str:
    """The schema's text, its strings "{}" in other letters of JSON: Apicurio 3 takes one for an object, which is no string's default."""
    return codec.text.replace('"{}"', r'"\u007b\u007d"')


def _same(text: str, other: str) -> bool:
    """Whether two schemas say the same; registries may leave out blanks."""
    try:
        return text == other or json.loads(text) == json.loads(other)
    except ValueError:
        return False


def _reasons(verdict: dict[str, Any]) -> list[str]:
    """The reasons of a refusal: Confluent lists `messages`, Apicurio puts them behind "Causes:" in one text."""
    text: str = verdict.get("reason") or verdict.get("message") or "no reason given"
    return verdict.get("messages") or [text.rpartition("Causes: ")[2]]
