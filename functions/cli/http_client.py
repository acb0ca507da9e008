"""HTTP client of a running server, for the commands that take ``--url``."""

from __future__ import annotations

import httpx2


def server_client(
    url: str, key: str | None, *, timeout: float, trust_env: bool = True
) -> httpx2.Client:
    """A client for the server at ``url``, which may end with ``/v1``; raises `httpx2.InvalidURL`.

    ``timeout`` in seconds. ``trust_env``: whether proxies may be used; without, it is this
    process's own server, which speaks no TLS.
    """
    # A key that is no text gets the server's answer, too.
    authorization = b"Bearer " + key.encode(errors="surrogateescape") if key else b""
    return httpx2.Client(
        base_url=url.removesuffix("/").removesuffix("/v1"),
        headers={b"authorization": authorization} if key else {},
        timeout=timeout,
        trust_env=trust_env,
        verify=trust_env,  # to load certificates takes 0.1 s
    )
