"""Access to accounts for the administration's endpoints: who acts, errors, pages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Annotated, Any

from pydantic import BaseModel

from functions.http.authentication import needs_admin_key
from functions.http.dependencies import State
from functions.http.fastapi_import import Depends
from functions.http.openapi.error_responses import error_responses
from shared.accounts.accounts import Accounts
from shared.accounts.audit_log import Actor
from shared.accounts.types import AccountError, UnknownAccountError
from shared.protocol.errors import APIError, accounts_unavailable
from shared.protocol.openai.stored_completions import list_object
from shared.runtime.request_context import request_context
from shared.runtime.state import ServerState
from shared.runtime.stores import ResultT
from shared.storage.base import StoreError

PROJECTS = "/v1/organization/projects"
PROJECT = f"{PROJECTS}/{{project_id}}"

_MEANINGS = {
    400: "A field is wrong, or the project is archived.",
    401: "No API key, or a wrong one.",
    403: "The key is no admin key.",
    404: "There is no such thing.",
    503: "The store of accounts does not answer; see `Retry-After`.",
}
ERRORS = error_responses(400, 401, 403, 404, 503, meanings=_MEANINGS)
"""``responses`` of all routes for failures."""

_log = logging.getLogger("pilotlight.accounts")


class Administration:
    """The accounts, for the admin who sends a request."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    async def do(self, work: Callable[[Accounts, Actor], ResultT]) -> ResultT:
        """What ``work`` does, on a thread; raises `APIError` 400, 404 or 503."""
        caller = request_context().caller
        actor = Actor(key_id=caller.key_id)
        try:
            return await self._state.stores.in_accounts(lambda accounts: work(accounts, actor))
        except UnknownAccountError as error:
            raise APIError(404, str(error), type="not_found_error", code="not_found") from None
        except AccountError as error:
            raise APIError(400, str(error), param=error.param, code="invalid_state") from None
        except StoreError as error:
            _log.error("the store of accounts failed: %s", error)
            raise accounts_unavailable() from None


async def _administration(state: State) -> Administration:
    # Once more, whatever the path was that the key was checked for.
    if not request_context().caller.is_admin:
        raise needs_admin_key()
    return Administration(state)


Admin = Annotated[Administration, Depends(_administration)]
"""The accounts, for the admin who sends the request."""


def page_object(items: Iterable[BaseModel], has_more: bool) -> dict[str, Any]:
    """OpenAI's list of ``items``."""
    return list_object([item.model_dump() for item in items], has_more=has_more)
