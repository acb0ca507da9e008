"""CORS (cross-origin resource sharing): whose web pages may send requests and read the answers.

Starlette's `CORSMiddleware` decides, but is not around the app, for three reasons:

- Its wrapper takes 7.4 us of each request and 0.4 us of each event of a stream, which doubles what
  an event costs in middleware. Adding headers where others are added takes 1.5 us of a request.
- Refusals of connections and of malformed requests are no answers of the app, and need headers too.
- Preflights get an id and a line in the access log, as all requests.

No credentials (cookies) are allowed: callers authenticate by a header, which scripts set.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware

from functions.dashboard.paths import is_dashboard
from functions.http.authentication import DOCS_FILES
from shared.protocol.errors import APIError

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from shared.config.settings import Settings

RawHeaders = Iterable[tuple[bytes, bytes]]

ANY = "*"
LOCALHOST = "localhost"
"""As llama-server has it: pages of this machine, whatever their port."""

_LOOPBACK_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?"
_METHODS = ("GET", "POST", "DELETE")
EXPOSED = (
    *("allow", "openai-processing-ms", "request-id", "retry-after", "www-authenticate"),
    *("x-deadline", "x-ignored-params", "x-pilotlight-served-by", "x-request-id"),
    *("x-should-retry", "x-stored"),
    *(
        f"x-ratelimit-{of}-{what}"
        for of in ("limit", "remaining", "reset")
        for what in ("requests", "tokens")
    ),
)
"""Headers of answers that scripts may read besides those that they always may."""
_PREFLIGHT_SECONDS = 7200
"""For which browsers need not ask again; the most that Chromium takes."""
_PAGES = ("/", "/docs")
"""For people; nobody's script needs them."""
_SHOWN_CHARACTERS = 100

_VARY = (b"vary", b"Origin")
_EXPOSE = (b"access-control-expose-headers", ", ".join(EXPOSED).encode())


class CrossOriginPolicy:
    """Answers preflights, and knows the headers of all other answers."""

    def __init__(self, origins: Iterable[str]) -> None:
        """``origins``: as in `Settings.cors_origins`; some."""
        named = set(origins)
        self._any = ANY in named
        regex = _LOOPBACK_ORIGIN if LOCALHOST in named else None
        self._starlette = CORSMiddleware(
            _no_app,
            allow_origins=[ANY] if self._any else sorted(named - {LOCALHOST}),
            allow_origin_regex=regex,
            allow_methods=_METHODS,
            allow_headers=[ANY],  # clients send many of their own, as x-stainless-*
            allow_private_network=True,
            max_age=_PREFLIGHT_SECONDS,
        )
        self._only = ANY if self._any else named.pop() if len(named) == 1 and not regex else None
        """What every allowed origin is answered, if that is one thing."""

    @classmethod
    def of(cls, settings: Settings) -> CrossOriginPolicy | None:
        """As set; None where nobody is allowed, which costs nothing."""
        return cls(settings.cors_origins) if settings.cors_origins else None

    def allows(self, origin: bytes) -> bool:
        """Whether pages of ``origin`` may send requests."""
        return self._starlette.is_allowed_origin(origin.decode("latin-1"))

    def preflight(self, scope: Scope) -> Response | None:
        """The answer to a preflight; None if it is none. Raises `APIError` 403."""
        if scope["method"] != "OPTIONS" or _is_page(scope["path"]):
            return None
        headers = Headers(scope=scope)
        if "origin" not in headers or "access-control-request-method" not in headers:
            return None
        response = self._starlette.preflight_response(headers)
        if response.status_code != 200:
            raise _not_allowed(headers["origin"], headers["access-control-request-method"])
        return response

    def headers(self, path: str, request_headers: RawHeaders) -> RawHeaders:
        """Headers of the answer to a request that is no preflight."""
        if _is_page(path):
            return ()
        origin = _origin(request_headers)
        if origin is None or not (self._any or self.allows(origin)):
            return (_VARY,)
        allowed = b"*" if self._any else origin
        return ((b"access-control-allow-origin", allowed), _EXPOSE, _VARY)

    def refusal_headers(self, request_headers: RawHeaders) -> RawHeaders:
        """Headers of an answer to a request that has been read in part, or not at all."""
        origin = _origin(request_headers)
        if origin is None and self._only is not None:
            origin = self._only.encode()
        return self.headers("", () if origin is None else ((b"origin", origin),))


def _origin(headers: RawHeaders) -> bytes | None:
    for name, value in headers:
        if name == b"origin":
            return value
    return None


def _is_page(path: str) -> bool:
    return path in _PAGES or path.startswith(DOCS_FILES) or is_dashboard(path)


def _not_allowed(origin: str, method: str) -> APIError:
    shown = "".join(c for c in origin[:_SHOWN_CHARACTERS] if c.isprintable())
    what = f"{method} requests" if method in _METHODS else f"anything but {', '.join(_METHODS)}"
    return APIError(
        403,
        f"Pages of {shown} may not send {what} to this server. Its option --cors-origins names the "
        "origins whose pages may send GET, POST and DELETE.",
        type="permission_error",
        code="origin_not_allowed",
    )


async def _no_app(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """What `CORSMiddleware` would be around."""
