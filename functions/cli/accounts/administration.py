"""Administration of accounts: by the API of a server, or of an app over the store at hand.

Either way it is the same API, so that there is one way to do each thing.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx2
import orjson

from functions.cli.http_client import server_client
from functions.cli.usage_error import UsageError
from shared.accounts.api_keys import Holder
from shared.accounts.types import ApiKey
from shared.config.settings import Settings
from shared.runtime.caller import Caller
from shared.runtime.configured_keys import ConfiguredKeys

_SECONDS = 60.0
"""That a server gets to answer."""
_PAGE = 100

_OPERATOR = Caller(
    "operator",
    None,
    Holder(key=ApiKey(id="operator", name="terminal", hash="", redacted="", created_at=0)),
)
"""Whoever has the store at hand may do everything. The audit log has no key for it."""


class AdministrationError(Exception):
    """What can't be done, for people."""


class MissingError(AdministrationError):
    """The server answered 404."""


class Administration(ABC):
    """Requests of the administration API. All methods raise `AdministrationError`."""

    @abstractmethod
    def send(
        self, method: str, path: str, parameters: Mapping[str, Any], body: Any
    ) -> tuple[int, bytes]:
        """The status and body of a request's answer."""

    def ask(
        self,
        method: str,
        *parts: str,
        parameters: Mapping[str, Any] | None = None,
        body: Any = None,
    ) -> Any:
        """The answer's JSON. ``parts``: of the path, behind ``/v1/organization``."""
        path = "/".join(("/v1/organization", *(quote(part, safe="") for part in parts)))
        status, content = self.send(method, path, parameters or {}, body)
        try:
            answer = orjson.loads(content)
            if status < 400:
                return answer
            message = str(answer["error"]["message"])
        except (ValueError, KeyError, TypeError):
            message = f"the server answered {status}, not like pilotlight"
        raise MissingError(message) if status == 404 else AdministrationError(message)

    def items(self, *parts: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """The items of a list, page by page."""
        after: dict[str, str] = {}
        while True:
            asked = {**parameters, **after, "limit": _PAGE}
            page = self.ask("GET", *parts, parameters=asked)
            yield from page["data"]
            if not page["has_more"]:
                return
            after = {"after": page["last_id"]}

    def buckets(self, *parts: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """The buckets of usage or costs, page by page."""
        position: dict[str, str] = {}
        while True:
            page = self.ask("GET", *parts, parameters={**parameters, **position})
            yield from page["data"]
            if not page["has_more"]:
                return
            position = {"page": page["next_page"]}


class _Server(Administration):
    """A running server's."""

    def __init__(self, url: str, key: str | None) -> None:
        self._client = server_client(url, key, timeout=_SECONDS)

    def send(
        self, method: str, path: str, parameters: Mapping[str, Any], body: Any
    ) -> tuple[int, bytes]:
        """See `Administration.send`."""
        try:
            response = self._client.request(method, path, params=dict(parameters), json=body)
        except Exception as error:  # httpx's, which are several
            raise AdministrationError(f"can't reach {self._client.base_url}: {error}") from error
        return response.status_code, response.content


class _Store(Administration):
    """An app's in this process, over the store that the settings name."""

    def __init__(self, runner: asyncio.Runner, client: httpx2.AsyncClient) -> None:
        self._runner = runner
        self._client = client

    def send(
        self, method: str, path: str, parameters: Mapping[str, Any], body: Any
    ) -> tuple[int, bytes]:
        """See `Administration.send`."""
        response = self._runner.run(
            self._client.request(method, path, params=dict(parameters), json=body)
        )
        return response.status_code, response.content


class _OperatorsKey(ConfiguredKeys):
    """Whatever is sent administers: nobody but this process sends it."""

    def __init__(self) -> None:
        super().__init__([])

    def owner(self, key: bytes) -> Caller:  # noqa: ARG002
        """The operator."""
        return _OPERATOR


@contextmanager
def administration(settings: Settings, url: str | None) -> Iterator[Administration]:
    """The administration of the server at ``url``, or of the store."""
    if url is not None:
        yield _Server(url, settings.api_key[0].get_secret_value() if settings.api_key else None)
        return
    from functions.http.api_app import create_api_app  # takes 0.3 s

    if settings.store == "none":
        raise UsageError("accounts need a store: the setting 'store' is 'none'")
    app = create_api_app(settings.model_copy(update={"accounts": True}))
    state = app.state.server
    state.keys = _OperatorsKey()
    transport = httpx2.ASGITransport(app)
    client = httpx2.AsyncClient(
        transport=transport,
        base_url="http://store",
        headers={"authorization": "Bearer operator"},
        timeout=None,
    )
    try:
        with asyncio.Runner() as runner:
            yield _Store(runner, client)
    finally:
        state.close()
