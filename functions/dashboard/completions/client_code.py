"""Code that sends a stored completion's request once more: for curl, and for OpenAI's package."""

from __future__ import annotations

import json
import pprint
import shlex
from collections.abc import Mapping
from typing import Any

import orjson

from functions.dashboard.formats import HIDDEN
from shared.storage.types import Kind, StoredCompletion

MAX_CHARACTERS = 60_000
"""A request with more is better sent from a file than from a command line."""

_ENDPOINTS: Mapping[Kind, str] = {"chat": "chat/completions", "text": "completions"}
_REQUIRED: Mapping[Kind, tuple[str, ...]] = {
    "chat": ("model", "messages"),
    "text": ("model", "prompt"),
}
_METHODS: Mapping[Kind, str] = {"chat": "chat.completions", "text": "completions"}
_NOT_SENT = ("stream", "stream_options")
"""The answer is easier to look at whole."""


def curl_code(completion: StoredCompletion, base_url: str) -> str:
    """A command for a shell; quoted, whatever the request has in it."""
    body = json_text(_request(completion))
    data = "@request.json" if len(body) > MAX_CHARACTERS else visible_json(body)
    return (
        f"curl {shlex.quote(f'{base_url}/{_ENDPOINTS[completion.kind]}')} \\\n"
        '  -H "Authorization: Bearer $PILOTLIGHT_API_KEY" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  --data {shlex.quote(data)}"
    )


def python_code(completion: StoredCompletion, base_url: str) -> str:
    """A program with the package ``openai``.

    Its method takes no fields that OpenAI does not have; ``extra_body`` takes all.
    """
    endpoint, required = _METHODS[completion.kind], _REQUIRED[completion.kind]
    setup = (
        "from openai import OpenAI\n\n"
        f"client = OpenAI(base_url={base_url!r}, api_key=os.environ['PILOTLIGHT_API_KEY'])\n"
    )
    if len(json_text(_request(completion))) > MAX_CHARACTERS:
        arguments = "".join(f"    {name}=request.pop({name!r}),\n" for name in required)
        setup = f"import json\nimport os\n\n{setup}request = json.load(open('request.json'))\n"
        rest = "request"
    else:
        request = _request(completion)
        arguments = "".join(f"    {name}={_literal(request.pop(name))},\n" for name in required)
        setup = f"import os\n\n{setup}"
        rest = _literal(request)
    return (
        f"{setup}answer = client.{endpoint}.create(\n{arguments}    extra_body={rest},\n)\n"
        "print(answer.choices[0])"
    )


def json_text(value: object) -> str:
    """JSON, indented."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str)
    return text.decode("utf-8", "replace")


def visible_json(text: str) -> str:
    """JSON with escapes for characters that can't be seen: for eyes, and for programs.

    To be cut before: 6 MB take 0.1 s, in which no other thread of the process runs.
    """
    return HIDDEN.sub(lambda match: json.dumps(match[0])[1:-1], text)


def _request(completion: StoredCompletion) -> dict[str, Any]:
    request = {"model": completion.model, **completion.request}
    request.setdefault(_REQUIRED[completion.kind][1], None)
    return {name: value for name, value in request.items() if name not in _NOT_SENT}


def _literal(value: object) -> str:
    """A literal of Python's, in lines that begin four columns further on."""
    text = pprint.pformat(value, sort_dicts=False, width=88)
    return text.replace("\n", "\n    ")
