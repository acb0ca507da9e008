"""Handling of requests for pages: who looks, CSRF, errors as pages, headers of security.

Every page goes through `Dashboard`, so that none can forget one of them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

from starlette.datastructures import ImmutableMultiDict
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from functions.dashboard import csrf
from functions.dashboard.forms import Form, read_form
from functions.dashboard.paths import ROOT, base_url, url
from functions.dashboard.rendering import rendered, secure
from functions.dashboard.session import Sessions
from functions.dashboard.static_files import static_files
from functions.dashboard.viewer import Viewer, viewer_of
from shared.protocol.errors import APIError, accounts_unavailable, server_error
from shared.runtime.request_context import note_error, request_context
from shared.runtime.state import ServerState
from shared.storage.base import DamagedCompletionError, StoreError

_log = logging.getLogger("pilotlight.dashboard")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """A request for a page, as handlers get it.

    - ``viewer``: who looks; None on pages for anybody, where nobody has signed in.
    - ``form``: the fields of a form that was posted, its CSRF token checked.
    - ``csrf_token``: for forms of the page.
    """

    request: Request
    state: ServerState
    sessions: Sessions
    found_viewer: Viewer | None
    form: Form
    csrf_token: str

    @property
    def viewer(self) -> Viewer:
        """Who looks, on pages that are for those who have signed in."""
        assert self.found_viewer is not None
        return self.found_viewer

    @property
    def path(self) -> str:
        """The page's path."""
        path: str = self.request.scope["path"]
        return path

    def url(self, page: str, **query: object) -> str:
        """The URL of another page, such as ``completions``; parameters that are None are left out.

        As Python's keywords end there, ``from_`` is the parameter ``from``.
        """
        return url(self.path, page, {name.rstrip("_"): value for name, value in query.items()})

    async def render(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page of ``templates/``, rendered on a thread: it may show megabytes."""
        shown = {**self.values(), **values}
        body = await request_context().on_thread(lambda: rendered(template, shown))
        return Response(body, status, media_type="text/html")

    def redirect(self, page: str, **query: object) -> Response:
        """To another page, by GET."""
        return RedirectResponse(self.url(page, **query), 303)

    def values(self) -> dict[str, Any]:
        """What all templates know."""
        return {
            "url": self.url,
            "static": lambda name: self.url(f"static/{static_files()[name].url_name}"),
            "base_url": base_url(self.request),
            "viewer": self.found_viewer,
            "csrf_token": self.csrf_token,
            "csrf_field": csrf.FIELD,
            "path": self.path.removeprefix(ROOT).strip("/"),
            "has_accounts": self.state.settings.accounts,
        }


Handler = Callable[[PageRequest], Awaitable[Response]]
Access = Literal["anybody", "viewer", "admin"]


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its path under ``/dashboard``, who makes it, and who may see it.

    ``body``: what is posted, a ``form`` with its token in a field, or ``other``, which the handler
    reads, with the token in the header ``x-csrf-token``.
    """

    path: str
    handler: Handler
    method: Literal["GET", "POST"] = "GET"
    access: Access = "viewer"
    body: Literal["form", "other"] = "form"


class Dashboard:
    """All pages of one server."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._sessions = Sessions(state)

    def route(self, page: Page) -> Route:
        """The route of a page."""

        async def endpoint(request: Request) -> Response:
            return secure(await self._answer(page, request))

        return Route(f"{ROOT}{page.path}", endpoint, methods=[page.method])

    async def _answer(self, page: Page, request: Request) -> Response:
        visit: PageRequest | None = None
        try:
            if page.method == "POST":
                csrf.check_origin(request)
            visit = await self._visit(request)
            if page.access != "anybody" and visit.found_viewer is None:
                return await _to_sign_in(visit)
            if page.access == "admin" and not visit.viewer.is_admin:
                raise APIError(403, "This page is for administrators: sign in with an admin key.")
            if page.method == "POST":
                visit = await self._with_form(page, visit)
            return await page.handler(visit)
        except ClientDisconnect:
            raise
        except Exception as error:
            return await self._error_page(request, visit, _as_api_error(error))

    async def _visit(self, request: Request) -> PageRequest:
        viewer = await viewer_of(request, self._state, self._sessions)
        if viewer is not None:
            request_context().caller = viewer.caller
        session = viewer.session if viewer is not None else None
        token = csrf.csrf_token(await self._sessions.secret(), session.id if session else None)
        return PageRequest(
            request=request,
            state=self._state,
            sessions=self._sessions,
            found_viewer=viewer,
            form=ImmutableMultiDict(),
            csrf_token=token,
        )

    async def _with_form(self, page: Page, visit: PageRequest) -> PageRequest:
        """With what was posted; raises `APIError` 403 where the token is wrong."""
        if page.body == "other":
            csrf.check_token(visit.request.headers.get(csrf.HEADER), visit.csrf_token)
            return visit
        form = await read_form(visit.request)
        csrf.check_token(form.get(csrf.FIELD), visit.csrf_token)
        return PageRequest(
            request=visit.request,
            state=visit.state,
            sessions=visit.sessions,
            found_viewer=visit.found_viewer,
            form=form,
            csrf_token=visit.csrf_token,
        )

    async def _error_page(
        self, request: Request, visit: PageRequest | None, error: APIError
    ) -> Response:
        note_error(error)
        page = visit or PageRequest(
            request=request,
            state=self._state,
            sessions=self._sessions,
            found_viewer=None,
            form=ImmutableMultiDict(),
            csrf_token="",
        )
        response = await page.render("error.html", error.status, error=error)
        for name in ("retry-after", "connection"):
            if name in error.headers:
                response.headers[name] = error.headers[name]
        return response


async def _to_sign_in(visit: PageRequest) -> Response:
    """Where to sign in, and then to the page that was asked for."""
    request = visit.request
    if request.method != "GET":
        raise APIError(401, "Your session has ended. Sign in, and send the form again.")
    asked = visit.path.removeprefix(ROOT).strip("/")
    query = f"?{urlencode(request.query_params.multi_items())}" if request.url.query else ""
    target = visit.url("sign-in", next=f"{asked}{query}" if asked else None)
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"hx-redirect": target})
    if request.headers.get("sec-fetch-site") == "cross-site":
        # A link on another site's page: browsers keep the cookie (SameSite=Strict) until this
        # server's own page asks once more.
        return await visit.render("again.html", 401)
    return RedirectResponse(target, 303)


def _as_api_error(error: Exception) -> APIError:
    """What went wrong, for whoever looks; the log has what is not for them."""
    from shared.accounts.types import AccountError, UnknownAccountError

    if isinstance(error, APIError):
        return error
    if isinstance(error, AccountError):
        return APIError(404 if isinstance(error, UnknownAccountError) else 400, str(error))
    if isinstance(error, DamagedCompletionError):
        _log.error("%s", error)
        return APIError(500, "This completion is damaged: it can't be read, but it can be deleted.")
    if isinstance(error, StoreError):
        _log.error("the store failed: %s", error)
        headers = accounts_unavailable().headers
        return APIError(503, "The store does not answer. Try again shortly.", headers=headers)
    _log.error("request %s failed", request_context().request_id, exc_info=error)
    return server_error()
