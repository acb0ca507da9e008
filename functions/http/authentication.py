"""Authentication: the API key of a request, from ``Authorization`` or ``x-api-key``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette._utils import get_route_path

from functions.dashboard.paths import is_dashboard
from shared.protocol.errors import APIError, accounts_unavailable
from shared.runtime.bearer_token import bearer_token
from shared.runtime.caller import ANONYMOUS, Caller
from shared.runtime.key_owner import owner_of_key
from shared.runtime.request_context import request_context
from shared.storage.base import StoreError

if TYPE_CHECKING:
    from starlette.types import Scope

    from shared.runtime.state import ServerState

DOCS_FILES = "/docs-files"
PUBLIC_PATHS = ("/", "/health", "/v1/health", "/docs", DOCS_FILES, "/openapi.json")
"""Served without a key: nothing in them belongs to anybody."""

ADMINISTRATION = "/v1/organization/"
"""What paths begin with that need an admin key."""
METRICS = "/metrics"
"""Counts the requests of all projects: their keys don't read it, and keys from settings do."""
_FOR_ADMINS = (METRICS, "/props", "/models", "/v1/models", "/v1/key")
"""Besides what is public and administration."""

_log = logging.getLogger("pilotlight.accounts")

_CREDENTIALS = (b"authorization", b"x-api-key")


def is_public(path: str) -> bool:
    """Whether ``path`` is served without a key; the dashboard has a sign-in of its own."""
    return path in PUBLIC_PATHS or path.startswith(f"{DOCS_FILES}/") or is_dashboard(path)


async def authenticate(scope: Scope, state: ServerState) -> Caller:
    """Caller of a request; raises `APIError`.

    - 400 for a header that is sent twice.
    - 401 for no key, or one that is nobody's.
    - 403 for a key that is for something else.
    - 503 where nobody can tell.
    """
    authorization = _authorization(scope)
    if not state.settings.needs_key:
        return ANONYMOUS
    key = bearer_token(authorization or b"")
    caller = await _owner(key, state) if key is not None else None
    if caller is not None:
        if state.settings.accounts:  # else no path administers: it is answered as unknown
            _check_purpose(caller, get_route_path(scope))
        return caller
    message = "Incorrect API key provided." if key else "No API key provided."
    raise APIError(
        401,
        f"{message} Send one of this server's keys as 'Authorization: Bearer KEY'.",
        type="authentication_error",
        code="invalid_api_key",
        headers={"www-authenticate": "Bearer"},
    )


async def _owner(key: bytes, state: ServerState) -> Caller | None:
    """Whose ``key`` is, by the settings or the accounts; raises `APIError` 503."""
    try:
        return await owner_of_key(state, key)
    except StoreError as error:
        _log.error("the accounts can't be asked for a key: %s", error)
        request_context().accounts_outage = "refused"
        raise accounts_unavailable() from None


def _check_purpose(caller: Caller, path: str) -> None:
    """Raise `APIError` 403 for an admin key that is to complete, or another that is to administer.

    What describes the deployment is for both, what tells of all projects for no project's key.
    """
    administers = path.startswith(ADMINISTRATION)
    if not caller.is_admin:
        if administers or (path == METRICS and caller.holder is not None):
            raise needs_admin_key()
        return
    if administers or path in _FOR_ADMINS:
        return
    message = "An admin key administers accounts and nothing else. Send a project's key."
    raise APIError(403, message, type="permission_error", code="insufficient_permissions")


def needs_admin_key() -> APIError:
    """The error for a key that is to administer and may not."""
    return APIError(
        403,
        "This needs an admin key: 'pilotlight keys create --admin' makes one, where the store "
        "of this deployment is at hand.",
        type="permission_error",
        code="insufficient_permissions",
    )


def _authorization(scope: Scope) -> bytes | None:
    """The ``Authorization`` header; raises `APIError` 400 for more than one.

    Where that has another purpose, as AWS's signatures of requests, ``x-api-key`` stands for it.
    """
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name not in _CREDENTIALS:
            continue
        if name in found:
            raise APIError(
                400,
                f"The request has several '{name.decode()}' headers. Send one.",
                code="conflicting_credentials",
            )
        found[name] = value
    if not found:
        return None
    authorization, api_key = (found.get(name) for name in _CREDENTIALS)
    if api_key is not None and not (authorization or b"").lower().startswith(b"bearer "):
        authorization = b"Bearer " + api_key
    return authorization
