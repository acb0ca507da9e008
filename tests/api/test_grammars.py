"""Grammars and regular expressions: texts follow them, and hostile ones do no harm."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx2
import pytest

from tests.api.openai_types import chat_chunks, chat_completion, text_chunks, text_completion
from tests.api.test_errors import error_of
from tests.server import CAPITAL, Server, running_stream, user

LIST = r"""
# A list of names, each with a number: llama.cpp's format.
root ::= item+ "end"
item ::= "- " name ": " number "\n"   # one a line
name ::= [A-Z] [a-z]{1,8}
number ::= "-"? ([0-9] | [1-9] [0-9]{1,2})
"""
LIST_PATTERN = r"(- [A-Z][a-z]{1,8}: -?([0-9]|[1-9][0-9]{1,2})\n)+end"
SUMS = r"""
root ::= sum " = " [0-9]{1,2}
sum ::= [0-9] | "(" sum " " [-+*] " " sum ")"
"""
LARK = r"""
start: WORD ("," WORD)* "."
WORD: /[a-z]{2,6}/
"""
LARK_PATTERN = r"[a-z]{2,6}(,[a-z]{2,6})*\."
Case = tuple[dict[str, Any], str]
CASES: list[Case] = [
    ({"grammar": LIST}, LIST_PATTERN),
    ({"grammar": LARK}, LARK_PATTERN),
    ({"grammar": 'root ::= "yes" | "no" | ""'}, "yes|no|"),
    (
        {"grammar": 'root ::= name " is " [a-z]{3,5}\nname ::= [A-Za-z ]{1,12}'},
        ".{1,12} is [a-z]{3,5}",
    ),
    ({"grammar": r"root ::= [\u3040-\u309f]{2,4} [🔥é]"}, "[\u3040-\u309f]{2,4}[🔥é]"),
    ({"regex": r"\d{3}-[A-F]{2}"}, r"\d{3}-[A-F]{2}"),
    ({"regex": r"^(yes|no)$"}, "yes|no"),
    ({"regex": r"a/b\n[\"\\]{1,9}é"}, r"a/b\n[\"\\]{1,9}é"),
    ({"regex": "(?i)paris"}, "(?i)paris"),
    ({"regex": "Paris"}, "Paris"),
]
SEEDS = range(4)


@pytest.mark.sweep(1)
@pytest.mark.parametrize(("fields", "pattern"), CASES, ids=[str(case[0])[:50] for case in CASES])
@pytest.mark.parametrize("endpoint", ["chat", "text"])
def test_texts_follow_it(
    server: Server, endpoint: str, fields: dict[str, Any], pattern: str
) -> None:
    """The same text in a body and in a stream; whole unless the limit cuts it."""
    n_whole = 0
    for seed in SEEDS:
        body = {**fields, "seed": seed, "max_tokens": 150}
        if endpoint == "chat":
            choice = chat_completion(server.chat(**body).raise_for_status().content).choices[0]
            text, reason = choice.message.content or "", choice.finish_reason
            chunks = chat_chunks(server.chat(**body, stream=True).text)
            streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        else:
            written = text_completion(server.text(**body).raise_for_status().content).choices[0]
            text, reason = written.text, written.finish_reason
            streamed = "".join(
                chunk.choices[0].text
                for chunk in text_chunks(server.text(**body, stream=True).text)
            )
        assert streamed == text
        assert reason in ("stop", "length")
        if reason == "stop":
            assert re.fullmatch(pattern, text)
            n_whole += 1
    assert n_whole > 0


def test_recursion_is_followed_to_its_end(server: Server) -> None:
    for seed in range(8):
        choice = server.chat(grammar=SUMS, seed=seed, max_tokens=200).json()["choices"][0]
        text = choice["message"]["content"]
        if choice["finish_reason"] == "stop":
            assert text.count("(") == text.count(")")
            assert isinstance(eval(text.partition(" = ")[0]), int)


def test_several_choices_and_prompts_follow_it_each(server: Server) -> None:
    response = server.text(
        prompt=["a", "b"], n=3, regex="[a-z]{4}", logprobs=1, stop=["zz"], seed=4
    ).raise_for_status()

    choices = text_completion(response.content).choices
    assert len(choices) == 6
    for choice in choices:
        assert re.fullmatch("[a-z]{2,4}", choice.text)
        assert choice.logprobs is not None
        assert "".join(choice.logprobs.tokens or ()).startswith(choice.text)


def test_an_answer_that_can_only_be_one_needs_no_end(server: Server) -> None:
    body = chat_completion(server.chat(regex="Paris", max_tokens=100).content)

    assert body.usage is not None
    assert body.usage.completion_tokens <= 5
    assert body.choices[0].finish_reason == "stop"


def nested(depth: int) -> str:
    """A schema of so many levels, as JSON: Python's own writer would refuse."""
    return '{"type":"array","items":' * depth + "{}" + "}" * depth


def chain(n: int) -> dict[str, Any]:
    links = {
        f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}, {"type": "null"}]} for i in range(n)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**links, f"d{n}": {"type": "integer"}}}


@pytest.mark.parametrize("depth", [130, 1000, 10_000])
@pytest.mark.parametrize("field", ["json_schema", "response_format", "tools"])
def test_schemas_of_very_many_levels_are_refused(server: Server, field: str, depth: int) -> None:
    before, after = {
        "json_schema": ("", ""),
        "response_format": ('{"type":"json_schema","json_schema":{"name":"x","schema":', "}}"),
        "tools": ('[{"type":"function","function":{"name":"f","strict":true,"parameters":', "}}]"),
    }[field]
    body = f'{{"messages":{json.dumps(CAPITAL)},"max_tokens":1,"{field}":{before}{nested(depth)}{after}}}'

    response = server.http.post("/v1/chat/completions", content=body)

    assert response.status_code == 400
    assert error_of(response)["type"] == "invalid_request_error"
    assert server.chat(max_tokens=1).status_code == 200


