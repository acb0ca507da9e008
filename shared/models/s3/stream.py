"""Download of an S3 object by the AWS library's own client, over one connection.

For proxies that awscrt can't use: it takes user names and passwords as they are written, while
those with special characters have to be percent-encoded, and a port in ``NO_PROXY`` for a part of
the host's name.
"""

from __future__ import annotations

import random
import time
import urllib.request
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError

from shared.models.s3.transfer import ATTEMPTS, DownloadError

_LONGEST_PAUSE = 5.0
"""Seconds."""


def needs_stream(url: str) -> bool:
    """Whether the environment names proxies for ``url`` in a way that awscrt doesn't understand.

    Raises `DownloadError` if nothing can.
    """
    address = urlsplit(url)
    named = urllib.request.getproxies().get(address.scheme)
    if not named:
        return False
    if urllib.request.proxy_bypass(address.netloc):
        # awscrt compares with the host's name only, and would go through the proxy.
        return not urllib.request.proxy_bypass(address.hostname or "")
    proxy = urlsplit(named if "//" in named else f"http://{named}")
    if proxy.scheme != "http":
        raise DownloadError(
            f"only http:// proxies are supported, not the {proxy.scheme}:// one that the "
            f"environment names for {address.scheme}://"
        )
    return "%" in proxy.netloc


def stream(
    chunks: Callable[[int], Iterator[bytes]], start: int, size: int, take: Callable[[bytes], None]
) -> None:
    """Hand bytes from ``start`` to ``size`` to ``take``, in order.

    ``chunks`` gets them from a given one on. Raises `DownloadError`, and what ``take`` raises.
    """
    position, failures = start, 0
    while position < size:
        before = position
        try:
            for chunk in chunks(position):
                take(chunk)
                position += len(chunk)
        except BotoCoreError as error:
            failures = 1 if position > before else failures + 1
            if failures == ATTEMPTS:
                raise DownloadError(f"{error} ({ATTEMPTS} attempts)") from error
            time.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.1 * 2**failures)))
