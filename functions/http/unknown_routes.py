"""404 of unknown routes: what may have been meant, or what there is instead."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from functions.http.routing import RouteTable

_CHAT, _TEXT, _MODELS = "/v1/chat/completions", "/v1/completions", "/v1/models"
_MESSAGES, _PROJECTS = "/v1/messages", "/v1/organization/projects"
_LONGEST_PATH = 200
"""Characters; nobody meant a longer one."""

_ALL = "Completions are at POST /v1/chat/completions and POST /v1/completions."
_CHOSEN = "Models are chosen when the server starts"
_UNKNOWN = (("POST", "responses/compact"),)
"""Others' endpoints that routes with parameters match, as if there were a response of that id."""
_OTHERS: tuple[tuple[str, str, str | None], ...] = (
    ("responses/compact", "Responses are not compacted here", "/v1/responses"),
    ("responses", "Of OpenAI's Responses API the rest is not served here", "/v1/responses"),
    ("conversations", "There are no conversations here", "/v1/responses"),
    ("messages|complete", "Of Anthropic's API only messages are served here", _MESSAGES),
    ("embeddings?|api/embed(dings)?", "Models here complete texts and have no embeddings", None),
    ("(re)?rank(ing)?|score|classify|pooling", "Models here complete texts and rank none", None),
    ("audio|speech|transcriptions", "Models here read and write text only, no audio", None),
    ("images|videos", "Models here read and write text only, no images", None),
    ("api/(pull|push|create|copy|delete|blobs)", _CHOSEN, None),
    ("infill", "Texts are filled in by 'prompt' and 'suffix'", _TEXT),
    ("(un)?load_lora_adapter|lora-adapters", "LoRA adapters are not served here", None),
    ("slots", "Slots are not saved, restored or erased here", "/slots"),
    ("models", _CHOSEN, _MODELS),
    ("moderations", "Models here complete texts and moderate none", None),
    (
        "files|uploads|batches|fine[_-]tuning|vector_stores|containers|evals|skills",
        "Nothing but completions is kept here",
        None,
    ),
    ("assistants|threads", "OpenAI's Assistants API is not served here", _CHAT),
    ("realtime", "OpenAI's Realtime API is not served here", _CHAT),
    ("chat", "Chats are completed here", _CHAT),
    ("api/chat", "Ollama's API is not served here", _CHAT),
    ("api/generate", "Ollama's API is not served here", _TEXT),
    ("api/(tags|show|ps|version)", "Ollama's API is not served here", _MODELS),
    ("generate|generate_stream|invocations", "Other servers' own endpoints are not there", _TEXT),
    ("engines/[^/]*/completions", "Models are named in the body here", _TEXT),
    ("openai/deployments/[^/]*/chat", "Azure's paths are not served here", _CHAT),
    ("openai/deployments", "Azure's paths are not served here", _TEXT),
    ("v1beta", "Google's API is not served here", _CHAT),
)
"""Beginnings of others' paths, what to say of them, and what there is in their place."""
_WITHOUT_ACCOUNTS = (
    "organization|projects|key$",
    "This needs accounts, which are off ('--accounts true')",
    None,
)
_WITH_ACCOUNTS = (
    "organization|projects",
    "Of OpenAI's administration API the rest is not served here",
    _PROJECTS,
)


def advice(path: str, routes: RouteTable, method: str | None = None) -> str:
    """A sentence or two on what there is instead of ``path``; empty where nobody can know.

    ``method``, where it is known: a route with parameters (``/v1/models/{model}``) is meant only
    if it takes that.
    """
    if len(path) > _LONGEST_PATH:
        return ""
    for spelling in _spellings(path):
        if spelling not in (path, "/") and _is_there(spelling, routes, method):
            base = "" if spelling.count("v1") == path.count("v1") else _base_url(spelling)
            return f"Did you mean {spelling}?{base}"
    bare = _bare(path)
    accounts = _WITH_ACCOUNTS if routes.template(_PROJECTS) else _WITHOUT_ACCOUNTS
    for beginning, sentence, instead in (accounts, *_OTHERS):
        if re.match(rf"({beginning})(?=[/:]|$)", bare):
            return f"{sentence}: see {instead}." if instead else f"{sentence}. {_ALL}"
    if near := get_close_matches(path.lower(), routes.plain, n=1, cutoff=0.7):
        return f"Did you mean {near[0]}?"
    return _ALL


def is_unknown(path: str, method: str) -> bool:
    """Whether ``path`` is an endpoint of others' that a route matches without being meant."""
    return (method, _bare(path)) in _UNKNOWN


def why_not_taken(path: str) -> str:
    """A sentence on why a route of ours does not take a method; empty where there is no more."""
    return f"{_CHOSEN}." if re.match(r"models(/|$)", _bare(path)) else ""


def _is_there(path: str, routes: RouteTable, method: str | None) -> bool:
    """Whether there is such a route, and not just for another ``method`` by chance."""
    if path in routes.plain or method is None:
        return routes.template(path) is not None
    return method in routes.methods(path)


def _base_url(path: str) -> str:
    """What clients need for a base URL that ask for ``path``."""
    return " A base URL ends without /v1." if path == _MESSAGES else " A base URL ends with /v1."


def _bare(path: str) -> str:
    """The path without slashes around it, the version, and prefixes of gateways."""
    bare = re.sub(r"/{2,}", "/", path.strip().lower()).strip("/")
    return re.sub(r"^(openai/|api/)?(v1(/|$))+", "", bare)


def _spellings(path: str) -> Iterator[str]:
    """Paths that may have been meant: with one slash each, none at the end, and one version."""
    tidy = "/" + re.sub(r"/{2,}", "/", path.strip()).strip("/")
    for plain in (tidy, tidy.lower()):
        yield plain
        bare = re.sub(r"^/(openai/|api/)?(v1(/|$))+", "", plain).strip("/")
        yield f"/v1/{bare}"
        yield f"/{bare}"
