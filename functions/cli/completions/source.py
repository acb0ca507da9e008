"""Sources of stored completions for the terminal: a store, or a server's API."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import httpx2
import orjson

from functions.cli.http_client import server_client
from shared.protocol.openai.stored_completions import messages_of, stored_object
from shared.storage.base import CompletionStore, DamagedCompletionError
from shared.storage.export.lines import PAGE_SIZE
from shared.storage.id_range import PREFIXES, id_range
from shared.storage.sqlite.store import SQLiteStore
from shared.storage.types import CompletionQuery, Kind, StoredCompletion

_PATHS: dict[Kind, str] = {"chat": "/v1/chat/completions", "text": "/v1/completions"}
_SECONDS = 60.0
"""For a server's answer. A page of large completions takes a few."""
_TENANTS_NAMED = 5
"""By a message that there is nothing."""
_DAMAGED_NAMED = 20
"""By a summary; the log has them all."""


class SourceError(Exception):
    """A server does not answer, or refuses; the text says why."""


class _DamagedError(SourceError):
    """A server has the completion, but can't read it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored completion as the API shows it.

    ``messages`` fetches the request's; ``whole`` all that there is, for programs.
    """

    completion: dict[str, Any]
    messages: Callable[[], list[dict[str, Any]]]
    whole: Callable[[], Any]


class Source(ABC):
    """Stored completions of one owner.

    ``owner`` is what messages call it, ``damaged`` has the ids that ``entries`` has passed over.
    """

    owner: str
    damaged: list[str]

    @abstractmethod
    def advice(self) -> str:
        """Where else to look, behind a message that there is nothing; empty if nowhere."""

    @abstractmethod
    def entries(self, query: CompletionQuery) -> Iterator[Entry]:
        """The first ``query.limit`` completions that the query finds, however many that are."""

    @abstractmethod
    def entry(self, kind: Kind, completion_id: str) -> Entry | None:
        """One completion, None where there is none of that id."""

    @abstractmethod
    def has(self, kind: Kind, completion_id: str) -> bool:
        """Whether there is a completion of that id; a damaged one is in ``damaged`` then."""

    @abstractmethod
    def delete(self, kind: Kind, completion_id: str) -> bool:
        """Delete a completion; whether there was one."""


def kind_of(completion_id: str) -> Kind:
    """What an id is of."""
    return "text" if completion_id.startswith(f"{PREFIXES['text']}-") else "chat"


def tenant_advice(store: CompletionStore, tenant: str) -> str:
    """Whose completions there are besides ``tenant``'s, behind a message that it has none.

    Raises `StoreError`.
    """
    if not isinstance(store, SQLiteStore):  # others would have to read all that they have
        return " (--tenant NAME looks at another tenant's)"
    others = [name for name in store.tenants(_TENANTS_NAMED + 2) if name != tenant]
    if not others:
        return ""
    names = ", ".join(f"'{name}'" for name in others[:_TENANTS_NAMED])
    more = ", ..." if len(others) > _TENANTS_NAMED else ""
    return f" (--tenant NAME looks at another tenant's: {names}{more})"


def damaged_ones(ids: Sequence[str]) -> str:
    """How many damaged completions, and which."""
    named = ", ".join(ids[:_DAMAGED_NAMED]) + (", ..." if len(ids) > _DAMAGED_NAMED else "")
    return f"{len(ids)} damaged completion{'' if len(ids) == 1 else 's'}: {named}"


class StoreSource(Source):
    """A tenant's completions in a store. All methods raise `StoreError`."""

    def __init__(self, store: CompletionStore, tenant: str) -> None:
        self.owner = f"tenant '{tenant}'"
        self.damaged = []
        self._store = store
        self._tenant = tenant

    def advice(self) -> str:
        """See `Source.advice`."""
        return tenant_advice(self._store, self._tenant)

    def entries(self, query: CompletionQuery) -> Iterator[Entry]:
        """See `Source.entries`."""
        left = query.limit
        while left > 0:
            page = self._store.list(replace(query, limit=min(left, PAGE_SIZE)))
            self.damaged += page.damaged
            yield from map(_entry, page.completions)
            if not page.has_more:
                return
            left -= len(page.completions)
            query = replace(query, after=page.completions[-1].id)

    def entry(self, kind: Kind, completion_id: str) -> Entry | None:
        """See `Source.entry`."""
        found = self._store.get(self._tenant, kind, completion_id)
        return _entry(found) if found else None

    def has(self, kind: Kind, completion_id: str) -> bool:
        """See `Source.has`."""
        try:
            return self._store.get(self._tenant, kind, completion_id) is not None
        except DamagedCompletionError as damage:
            self.damaged.append(damage.completion_id)
            return True

    def delete(self, kind: Kind, completion_id: str) -> bool:
        """See `Source.delete`."""
        return self._store.delete(self._tenant, kind, completion_id)


