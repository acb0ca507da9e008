"""Playground: a chat with the models, answered and charged as requests to the API are.

Its script posts to an endpoint of its own, which takes the session's cookie in place of a key and
then goes the way of ``POST /v1/chat/completions``: limits, budgets and usage are those of the key
that was pasted. An admin key completes nothing there, and nothing here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from functions.dashboard.handling import Page, PageRequest
from shared.protocol.errors import APIError
from shared.runtime.request_context import note_error

Complete = Callable[[Request], Awaitable[Response]]
"""Handler of ``POST /v1/chat/completions``; raises `APIError`."""

SCHEMA_EXAMPLE = """{
  "type": "object",
  "properties": {
    "city": { "type": "string" },
    "country": { "type": "string" }
  },
  "required": ["city", "country"],
  "additionalProperties": false
}"""
TOOLS_EXAMPLE = """[
  {
    "type": "function",
    "function": {
      "name": "get_weather",
      "description": "The weather of a city.",
      "parameters": {
        "type": "object",
        "properties": { "city": { "type": "string" } },
        "required": ["city"]
      }
    }
  }
]"""


class _Completion(Response):
    """A completion with headers of its own besides, and errors as the API has them.

    What generates when it is sent has no headers before.
    """

    def __init__(self, completion: Response) -> None:
        super().__init__()
        self.raw_headers = []
        self._completion = completion

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Generate and send."""
        has_begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                message["headers"] = [*message["headers"], *self.raw_headers]
            await send(message)

        try:
            await self._completion(scope, receive, send_with_headers)
        except APIError as error:
            if has_begun:
                raise
            await _refusal(error)(scope, receive, send_with_headers)


def _refusal(error: APIError) -> Response:
    note_error(error)
    headers: dict[str, Any] = error.headers
    return Response(error.body(), error.status, headers, media_type="application/json")


def playground_pages(complete: Complete | None) -> Sequence[Page]:
    """The page and its endpoint; ``complete`` is None where no model can be asked."""

    async def show_playground(page: PageRequest) -> Response:
        """The page, or why there is nothing to play with."""
        models = _models(page) if complete is not None else []
        return await page.render(
            "playground.html",
            models=models,
            reason=_reason(page, models),
            schema_example=SCHEMA_EXAMPLE,
            tools_example=TOOLS_EXAMPLE,
        )

    async def create_completion(page: PageRequest) -> Response:
        """A completion for the session's key, streamed or not; errors as the API has them."""
        try:
            if complete is None:
                raise APIError(404, "This function has no model.", code="served_elsewhere")
            if page.viewer.is_admin:
                raise APIError(
                    403,
                    "An admin key completes nothing. Sign in with a project's key.",
                    type="permission_error",
                    code="insufficient_permissions",
                )
            return _Completion(await complete(page.request))
        except APIError as error:
            return _refusal(error)

    return (
        Page("/playground", show_playground),
        Page("/playground/completions", create_completion, "POST", body="other"),
    )


def _models(page: PageRequest) -> list[str]:
    """Names of the models that this process can ask for the viewer."""
    state, caller = page.state, page.viewer.caller
    has_own = state.has_model and state.settings.has_own_model
    own = [each.name for each in state.models if has_own and caller.may_use(each.names)]
    upstreams = state.settings.upstreams if state.upstreams is not None else ()
    return [*own, *(name for name in upstreams if caller.may_use((name,)))]


def _reason(page: PageRequest, models: Sequence[str]) -> str | None:
    """Why there is no playground; None where there is one."""
    if page.viewer.is_admin:
        return "admin"
    return None if models else "no models"
