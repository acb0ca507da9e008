"""A thousand malformed requests: never a 5xx, always the envelope, and the server serves on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.protocol.openai.completions import CompletionRequest
from tests.conftest import API_KEY
from tests.server import CAPITAL, Server
from tests.sweeps import examples

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
VALID: dict[str, dict[str, Any]] = {
    CHAT: {"messages": CAPITAL, "max_tokens": 1},
    TEXT: {"prompt": "Once upon a time", "max_tokens": 1},
}
FIELDS = {
    CHAT: sorted(ChatCompletionRequest.attributes()),
    TEXT: sorted(CompletionRequest.attributes()),
}
EXAMPLES = 500
"""For each of three kinds of requests, of which about three in four are malformed."""

fast = settings(
    max_examples=examples(EXAMPLES),
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)

endpoints = st.sampled_from(sorted(VALID))
numbers = st.one_of(
    st.integers(-3, 200),
    st.integers(),
    st.sampled_from([2**31, 2**32, 2**53 + 1, 2**63, 2**64, -(2**64), 10**30, 10**400]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1e-320, 1e308, -1e308]),
)
strings = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            "",
            " ",
            "\x00",
            "\u202e",
            "\ufeff",
            "é",
            "𝄞",
            "null",
            "NaN",
            "0",
            "-1",
            "<|im_end|>",
            "{{",
        ]
    ),
    st.builds(
        lambda c, n: c * n, st.sampled_from("a\n\x00é🔥"), st.sampled_from([300, 5000, 40000])
    ),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, strings)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


def nested(depth: int, shape: str) -> Any:
    """Arrays or objects in each other."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if shape == "[" else {"a": value}
    return value


deep = st.builds(nested, st.sampled_from([5, 100, 190]), st.sampled_from("[{"))

roles = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function", "x", ""])
parts = st.one_of(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "refusal", "image_url", "input_audio", "file", ""])},
        optional={"text": scalars, "refusal": scalars, "image_url": values},
    ),
    values,
)
messages = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {},
            optional={
                "role": st.one_of(roles, scalars),
                "content": st.one_of(strings, values, st.lists(parts, max_size=3)),
                "name": scalars,
                "tool_calls": st.one_of(
                    values,
                    st.lists(
                        st.fixed_dictionaries(
                            {}, optional={"id": scalars, "type": scalars, "function": values}
                        ),
                        max_size=2,
                    ),
                ),
                "tool_call_id": scalars,
                "function_call": values,
                "user": values,
            },
        ),
        scalars,
    ),
    max_size=3,
)
prompts = st.lists(
    st.one_of(st.integers(-2, 2000), strings, st.lists(st.one_of(st.integers(-2, 2000), scalars))),
    max_size=5,
)
tools = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["function", "x"])},
        optional={
            "function": st.fixed_dictionaries(
                {},
                optional={
                    "name": st.one_of(st.sampled_from(["f", "a b"]), scalars),
                    "description": scalars,
                    "parameters": st.one_of(values, deep),
                },
            )
        },
    ),
    max_size=3,
)
special = {
    **dict.fromkeys(
        (
            "temperature",
            "top_p",
            "min_p",
            "typical_p",
            "presence_penalty",
            "frequency_penalty",
            "repeat_penalty",
            "n",
            "best_of",
            "seed",
            "logprobs",
            "top_logprobs",
            "top_k",
            "min_tokens",
            "repeat_last_n",
            "max_tokens",
            "max_completion_tokens",
        ),
        numbers,
    ),
    "messages": messages,
    "prompt": prompts,
    "tools": tools,
    "logit_bias": st.dictionaries(
        st.one_of(st.integers(-1, 2000).map(str), st.text(max_size=5)), numbers, max_size=3
    ),
    "stop": st.lists(strings, max_size=18),
    "chat_template_kwargs": st.dictionaries(
        st.sampled_from(["messages", "namespace", "range", "raise_exception", "self", "text", "x"]),
        st.one_of(scalars, values, deep),
        max_size=2,
    ),
    "stream_options": st.fixed_dictionaries(
        {}, optional={"include_usage": scalars, "other": values}
    ),
}


