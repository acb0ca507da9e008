"""Origin and Host check (CSRF, DNS rebinding) of a server that needs no key.

Whatever runs in a browser on this machine reaches a server on loopback. A page of any site may post
to it, which the browser allows for plain text, and one whose own name has been given this machine's
address (DNS rebinding) may read the answers, too. Browsers tell in both cases whose page it is, and
pages can't forge that.

https://developer.mozilla.org/en-US/docs/Web/HTTP/Headers/Sec-Fetch-Site
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from shared.protocol.errors import APIError

if TYPE_CHECKING:
    from functions.http.cors import CrossOriginPolicy

_AUTHORITY = r"(?:\[(?P<ipv6>[0-9a-f:.]+)\]|(?P<name>[^\[\]:/?#@\s]+?)\.?)(?::[0-9]{0,5})?"
_HOST = re.compile(_AUTHORITY)
_ORIGIN = re.compile(r"[a-z][a-z0-9+.\-]*://" + _AUTHORITY)
_NAMES = (b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest")
_SHOWN_CHARACTERS = 100
_REMEMBERED = 64
"""Values of headers, of which a client sends one all the time: to read an address takes 30 us."""


class OriginGuard:
    """Lets requests of programs on this machine and of its own pages pass, and no others."""

    def __init__(
        self, allowed_hosts: Sequence[str] = (), cors: CrossOriginPolicy | None = None
    ) -> None:
        """Options of a guard.

        - ``allowed_hosts``: names and addresses like loopback's, without ports.
        - ``cors``: whose pages may send requests besides.
        """
        self._allowed = frozenset(host.lower() for host in allowed_hosts)
        self._cors = cors
        self._is_own = lru_cache(_REMEMBERED)(self._read_is_own)

    def check(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raise `APIError` 403 for a request from elsewhere."""
        fetch: dict[bytes, bytes] = {}
        for name, value in headers:
            if name not in _NAMES:
                continue
            if name == b"host" and not self._is_own(_HOST, value):
                raise _foreign_host(value)
            if name == b"origin" and not self._is_allowed_origin(value):
                raise _foreign_origin("Origin", value)
            fetch[name] = value.lower()
        is_cross_site = fetch.get(b"sec-fetch-site") == b"cross-site" and b"origin" not in fetch
        if is_cross_site and not _is_link(method, fetch):
            raise _foreign_origin("Sec-Fetch-Site", fetch[b"sec-fetch-site"])

    def _is_allowed_origin(self, value: bytes) -> bool:
        return self._is_own(_ORIGIN, value) or (self._cors is not None and self._cors.allows(value))

    def _read_is_own(self, pattern: re.Pattern[str], value: bytes) -> bool:
        match = pattern.fullmatch(value.decode("latin-1").strip().lower())
        if match is None:
            return False
        name = match["name"] or match["ipv6"]
        return name in self._allowed or _is_loopback(name)


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _is_link(method: str, fetch: dict[bytes, bytes]) -> bool:
    """Whether somebody follows a link, as to /docs: the other page neither sends nor reads."""
    return (
        method == "GET"
        and fetch.get(b"sec-fetch-mode") == b"navigate"
        and fetch.get(b"sec-fetch-dest") == b"document"
    )


def _foreign_host(value: bytes) -> APIError:
    message = _message("to another host", "Host", value, "the host's name (--allowed-hosts NAME)")
    return APIError(403, message, type="permission_error", code="foreign_host")


def _foreign_origin(header: str, value: bytes) -> APIError:
    option = "the page's origin (--cors-origins ORIGIN, or --allowed-hosts NAME for its host)"
    message = _message("from other sites' pages", header, value, option)
    return APIError(403, message, type="permission_error", code="foreign_origin")


def _message(what: str, header: str, value: bytes, option: str) -> str:
    shown = "".join(c for c in value.decode("latin-1")[:_SHOWN_CHARACTERS] if c.isprintable())
    return (
        f"Without an API key, requests {what} are refused ({header}: {shown}). If this one is "
        f"meant to be answered, start the server with a key (--api-key KEY), or with {option}."
    )
