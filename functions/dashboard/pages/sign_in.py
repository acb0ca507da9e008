"""Sign-in and sign-out: a key is pasted once, and becomes a session."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from functions.dashboard.handling import PageRequest
from functions.dashboard.paths import safe_next, url
from functions.dashboard.session import COOKIE, SECONDS
from shared.runtime.key_owner import owner_of_key
from shared.runtime.request_context import request_context

_FIRST_PAGE = "completions"
_LONGEST_KEY = 512
"""Characters, as much as the API takes."""


async def show_sign_in(page: PageRequest) -> Response:
    """The form; who has signed in needs none."""
    asked = safe_next(page.request.query_params.get("next"))
    if page.found_viewer is not None:
        return _to(page, asked)
    return await _form(page, asked, None)


async def sign_in(page: PageRequest) -> Response:
    """Take a key, and give a session for it.

    A wrong one takes as long as the API takes to refuse it: settings' keys are compared in constant
    time, and what has no key's checksum reaches no store.
    """
    asked = safe_next(page.form.get("next"))
    if not page.state.settings.needs_key:
        return _to(page, asked)
    key = page.form.get("key", "").strip()
    caller = None
    if key and len(key) <= _LONGEST_KEY:
        caller = await owner_of_key(page.state, key.encode())
    if caller is None:
        problem = "This is no valid key of this deployment." if key else "Paste a key."
        return await _form(page, asked, problem)
    request_context().caller = caller
    _, cookie = await page.sessions.issue(caller)
    response = _to(page, asked)
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=SECONDS,
        path=None,  # where this page is: whatever prefix a proxy puts in front of it
        secure=not _is_plain_loopback(page.request),
        httponly=True,
        samesite="strict",
    )
    return response


async def sign_out(page: PageRequest) -> Response:
    """End the session in this browser."""
    response = page.redirect("sign-in")
    response.set_cookie(
        COOKIE,
        "",
        max_age=0,
        path=None,
        secure=not _is_plain_loopback(page.request),
        httponly=True,
        samesite="strict",
    )
    return response


async def _form(page: PageRequest, asked: str | None, problem: str | None) -> Response:
    """The form. Browsers tell where requests come from over TLS and on loopback only."""
    is_plain = page.request.url.scheme == "http" and not _is_plain_loopback(page.request)
    status = 200 if problem is None else 401
    will_drop_cookie = is_plain and "sec-fetch-site" not in page.request.headers
    return await page.render(
        "sign_in.html", status, next=asked, problem=problem, will_drop_cookie=will_drop_cookie
    )


def _to(page: PageRequest, asked: str | None) -> Response:
    return RedirectResponse(url(page.path, asked or _FIRST_PAGE), 303)


def _is_plain_loopback(request: Request) -> bool:
    """Whether the browser is on this machine, without TLS: it would drop a cookie for TLS only."""
    if request.url.scheme != "http":
        return False
    name = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