HOSTILE: dict[str, dict[str, Any]] = {
    "a chain of references": {"json_schema": chain(5000)},
    "groups in groups": {"grammar": "root ::= " + "(" * 200_000},
    "groups in groups that end": {"grammar": "root ::= " + '("a" ' * 5000 + ")?" * 5000},
    "groups of Lark": {"grammar": "start: " + "(" * 20_000 + '"a"' + ")" * 20_000},
    "a chain of rules": {
        "grammar": "start: r0\n"
        + "\n".join(f'r{i}: r{i + 1} "a" | "b"' for i in range(5000))
        + '\nr5000: "z"'
    },
    "very many rules": {"grammar": "root ::= " + " | ".join(f'"{i}" x' for i in range(60_000))},
    "very many lines": {"grammar": "\n" * 500_000 + 'root ::= "a'},
    "intersections": {"grammar": "start: T\nT: " + " & ".join(f"/.*{i}.*/" for i in range(200))},
    "multiples of a large number": {"json_schema": {"type": "integer", "multipleOf": 9999991}},
    "a million letters": {"regex": "ab" * 300_000},
    "a schema that is only itself": {"json_schema": {"$ref": "#"}},
    "two schemas that are each other": {
        "json_schema": {
            "$ref": "#/$defs/a",
            "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
        }
    },
    "more properties than can be left out": {
        "json_schema": {"type": "object", "properties": {f"p{i}": {} for i in range(2000)}}
    },
    "nothing is allowed": {"grammar": 'root ::= "a" root'},
}
SLOW = {"intersections", "multiples of a large number"}
"""Those that take all the time that the sandbox gives them: 2 s."""


@pytest.mark.slow
@pytest.mark.sweep(5)
@pytest.mark.parametrize(
    "name",
    [
        *sorted(HOSTILE.keys() - SLOW),
        *(pytest.param(name, marks=pytest.mark.exhaustive) for name in sorted(SLOW)),
    ],
)
def test_hostile_ones_are_refused_while_others_are_served(server: Server, name: str) -> None:
    with running_stream(server) as stream:
        response = server.chat(**HOSTILE[name], max_tokens=20)
        assert next(stream)

    assert response.status_code == 400, response.text
    error = error_of(response)
    assert error["code"] in ("unsupported_grammar", "unsupported_schema", "grammar_failed")
    assert len(error["message"] or "") < 1000
    assert "panic" not in (error["message"] or "")


@pytest.mark.slow
def test_a_failure_on_the_way_is_no_answer(server: Server) -> None:
    """The text so far is no text of the grammar, so it must not look like one."""
    fields: dict[str, Any] = {"grammar": "start: /[xyz]/ T\nT: /a{1000000}/", "max_tokens": 50}

    body = server.chat(**fields)
    with server.http.stream(
        "POST", "/v1/chat/completions", json={"messages": CAPITAL, "stream": True, **fields}
    ) as response:
        events = response.read().decode()

    assert body.status_code == 400
    assert error_of(body)["code"] == "grammar_failed"
    last = events.removesuffix("\n\n").split("\n\n")[-1]
    assert json.loads(last.removeprefix("data: "))["error"] == error_of(body)
    assert '"finish_reason":"stop"' not in events


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    "fields",
    [
        {"regex": "(a|b)*a(a|b){500}c"},
        {"regex": "((a{1,1000}){1,1000}){1,1000}"},
        {"regex": "(((x*)*)*)*y"},
        {"grammar": 'start: e\ne: e e e | e e | "a" | "b" |'},
        {"grammar": 'root ::= root root | "a" | '},
        {"grammar": 'root ::= "x" a{100000}\na ::= b{100000}\nb ::= root | "b"'},
        {"json_schema": {"type": "string", "pattern": "^([ab]*a[ab]{40})+$"}},
        {"json_schema": {"type": "array", "items": {"$ref": "#"}, "minItems": 50, "maxItems": 100}},
    ],
    ids=lambda fields: str(fields)[:50],
)
def test_ambiguous_ones_end_within_their_limit(server: Server, fields: dict[str, Any]) -> None:
    response = server.chat(**fields, max_tokens=60, seed=1)

    assert response.status_code in (200, 400)
    if response.status_code == 200:
        assert response.json()["usage"]["completion_tokens"] <= 60
    else:
        assert error_of(response)["code"] == "grammar_failed"


def test_ten_thousand_values_are_no_trouble(server: Server) -> None:
    values = [f"value number {i}" for i in range(10_000)]

    response = server.chat(json_schema={"enum": values}, max_tokens=40, seed=2)

    assert json.loads(response.json()["choices"][0]["message"]["content"]) in values


@pytest.mark.slow
def test_a_client_that_hangs_up_while_its_grammar_is_compiled_does_no_harm(
    server: Server,
) -> None:
    slow = {"type": "integer", "multipleOf": 199_933}
    with pytest.raises(httpx2.ReadTimeout):
        server.post(
            "/v1/chat/completions",
            {"messages": user("Hi"), "json_schema": slow},
            timeout=httpx2.Timeout(60, read=0.05),
        )

    assert server.chat(regex="ok").json()["choices"][0]["message"]["content"] == "ok"
