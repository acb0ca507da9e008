"""SnapStart's hooks: functions that Lambda's runtime client calls, or paths for the adapter.

https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from typing import TYPE_CHECKING

from snapshot_restore_py import (  # type: ignore[import-untyped]
    register_after_restore,
    register_before_snapshot,
)

from functions.http.middleware import send_error
from shared.protocol.errors import APIError
from shared.runtime import snapshot

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from shared.runtime.state import ServerState

BEFORE_SNAPSHOT = "/lambda/before-snapshot"
AFTER_RESTORE = "/lambda/after-restore"
_HOOKS = {BEFORE_SNAPSHOT: snapshot.before_snapshot, AFTER_RESTORE: snapshot.after_restore}

_CALLERS_HEADERS = (b"x-amzn-request-context", b"x-amzn-lambda-context")
"""What the adapter adds to every request that it passes on, and not to its own calls."""

_log = logging.getLogger("pilotlight")


def register_hooks(state: ServerState) -> None:
    """Have the runtime client call the hooks, which it does with SnapStart only."""
    register_before_snapshot(snapshot.before_snapshot, state)
    register_after_restore(snapshot.after_restore, state)


class SnapshotHooks:
    """Serves the hooks' paths to the Lambda Web Adapter, and nobody else; all others are the app's.

    Outside the app, since the adapter has no API key.
    """

    def __init__(self, app: ASGIApp, state: ServerState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request (ASGI 3)."""
        hook = _HOOKS.get(scope["path"]) if scope["type"] == "http" else None
        if hook is None:
            await self._app(scope, receive, send)
        elif problem := _problem(scope):
            await send_error(problem, send)
        else:
            await asyncio.to_thread(hook, self._state)
            _log.info("%s is done", scope["path"])
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})


def _problem(scope: Scope) -> APIError | None:
    """Why the call is refused, if it is."""
    has_callers = any(name in _CALLERS_HEADERS for name, _ in scope["headers"])
    if has_callers or not _is_loopback(scope):
        return APIError(
            403,
            f"{scope['path']} is for the platform itself.",
            type="permission_error",
            code="forbidden",
        )
    if scope["method"] != "POST":
        return APIError(
            405,
            f"{scope['path']} does not take {scope['method']} requests.",
            code="method_not_allowed",
            headers={"allow": "POST"},
        )
    return None


def _is_loopback(scope: Scope) -> bool:
    client = scope.get("client")
    return client is not None and ipaddress.ip_address(client[0]).is_loopback
