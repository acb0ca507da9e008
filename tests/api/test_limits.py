"""Limits of a deployment: what is refused beyond them, and what is lowered to them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import StartServer
from tests.api.openai_types import text_completion
from tests.conftest import API_KEY
from tests.server import Server, user

LIMIT = 512 * 1024
"""Bytes of UTF-8 that all messages' content may have together."""
WORDS = "word " * (LIMIT // 5 + 1)


def code(server: Server, messages: list[dict[str, Any]]) -> str:
    """The error's code. Half a mebibyte can't fit the built-in model's context either."""
    error = server.chat(messages=messages).json()["error"]
    assert error["param"] == "messages"
    return str(error["code"])


@pytest.mark.slow
def test_content_at_the_limit_is_allowed(server: Server) -> None:
    assert code(server, user(WORDS[:LIMIT])) == "context_length_exceeded"
    assert code(server, user(WORDS[: LIMIT + 1])) == "content_too_large"


@pytest.mark.parametrize(
    "messages",
    [
        [*user(WORDS[: LIMIT // 2]), *user(WORDS[: LIMIT // 2 + 1])],
        [{"role": "system", "content": "x"}, *user(WORDS[:LIMIT])],
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": WORDS[: LIMIT // 2]},
                    {"type": "text", "text": WORDS[: LIMIT // 2 + 1]},
                ],
            }
        ],
        user("é" * (LIMIT // 2 + 1)),
    ],
    ids=["messages", "system message", "parts", "characters of two bytes"],
)
def test_all_content_counts(server: Server, messages: list[dict[str, Any]]) -> None:
    assert code(server, messages) == "content_too_large"


@pytest.mark.slow
def test_the_limit_of_content_is_a_setting(start_server: StartServer) -> None:
    server = start_server("--max-content-size", "5")
    assert server.chat(messages=user("Hello")).status_code == 200
    assert code(server, user("Hello!")) == "content_too_large"


@pytest.mark.parametrize("max_tokens", [21, 2**31, 2**64 - 1])
def test_completion_tokens_are_lowered_to_the_limit(keyed_server: Server, max_tokens: int) -> None:
    response = keyed_server.post(
        "/v1/completions",
        {"prompt": "Once upon a time", "max_tokens": max_tokens, "ignore_eos": True},
        headers={"authorization": f"Bearer {API_KEY}"},
    )
    completion = text_completion(response.raise_for_status().content)
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 20
    assert completion.choices[0].finish_reason == "length"
