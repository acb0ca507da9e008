"""Connects to an HTTP server as AWS's library would: same certificates, same proxies."""

from __future__ import annotations

import base64
import http.client
import os
import ssl
import urllib.request
from functools import cache
from urllib.parse import SplitResult, unquote, urlsplit

TIMEOUT = 10.0
"""Seconds without a byte after which a connection counts as lost."""


def connect(url: str) -> http.client.HTTPConnection:
    """A connection for requests to ``url``, not open yet.

    Heeds ``HTTPS_PROXY`` and ``NO_PROXY``, and ``AWS_CA_BUNDLE``. Plain HTTP, which only local
    stand-ins for S3 speak, goes there directly.
    """
    address = urlsplit(url)
    host = address.hostname or ""
    if address.scheme != "https":
        return http.client.HTTPConnection(host, address.port, timeout=TIMEOUT)
    proxy = _proxy(host)
    if proxy is None:
        return http.client.HTTPSConnection(
            host, address.port, timeout=TIMEOUT, context=_tls_context()
        )
    connection = http.client.HTTPSConnection(
        proxy.hostname or "", proxy.port or 80, timeout=TIMEOUT, context=_tls_context()
    )
    connection.set_tunnel(host, address.port or 443, _credentials(proxy))
    return connection


def _proxy(host: str) -> SplitResult | None:
    proxy = urllib.request.getproxies().get("https")
    if not proxy or urllib.request.proxy_bypass(host):
        return None
    return urlsplit(proxy if "//" in proxy else f"http://{proxy}")


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


@cache
def _tls_context() -> ssl.SSLContext:
    """Certificates of ``AWS_CA_BUNDLE``, else those that botocore trusts."""
    from botocore.httpsession import get_cert_path  # whoever downloads from S3 has it loaded

    return ssl.create_default_context(
        cafile=os.environ.get("AWS_CA_BUNDLE") or get_cert_path(verify=True)
    )
