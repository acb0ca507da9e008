"""Documentation of endpoints that read their own bodies, as routes that FastAPI can describe.

Such a route is made for the OpenAPI document only, and never called: where FastAPI is to describe
an endpoint without serving it, the models stand in the signature of a function that does nothing.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from functions.http.openapi.error_responses import COMPLETION_ERRORS, error_responses

if TYPE_CHECKING:
    from functions.http.fastapi_import import APIRoute

STREAM = "#stream"
"""End of the path of a route that describes the stream which another route may answer with."""


@dataclass(frozen=True, kw_only=True)
class PostDocumentation:
    """What an endpoint takes and gives; its docstring says the rest."""

    tag: str
    request: type[BaseModel]
    response: type[BaseModel]
    chunk: Any = None
    """Type of a stream's events, where there is one with ``stream: true``."""
    stream_end: str = ""
    """How a stream ends."""
    errors: tuple[int, ...] = COMPLETION_ERRORS
    """Statuses that it may fail with."""

    def routes(self, path: str, endpoint: Callable[..., Any]) -> Iterator[APIRoute]:
        """The route, and the one for its stream."""
        from fastapi.sse import EventSourceResponse

        from functions.http.fastapi_import import APIRoute

        async def whole(body: Any) -> None:
            raise NotImplementedError

        async def stream(body: Any) -> AsyncIterator[Any]:
            yield body

        whole.__doc__ = endpoint.__doc__
        whole.__annotations__ = {"body": self.request, "return": self.response}
        yield APIRoute(
            path,
            whole,
            methods=["POST"],
            tags=[self.tag],
            operation_id=re.sub(r"\W", "_", path.strip("/")),
            response_description=self._description(),
            responses=error_responses(*self.errors),
        )
        if self.chunk is not None:
            stream.__annotations__ = {"body": self.request, "return": _events(self.chunk)}
            yield APIRoute(
                path + STREAM, stream, methods=["POST"], response_class=EventSourceResponse
            )

    def _description(self) -> str:
        if self.chunk is None:
            return "The answer."
        return f"The completion; with `stream: true` server-sent events, {self.stream_end}."


def _events(chunk: Any) -> Any:
    return AsyncIterator[chunk]
