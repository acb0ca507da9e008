"""HTTP connection as AWS's library would make it: same certificates, same proxies."""

from __future__ import annotations

import base64
import http.client
import ssl
import urllib.request
from functools import cached_property
from urllib.parse import SplitResult, unquote, urlsplit

TIMEOUT = 10.0
"""Seconds without a byte after which a connection counts as lost."""


class ProxyError(Exception):
    """Something is wrong with the proxy that the environment names."""


class Connector:
    """Opens connections, all with the same idea of whom to trust."""

    def __init__(self, ca_bundle: str | None = None) -> None:
        """``ca_bundle``: a file of certificates to trust, None for the system's."""
        self._ca_bundle = ca_bundle

    def connect(self, url: str) -> HttpConnection:
        """A connection for requests to ``url``, not open yet.

        Heeds ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY``. Raises `ProxyError`.
        """
        address = urlsplit(url)
        host = address.hostname or ""
        proxy = _proxy(address)
        if address.scheme == "https":
            return HttpConnection(self._secure(host, address.port, proxy))
        if proxy is None:
            return HttpConnection(http.client.HTTPConnection(host, address.port, timeout=TIMEOUT))
        return HttpConnection(
            http.client.HTTPConnection(proxy.hostname or "", proxy.port or 80, timeout=TIMEOUT),
            {"Host": address.netloc, **_credentials(proxy)},
            f"{address.scheme}://{address.netloc}",
        )

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._ca_bundle)

    def _secure(
        self, host: str, port: int | None, proxy: SplitResult | None
    ) -> http.client.HTTPConnection:
        if proxy is None:
            return http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=self._tls)
        connection = http.client.HTTPSConnection(
            proxy.hostname or "", proxy.port or 80, timeout=TIMEOUT, context=self._tls
        )
        connection.set_tunnel(host, port or 443, _credentials(proxy))
        return connection


class HttpConnection:
    """A connection to a server, directly or by way of a proxy."""

    def __init__(
        self,
        connection: http.client.HTTPConnection,
        headers: dict[str, str] | None = None,
        prefix: str = "",
    ) -> None:
        """``headers`` and ``prefix`` (of paths) are what a proxy that forwards wants to have."""
        self._connection = connection
        self._headers = headers or {}
        self._prefix = prefix

    def get(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        """Request ``url``, which is on the server that this connection was made for."""
        address = urlsplit(url)
        self._connection.request(
            "GET",
            f"{self._prefix}{address.path}?{address.query}",
            headers={**self._headers, **headers},
        )
        return self._connection.getresponse()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def _proxy(address: SplitResult) -> SplitResult | None:
    url = urllib.request.getproxies().get(address.scheme)
    if not url or urllib.request.proxy_bypass(address.netloc):
        return None
    proxy = urlsplit(url if "//" in url else f"http://{url}")
    if proxy.scheme != "http":
        raise ProxyError(
            f"only http:// proxies are supported, not the {proxy.scheme}:// one that the "
            f"environment names for {address.scheme}://"
        )
    return proxy


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
