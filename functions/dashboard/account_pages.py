"""Pages of accounts, imported when the first of them is asked for.

With what they import they take 0.08 s of processor time: as much as the start of the function
without a model may grow by, and many deployments have no accounts.
"""

from __future__ import annotations

from importlib import import_module

from starlette.responses import Response

from functions.dashboard.handling import Handler, Page, PageRequest

_PROJECT = "/keys/{project_id}"
_REVOKE = f"{_PROJECT}/{{key_id}}/revoke"


def _handler(module: str, name: str) -> Handler:
    """A handler in a module of ``functions.dashboard.pages``."""

    async def handle(page: PageRequest) -> Response:
        handler: Handler = getattr(import_module(f"functions.dashboard.pages.{module}"), name)
        return await handler(page)

    return handle


PAGES = (
    Page("/usage", _handler("usage", "show_usage")),
    Page("/usage.csv", _handler("usage", "download_usage")),
    Page("/keys", _handler("keys", "show_keys")),
    Page("/keys", _handler("keys", "create_project"), "POST", access="admin"),
    Page(_PROJECT, _handler("project_keys", "show_project"), access="admin"),
    Page(_PROJECT, _handler("project_keys", "make_key"), "POST", access="admin"),
    Page(f"{_PROJECT}/budget", _handler("project_keys", "set_budget"), "POST", access="admin"),
    Page(f"{_PROJECT}/limits", _handler("project_keys", "set_limits"), "POST", access="admin"),
    Page(f"{_PROJECT}/name", _handler("project_keys", "rename"), "POST", access="admin"),
    Page(_REVOKE, _handler("project_keys", "confirm_revoking"), access="admin"),
    Page(_REVOKE, _handler("project_keys", "revoke"), "POST", access="admin"),
)
