"""Table of pages whose modules are imported when the first of their kind is asked for.

With what they import they take 0.1 s of processor time, which is as much as the start of the
function without a model may grow by, and most of its starts are for the API.
"""

from __future__ import annotations

from importlib import import_module

from starlette.responses import Response

from functions.dashboard.handling import Handler, Page, PageRequest

_COMPLETION = "/completions/{completion_id}"
_PROJECT = "/keys/{project_id}"
_REVOKE = f"{_PROJECT}/{{key_id}}/revoke"


def _handler(module: str, name: str) -> Handler:
    """A handler in a module of ``functions.dashboard.pages``."""

    async def handle(page: PageRequest) -> Response:
        handler: Handler = getattr(import_module(f"functions.dashboard.pages.{module}"), name)
        return await handler(page)

    return handle


PAGES = (
    Page("/sign-in", _handler("sign_in", "show_sign_in"), access="anybody"),
    Page("/sign-in", _handler("sign_in", "sign_in"), "POST", access="anybody"),
    Page("/sign-out", _handler("sign_in", "sign_out"), "POST", access="anybody"),
    Page("/completions", _handler("completions", "list_completions")),
    Page(_COMPLETION, _handler("completion", "show_completion")),
    Page(f"{_COMPLETION}/metadata", _handler("completion", "update_metadata"), "POST"),
    Page(f"{_COMPLETION}/delete", _handler("completion", "confirm_deletion")),
    Page(f"{_COMPLETION}/delete", _handler("completion", "delete_completion"), "POST"),
    Page(f"{_COMPLETION}/completion.json", _handler("completion", "download_completion")),
    Page(f"{_COMPLETION}/request.json", _handler("completion", "download_request")),
    Page("/export", _handler("export", "show_export")),
    Page("/export/completions.jsonl", _handler("export", "download_export")),
    Page("/models", _handler("models", "show_models")),
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
