"""HTTP client of a running server, for the commands that take ``--url``."""

from __future__ import annotations

import httpx2

from functions.cli.usage_error import UsageError


def server_client(
    url: str, key: str | None, *, timeout: float, trust_env: bool = True
) -> httpx2.Client:
    """A client for the server at ``url``, which may end with ``/v1``; raises `UsageError`.

    ``timeout`` in seconds. ``trust_env``: whether proxies may be used; without, it is this
    process's own server, which speaks no TLS.
    """
    # A key that is no text gets the server's answer, too.
    authorization = b"Bearer " + key.encode(errors="surrogateescape") if key else b""
    try:
        parsed = httpx2.URL(url.removesuffix("/").removesuffix("/v1"))
    except httpx2.InvalidURL as error:
        raise UsageError(f"'{url}' is no URL: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UsageError(f"'{url}' is no URL of a server, such as http://127.0.0.1:8000")
    return httpx2.Client(
        base_url=parsed,
        headers={b"authorization": authorization} if key else {},
        timeout=timeout,
        trust_env=trust_env,
        verify=trust_env,  # to load certificates takes 0.1 s
    )