@st.composite
def mutated_bodies(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """An endpoint and a valid body of which one to three fields were replaced or removed."""
    path = draw(endpoints)
    body = dict(VALID[path])
    for _ in range(draw(st.integers(1, 3))):
        field = draw(st.one_of(st.sampled_from(FIELDS[path]), st.text(max_size=20)))
        if field in body and draw(st.integers(0, 5)) == 0:
            del body[field]
        else:
            strategies = [values, scalars, deep]
            if field in special:
                strategies += [special[field]] * 6
            body[field] = draw(st.one_of(strategies))
    return path, body


LITERALS = [
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e999",
    b"-1e999",
    b"9" * 400,
    b"9" * 5000,
    b"-" + b"9" * 4299,
    b"0.0000000000000000000000000000001",
    b"01",
    b"+1",
    b".5",
    b"1.",
    b"True",
    b"undefined",
    b"'x'",
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\\u0000"',
    b'"\\x"',
    b'"\xff\xfe"',
    b'"\xc3"',
    b'"\xed\xa0\x80"',
    b'"\n"',
    b'"unclosed',
    b"[" * 150 + b"]" * 150,
    b"[" * 50_000 + b"]" * 50_000,
    b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    b"[" * 50_000,
    b"/* comment */ 1",
    b"",
    b"1, 2",
    b"{}",
    b"[[]]",
    b'"' + b"x" * 200_000 + b'"',
    b"[" + b"0," * 20_000 + b"0]",
]


@st.composite
def raw_bodies(draw: st.DrawFn) -> tuple[str, bytes]:
    """An endpoint and a body in which a value is written as no serialiser would write it."""
    path = draw(endpoints)
    field = draw(st.one_of(st.sampled_from(FIELDS[path]), st.just("unknown")))
    literal = draw(st.sampled_from(LITERALS))
    valid = json.dumps(VALID[path]).encode()
    position = draw(st.sampled_from(["before", "after"]))
    pair = b'"' + field.encode() + b'": ' + literal
    if position == "before":
        return path, b"{" + pair + b", " + valid[1:]
    return path, valid[:-1] + b", " + pair + b"}"


@st.composite
def bytes_and_encodings(draw: st.DrawFn) -> tuple[str, bytes]:
    """An endpoint and bytes: random ones, valid bodies cut, damaged or in another encoding."""
    path = draw(endpoints)
    valid = json.dumps({**VALID[path], "user": "Ada é 🔥"}, ensure_ascii=False)
    kind = draw(st.sampled_from(["random", "cut", "damaged", "encoded", "value"]))
    if kind == "random":
        return path, draw(st.binary(max_size=200))
    if kind == "encoded":
        names = ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "utf-7"]
        return path, valid.encode(draw(st.sampled_from(names)), "replace")
    data = valid.encode()
    if kind == "value":
        return path, json.dumps(draw(values)).encode()
    at = draw(st.integers(0, len(data) - 1))
    if kind == "cut":
        return path, data[:at]
    return path, data[:at] + draw(st.binary(min_size=1, max_size=3)) + data[at + 1 :]


@pytest.fixture(scope="module")
def http(keyed_server: Server) -> Iterator[httpx2.Client]:
    """A client of the server whose completions are short, whatever a mutation asks for."""
    headers = {"authorization": f"Bearer {API_KEY}", "content-type": "application/json"}
    with keyed_server.client(headers=headers) as http:
        yield http
        assert http.post(CHAT, json=VALID[CHAT]).status_code == 200
        assert http.get("/metrics").text.count("pilotlight_failed_sequences_total 0.0") == 1


def check(http: httpx2.Client, path: str, body: bytes) -> None:
    """Send ``body``: the answer is a completion, or an envelope that tells what is wrong."""
    response = http.post(path, content=body)
    if response.status_code == 200:
        return
    assert 400 <= response.status_code < 500, response.text
    envelope = response.json()
    assert list(envelope) == ["error"]
    error = envelope["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    if response.status_code == 413 or error["code"] == "invalid_json":
        assert error["param"] is None
        return
    sent = json.loads(body, parse_int=float)  # Python's own take 4,300 digits at most
    if not isinstance(sent, dict):
        assert error["param"] is None
        return
    assert isinstance(error["param"], str)
    named = [name for name in {*sent, "messages", "prompt"} if error["param"].startswith(name)]
    assert any(error["param"].removeprefix(name)[:1] in ("", ".", "[") for name in named)


@pytest.mark.slow
@fast
@given(request=mutated_bodies())
def test_wrong_types_and_values_are_refused(
    http: httpx2.Client, request: tuple[str, dict[str, Any]]
) -> None:
    path, body = request
    check(http, path, json.dumps(body).encode())


@fast
@given(request=raw_bodies())
def test_strange_literals_are_refused(http: httpx2.Client, request: tuple[str, bytes]) -> None:
    check(http, *request)


@pytest.mark.slow
@fast
@given(request=bytes_and_encodings())
def test_bytes_that_are_no_json_are_refused(
    http: httpx2.Client, request: tuple[str, bytes]
) -> None:
    check(http, *request)
