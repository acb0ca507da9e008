"""One stored completion: the conversation, what it took, metadata, deletion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from functions.dashboard.completions.client_code import (
    curl_code,
    json_text,
    python_code,
    visible_json,
)
from functions.dashboard.completions.conversation import conversation_of
from functions.dashboard.completions.texts import mapping, number
from functions.dashboard.completions.token_probabilities import MAX_IN_TABLE
from functions.dashboard.formats import clipped
from functions.dashboard.handling import PageRequest
from functions.dashboard.rendering import rendered
from functions.dashboard.tenants import PARAMETER, tenant_of
from shared.protocol.errors import APIError
from shared.protocol.strict import Metadata
from shared.runtime.request_context import request_context
from shared.storage.id_range import PREFIXES
from shared.storage.types import Kind, StoredCompletion

MAX_RAW = 100_000
"""Characters of JSON that a page shows; the file has all of it."""
_MAX_PAIRS = 16
_SHOWN_ELSEWHERE = frozenset(
    {"messages", "prompt", "metadata", "model", "tools", "functions", "response_format", "store"}
)


async def show_completion(page: PageRequest) -> Response:
    """The page of a completion."""
    return await _show(page, await _found(page))


async def update_metadata(page: PageRequest) -> Response:
    """Replace the metadata by the form's pairs; a pair without a name is left out."""
    tenant, kind, completion_id = _place(page)
    names, values = (
        [text.replace("\r\n", "\n") for text in page.form.getlist(field)]  # as browsers send them
        for field in ("name", "value")
    )
    pairs = [pair for pair in zip(names, values, strict=False) if pair[0].strip() or pair[1]]
    problem = _problem(pairs)
    if problem is not None:
        return await _show(page, await _found(page), problem, pairs)
    updated = await page.state.stores.in_store(
        lambda store: store.update_metadata(tenant, kind, completion_id, dict(pairs))
    )
    if updated is None:
        raise _not_found()
    return page.redirect(
        f"completions/{quote(completion_id, safe='')}",
        project=page.request.query_params.get(PARAMETER),
        saved="1",
    )


async def confirm_deletion(page: PageRequest) -> Response:
    """Ask once more; what is damaged can be deleted as well."""
    _, _, completion_id = _place(page)
    return await page.render("delete_completion.html", **_links(page, completion_id))


async def delete_completion(page: PageRequest) -> Response:
    """Delete a completion, body and all."""
    tenant, kind, completion_id = _place(page)
    if not await page.state.stores.in_store(
        lambda store: store.delete(tenant, kind, completion_id)
    ):
        raise _not_found()
    return page.redirect(
        "completions",
        project=page.request.query_params.get(PARAMETER),
        kind="text" if kind == "text" else None,
        deleted="1",
    )


async def download_completion(page: PageRequest) -> Response:
    """All that is stored, as a file."""
    return await _file(page, await _found(page), "")


async def download_request(page: PageRequest) -> Response:
    """The request's body, as a file."""
    return await _file(page, await _found(page), "request")


async def _file(page: PageRequest, completion: StoredCompletion, part: str) -> Response:
    """JSON as a download, written on a thread: it may have megabytes."""
    value: Any = completion if not part else dict(completion.request)
    name = f"{page.request.path_params['completion_id']}{'.' if part else ''}{part}.json"
    safe = "".join(c for c in name if c.isascii() and (c.isalnum() or c in "._-"))
    body = await request_context().on_thread(
        lambda: orjson.dumps(value, option=orjson.OPT_INDENT_2)
    )
    headers = {"content-disposition": f'attachment; filename="{safe}"'}
    return Response(body, headers=headers, media_type="application/json")


async def _show(
    page: PageRequest,
    completion: StoredCompletion,
    problem: str | None = None,
    pairs: list[tuple[str, str]] | None = None,
) -> Response:
    key_name = await _key_name(page, completion)
    common = {
        **page.values(),
        **_links(page, completion.id),
        "key_name": key_name,
        "problem": problem,
        "pairs": list(completion.metadata.items()) if pairs is None else pairs,
        "n_pairs": _MAX_PAIRS,
        "is_saved": "saved" in page.request.query_params,
    }

    def work() -> bytes:
        return rendered("completion.html", {**common, **_shown(completion, common["base_url"])})

    body = await request_context().on_thread(work)
    return Response(body, 200 if problem is None else 400, media_type="text/html")