def _entry(completion: StoredCompletion) -> Entry:
    return Entry(stored_object(completion), lambda: messages_of(completion), lambda: completion)


class ServerSource(Source):
    """A key's completions on a running server. All methods raise `SourceError`."""

    owner = "this key"

    def __init__(self, url: str, key: str | None) -> None:
        self.damaged = []
        self._client = server_client(url, key, timeout=_SECONDS)

    def advice(self) -> str:
        """See `Source.advice`. A key sees nobody else's."""
        return ""

    def entries(self, query: CompletionQuery) -> Iterator[Entry]:
        """See `Source.entries`. The API knows no times, but ids sort by time, so cursors do."""
        start, end = id_range(query)
        is_ascending = query.order == "asc"
        has_cursor = query.since is not None if is_ascending else query.until is not None
        parameters = {
            "order": query.order,
            **({"after": start if is_ascending else end} if has_cursor else {}),
            **({"model": query.model} if query.model is not None else {}),
            **{f"metadata[{key}]": value for key, value in query.metadata.items()},
        }
        for completion in self._items(_PATHS[query.kind], parameters, query.limit):
            if not start <= completion["id"] < end:
                return
            yield self._entry(query.kind, completion)

    def entry(self, kind: Kind, completion_id: str) -> Entry | None:
        """See `Source.entry`."""
        found = self._ask("GET", _path(kind, completion_id))
        return None if found is None else self._entry(kind, found)

    def has(self, kind: Kind, completion_id: str) -> bool:
        """See `Source.has`."""
        try:
            return self._ask("GET", _path(kind, completion_id)) is not None
        except _DamagedError:
            self.damaged.append(completion_id)
            return True

    def delete(self, kind: Kind, completion_id: str) -> bool:
        """See `Source.delete`."""
        return self._ask("DELETE", _path(kind, completion_id)) is not None

    def _entry(self, kind: Kind, completion: dict[str, Any]) -> Entry:
        path = f"{_path(kind, completion['id'])}/messages"

        def messages() -> list[dict[str, Any]]:
            return list(self._items(path, {}))

        return Entry(completion, messages, lambda: {**completion, "messages": messages()})

    def _items(
        self, path: str, parameters: dict[str, Any], limit: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """The items of a list, page by page."""
        while limit is None or limit > 0:
            size = PAGE_SIZE if limit is None else min(limit, PAGE_SIZE)
            page = self._ask("GET", path, {**parameters, "limit": size}) or {"data": []}
            self.damaged += page.get("damaged", [])
            yield from page["data"]
            if not page.get("has_more"):
                return
            limit = None if limit is None else limit - len(page["data"])
            parameters = {**parameters, "after": page["last_id"]}

    def _ask(self, method: str, path: str, parameters: dict[str, Any] | None = None) -> Any:
        """A response's JSON, None for a completion that is not there."""
        try:
            response = self._client.request(method, path, params=parameters)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise SourceError(f"can't reach {self._client.base_url}: {error}") from error
        try:
            body = orjson.loads(response.content)
            if response.is_success:
                return body
            problem = body["error"]
            if response.status_code == 404 and problem["code"] == "completion_not_found":
                return None
            damaged = problem["code"] == "completion_damaged"
            raise (_DamagedError if damaged else SourceError)(str(problem["message"]))
        except (ValueError, KeyError, TypeError):
            raise SourceError(
                f"{self._client.base_url} answered {response.status_code}, not like this server"
            ) from None


def _path(kind: Kind, completion_id: str) -> str:
    return f"{_PATHS[kind]}/{quote(completion_id, safe='')}"
