"""Routes of the dashboard: all pages, and the files that they load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from functions.dashboard.handling import Dashboard, Page, PageRequest
from functions.dashboard.page_table import PAGES
from functions.dashboard.pages.playground import Complete, playground_pages
from functions.dashboard.paths import ROOT
from functions.dashboard.rendering import secure
from functions.dashboard.static_files import by_url_name
from shared.protocol.errors import APIError

if TYPE_CHECKING:
    from shared.runtime.state import ServerState


def dashboard_routes(state: ServerState, complete: Complete | None = None) -> list[BaseRoute]:
    """The routes of a server; ``complete``: what answers ``POST /v1/chat/completions`` there."""
    dashboard = Dashboard(state)
    pages = (
        Page("", _first_page),
        Page("/", _first_page),
        *PAGES,
        *playground_pages(complete),
        Page("/{page:path}", _unknown_page),
    )
    return [Route(f"{ROOT}/static/{{name}}", _static_file), *map(dashboard.route, pages)]


def leads_to_dashboard(request: Request) -> bool:
    """Whether a browser asks, for a person: clients of the API get what they always got."""
    return "text/html" in request.headers.get("accept", "")


async def _first_page(page: PageRequest) -> Response:
    return page.redirect("completions")


async def _unknown_page(_: PageRequest) -> Response:
    raise APIError(404, "There is no such page.")


async def _static_file(request: Request) -> Response:
    file = by_url_name().get(request.path_params["name"])
    if file is None:
        return secure(Response("There is no such file.", 404, media_type="text/plain"))
    headers = {"cache-control": "public, max-age=31536000, immutable"}
    return secure(Response(file.content, 200, headers, file.media_type))