def _shown(completion: StoredCompletion, base_url: str) -> Mapping[str, Any]:
    """What the template shows of a completion: work that grows with it."""
    request, usage = completion.request, mapping(completion.response.get("usage"))
    raw = json_text(completion)
    details = {**mapping(usage.get("prompt_tokens_details"))}
    details |= mapping(usage.get("completion_tokens_details"))
    parameters = {name: request[name] for name in request if name not in _SHOWN_ELSEWHERE}
    asked = {name: request.get(name) for name in ("tools", "functions", "response_format")}
    decode = number(completion.timings.get("decode_seconds"))
    answered = number(usage.get("completion_tokens"))
    return {
        "completion": completion,
        "timings": {name: number(value) for name, value in completion.timings.items()},
        "conversation": conversation_of(completion),
        "usage": {name: number(usage.get(name)) for name in (*_TOKENS, "cost")},
        "details": {name: number(value) for name, value in details.items() if number(value)},
        "tokens_per_second": answered / decode if answered and decode else None,
        "asked_for": request.get("model") if request.get("model") != completion.model else None,
        "parameters": {**completion.used, **parameters},
        "structures": {
            name: visible_json(clipped(json_text(value))) for name, value in asked.items() if value
        },
        "raw": visible_json(raw[:MAX_RAW]),
        "n_hidden": max(len(raw) - MAX_RAW, 0),
        "curl": curl_code(completion, base_url),
        "python": python_code(completion, base_url),
        "max_in_table": MAX_IN_TABLE,
    }


_TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")


def _links(page: PageRequest, completion_id: str) -> dict[str, Any]:
    """Links of a completion's pages, which name the project where there is one to choose."""
    project = page.request.query_params.get(PARAMETER) if page.viewer.is_admin else None
    here = f"completions/{quote(completion_id, safe='')}"

    def link(action: str = "") -> str:
        return page.url(f"{here}/{action}" if action else here, project=project)

    kind = _kind(completion_id)
    back = page.url("completions", project=project, kind="text" if kind == "text" else None)
    return {"completion_id": completion_id, "link": link, "back": back}


async def _found(page: PageRequest) -> StoredCompletion:
    tenant, kind, completion_id = _place(page)
    found = await page.state.stores.in_store(lambda store: store.get(tenant, kind, completion_id))
    if found is None:
        raise _not_found()
    return found


def _place(page: PageRequest) -> tuple[str, Kind, str]:
    completion_id: str = page.request.path_params["completion_id"]
    return tenant_of(page), _kind(completion_id), completion_id


def _kind(completion_id: str) -> Kind:
    return "text" if completion_id.startswith(f"{PREFIXES['text']}-") else "chat"


async def _key_name(page: PageRequest, completion: StoredCompletion) -> str | None:
    """The name of the key that the request came with, None where it has none any more."""
    key_id = completion.key_id
    if key_id is None or not page.state.settings.accounts or page.state.keys.named(key_id):
        return None
    from shared.accounts.types import UnknownAccountError

    try:
        key = await page.state.stores.in_accounts(lambda a: a.keys.get(completion.tenant, key_id))
    except UnknownAccountError:
        return None
    return key.name


def _problem(pairs: list[tuple[str, str]]) -> str | None:
    """What is wrong with metadata, in words."""
    if len(dict(pairs)) < len(pairs):
        return "A name stands there twice."
    if any(not name.strip() for name, _ in pairs):
        return "A value has no name."
    try:
        TypeAdapter(Metadata).validate_python(dict(pairs))
    except ValidationError as error:
        return str(error.errors()[0]["msg"])
    return None


def _not_found() -> APIError:
    return APIError(404, "There is no such completion: it was deleted, or it has expired.")
