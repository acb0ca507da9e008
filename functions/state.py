"""What the handlers of one server share."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from functions.metrics import Metrics
from shared.models.loader import ModelLoader
from shared.protocol.errors import APIError, model_loading, server_error, shutting_down
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.models.served import ServedModel


class ApiKeys:
    """The accepted keys, kept as hashes and compared in constant time."""

    def __init__(self, keys: list[str]) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def accept(self, key: bytes) -> bool:
        """Whether ``key`` is one of them; takes as long whichever it is."""
        digest = hashlib.sha256(key).digest()
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0


class ServerState:
    """Settings, model, keys and metrics; ``is_draining`` while shutting down."""

    def __init__(self, settings: Settings, loader: ModelLoader) -> None:
        self.settings = settings
        self.loader = loader
        self.keys = ApiKeys([key.get_secret_value() for key in settings.api_key])
        self.metrics = Metrics(self)
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
                raise server_error()
            percent = int(100 * self.loader.progress)
            raise model_loading(f"The model is still loading ({percent} %). Try again shortly.")
        return served

    def abort(self) -> None:
        """End all generations; their clients get an error, or an error event."""
        if self.loader.served is not None:
            self.loader.served.engine.abort()

    def require_key(self, authorization: bytes | None) -> None:
        """Check the ``Authorization`` header; raises `APIError` 401."""
        scheme, _, key = (authorization or b"").partition(b" ")
        if scheme.lower() == b"bearer" and self.keys.accept(key.strip()):
            return
        message = "Incorrect API key provided." if key else "No API key provided."
        raise APIError(
            401,
            f"{message} Send one of this server's keys as 'Authorization: Bearer KEY'.",
            type="authentication_error",
            code="invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )
