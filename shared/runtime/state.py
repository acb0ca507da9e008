"""What the handlers of one server share."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from shared.config.settings import Settings
from shared.protocol.errors import (
    APIError,
    model_loading,
    model_stopped,
    model_unavailable,
    shutting_down,
)
from shared.runtime.loader import ModelLoader
from shared.runtime.metrics import Metrics
from shared.storage.types import DEFAULT_TENANT

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Scope

    from functions.http.origin_guard import OriginGuard
    from shared.runtime.served_model import ServedModel
    from shared.storage.base import CompletionStore

StoreT = TypeVar("StoreT")

_STORE_THREADS = 32
"""Calls to the store at once; each waits for a disk or a network."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: the owner of its key, and which key it was."""

    tenant: str
    key_id: str | None


_ANYBODY = Caller(DEFAULT_TENANT, None)
_CALLER = "pilotlight.caller"


class ApiKeys:
    """The accepted keys, kept as hashes and compared in constant time.

    A key is its own tenant. Both are named after the key's hash, of which they show too little to
    tell anything of the key.
    """

    def __init__(self, keys: Sequence[str], hashes: Sequence[str] = ()) -> None:
        """``hashes``: SHA-256 of further keys, in hexadecimal digits."""
        digests = [hashlib.sha256(key.encode()).digest() for key in keys]
        digests += map(bytes.fromhex, hashes)
        self._callers = [(digest, _key_owner(digest)) for digest in digests]

    def __bool__(self) -> bool:
        return bool(self._callers)

    def owner(self, key: bytes) -> Caller | None:
        """Whose ``key`` is, None if it is nobody's; takes as long whichever it is."""
        digest = hashlib.sha256(key).digest()
        found = [hmac.compare_digest(digest, known) for known, _ in self._callers]
        owners = [owner for (_, owner), equal in zip(self._callers, found, strict=True) if equal]
        return owners[0] if owners else None


def _key_owner(digest: bytes) -> Caller:
    name = f"key-{digest.hex()[:16]}"
    return Caller(tenant=name, key_id=name)


class ServerState:
    """Settings, model, keys and metrics; ``is_draining`` while shutting down."""

    def __init__(self, settings: Settings, loader: ModelLoader | None) -> None:
        """``loader`` is None where no model is served: only completions that are stored."""
        self.settings = settings
        self.has_model = loader is not None
        self.loader = loader or ModelLoader(settings)  # that one is never started
        keys = [key.get_secret_value() for key in settings.api_key]
        self.keys = ApiKeys(keys, settings.api_key_hash)
        self.origin_guard: OriginGuard | None = None
        """Where no key is needed, and only this machine can connect."""
        self.metrics = Metrics(self)
        self._store: CompletionStore | None = None
        self._store_lock = threading.Lock()
        self._store_threads: ThreadPoolExecutor | None = None
        self.is_draining = False
        self.n_active = 0
        """Requests being handled right now."""

    def model(self) -> ServedModel:
        """The loaded model; raises `APIError` 503 while loading or draining, 500 if it failed."""
        if self.is_draining:
            raise shutting_down()
        served = self.loader.served
        if served is None:
            if self.loader.error is not None:
                raise model_unavailable()
            percent = int(100 * self.loader.progress)
            raise model_loading(f"The model is still loading ({percent} %). Try again shortly.")
        if not served.engine.is_alive:
            raise model_stopped()
        return served

    def abort(self) -> None:
        """End all generations; their clients get an error, or an error event."""
        if self.loader.served is not None:
            self.loader.served.engine.abort()

    def require_key(self, authorization: bytes | None) -> Caller:
        """Whose key the ``Authorization`` header has; raises `APIError` 401."""
        if not self.keys:
            return _ANYBODY
        scheme, _, key = (authorization or b"").partition(b" ")
        owner = self.keys.owner(key.strip()) if scheme.lower() == b"bearer" else None
        if owner is not None:
            return owner
        message = "Incorrect API key provided." if key else "No API key provided."
        raise APIError(
            401,
            f"{message} Send one of this server's keys as 'Authorization: Bearer KEY'.",
            type="authentication_error",
            code="invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )

    def admit(self, scope: Scope, authorization: bytes | None) -> None:
        """Note whose request it is; raises `APIError` 401."""
        scope[_CALLER] = self.require_key(authorization)

    def caller(self, request: Request) -> Caller:
        """Whose request it is."""
        caller: Caller = request.scope.get(_CALLER, _ANYBODY)
        return caller

    def retention_days(self, tenant: str) -> int:
        """Days after which a tenant's stored completions expire; 0 for never."""
        settings = self.settings
        return settings.tenant_retention_days.get(tenant, settings.retention_days)

    async def in_store(self, work: Callable[[CompletionStore], StoreT]) -> StoreT:
        """What ``work`` does with the store, on a thread; raises `StoreError`.

        Raises `APIError` 404 where the deployment has no store.
        """
        if self._store_threads is None:
            self._store_threads = ThreadPoolExecutor(_STORE_THREADS, "store")
        loop = asyncio.get_running_loop()
        # With the request's context: what the store logs or asks of AWS belongs to the request.
        run = copy_context().run
        return await loop.run_in_executor(self._store_threads, run, lambda: work(self._opened()))

    def _opened(self) -> CompletionStore:
        """The store, opened at the first call; on a thread, since that takes a while."""
        from shared.storage.location import open_store

        with self._store_lock:
            if self._store is None:
                self._store = open_store(self.settings.store, self.settings.data_dir)
            if self._store is None:
                raise APIError(404, "This deployment keeps no completions.", code="no_store")
            return self._store

    def warm_up_store(self) -> None:
        """Load what the store's first call needs, without making one; raises `StoreError`."""
        if self.settings.store != "none":
            self._opened().warm_up()

    def close_store(self) -> None:
        """Let go of the store and its threads; whatever needs it next opens it anew."""
        threads, self._store_threads = self._store_threads, None
        if threads is not None:
            threads.shutdown()
        with self._store_lock:
            store, self._store = self._store, None
        if store is not None:
            store.close()

    def reset_metrics(self) -> None:
        """Count from zero."""
        observers = self.metrics.observers
        self.metrics = Metrics(self)
        self.metrics.observers = observers

    def close(self) -> None:
        """Let go of the model and the store."""
        self.loader.close()
        self.close_store()
