"""URLs of pages: relative ones, so that they hold behind any proxy, prefix or stage."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from starlette.requests import Request

ROOT = "/dashboard"

_NEXT = re.compile(
    r"(?!.*(\.\.|//))"
    r"[A-Za-z0-9._~-][A-Za-z0-9._~/%-]*"
    r"(\?[A-Za-z0-9._~/%&=+:,\[\]-]*)?"
)
_LONGEST_NEXT = 2000
"""Characters."""


def is_dashboard(path: str) -> bool:
    """Whether ``path`` is one of the dashboard's."""
    return path == ROOT or path.startswith(f"{ROOT}/")


def url(path: str, page: str, query: Mapping[str, object] | None = None) -> str:
    """The URL of ``page``, such as ``completions``, as seen from the page at ``path``.

    ``query``: its parameters; those that are None or empty are left out.
    """
    up = "../" * (path.count("/") - 1)
    parameters = {name: value for name, value in (query or {}).items() if value not in (None, "")}
    asked = f"?{urlencode(parameters, doseq=True)}" if parameters else ""
    return f"{up}dashboard/{page}{asked}"


def base_url(request: Request) -> str:
    """The base URL of the API as the browser reaches it, such as ``https://HOST/v1``.

    API Gateway's REST API puts its stage before the paths, and tells of it in its events alone.
    """
    scope = request.scope
    prefix = scope.get("root_path", "")
    full = scope.get("aws.event", {}).get("requestContext", {}).get("path", "")
    if full.endswith(scope["path"]):
        prefix = full.removesuffix(scope["path"])
    return f"{request.url.scheme}://{request.url.netloc}{prefix}/v1"


def safe_next(text: str | None) -> str | None:
    """``text`` if it is a page of the dashboard, with its query; None for anything else.

    Pages are spelled as `url` takes them: without scheme, host or a slash at the beginning, so that
    nothing leads elsewhere.
    """
    if not text or len(text) > _LONGEST_NEXT or _NEXT.fullmatch(text) is None:
        return None
    return text
