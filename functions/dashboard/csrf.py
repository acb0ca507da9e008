"""CSRF protection: a token that is bound to the session, and what browsers tell of a form's origin.

`SameSite=Strict` keeps other sites' pages from sending the cookie at all; this holds where a
browser does not know that, and where pages are open and there is no cookie.

https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.protocol.errors import APIError

if TYPE_CHECKING:
    from starlette.requests import Request

FIELD = "csrf_token"
HEADER = "x-csrf-token"

_NO_SESSION = "no session"
_PURPOSE = "pilotlight.dashboard.csrf"


def csrf_token(secret: bytes, session_id: str | None) -> str:
    """The token of a session's forms, or of those that need none."""
    message = f"{_PURPOSE}:{session_id or _NO_SESSION}"
    return hmac.digest(secret, message.encode(), "sha256").hex()


def check_token(sent: str | None, expected: str) -> None:
    """Raise `APIError` 403 unless a form was sent with its session's token."""
    if sent is None or not hmac.compare_digest(sent.encode(), expected.encode()):
        raise _refused("This form is too old, or of another session. Load the page again.")


def check_origin(request: Request) -> None:
    """Raise `APIError` 403 for a form of another origin's page.

    ``Sec-Fetch-Site`` is asked first: it holds whatever name a proxy calls this server by. Browsers
    that don't send it send ``Origin``.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        is_own = site == "same-origin"
    else:
        is_own = origin is not None and urlsplit(origin).netloc == request.headers.get("host")
    if not is_own:
        raise _refused("This form was not sent from a page of this server.")


def _refused(message: str) -> APIError:
    return APIError(403, message, type="permission_error")
