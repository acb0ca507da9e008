"""A server on a platform that ends requests after a time, and requests that must not see it end.

The platform is a header here, in which each request says how many seconds it has.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import uvicorn
from starlette.datastructures import Headers
from starlette.types import Scope

from functions.http.app import create_app
from shared.config.settings import Settings
from shared.runtime.deadline import TimeLimit
from tests.server import user, wait_until

MARGIN = 20.0
"""Seconds; nobody waits for them, since answers come when generation has ended."""
SOON = MARGIN + 0.4
"""Seconds until the platform ends a request: 0.4 s to generate, in which no 2,000 tokens are made."""
LATE = 2.0
"""Less than the margin: generation should have ended before it began."""
_BUSY_MACHINE = 5.0
"""Seconds that a machine with better things to do may add; waiting for a locked store takes ten."""

CHAT = {"messages": user("Tell me a story")}
TEXT = {"prompt": "Once upon a time"}
LONG: dict[str, Any] = {"max_tokens": 2000, "ignore_eos": True}
REACHED = ": x-deadline: reached"


def _remaining(scope: Scope) -> float | None:
    seconds = Headers(scope=scope).get("x-seconds")
    return None if seconds is None else float(seconds)


@contextmanager
def server_with_deadlines(**settings: Any) -> Iterator[httpx2.Client]:
    """A client of a server with one place in its batch, in this process."""
    chosen = Settings(parallel=1, deadline_margin=MARGIN, **settings)
    app = create_app(chosen)
    app.state.server.time_limit = TimeLimit(_remaining, chosen.deadline_margin)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx2.Client(base_url=url, timeout=300) as http:
            wait_until(lambda: http.get("/health").status_code == 200, "healthy")
            yield http
        server.should_exit = True
        thread.join()


def post(
    http: httpx2.Client, path: str, seconds: float, body: dict[str, Any], **fields: Any
) -> httpx2.Response:
    """The answer, which does not come later than the platform lets it."""
    started = time.monotonic()
    headers = {"x-seconds": str(seconds)}
    response = http.post(path, json={**body, **fields}, headers=headers).raise_for_status()
    assert time.monotonic() - started < seconds + _BUSY_MACHINE
    return response


def choice_of(response: httpx2.Response) -> Any:
    """The first choice."""
    return response.json()["choices"][0]


def lines_of(response: httpx2.Response) -> list[str]:
    """A stream's lines, without the empty ones."""
    return [line for line in response.text.splitlines() if line]


def id_of(response: httpx2.Response) -> str:
    """A completion's id, of a stream the one in its first event."""
    body = lines_of(response)[0].removeprefix("data: ")
    return str(json.loads(body)["id"])
