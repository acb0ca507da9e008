"""Streams with ``store: true``: what is kept of them."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletion

from tests.server import CAPITAL, Server, user, wait_until

PATHS = {"chat": "/v1/chat/completions", "text": "/v1/completions"}


@pytest.fixture
def task() -> str:
    """A metadata value of the test's own."""
    return uuid4().hex


def stored(client: OpenAI, task: str, **fields: Any) -> ChatCompletion:
    """A completion that is kept."""
    fields = {"messages": CAPITAL, "temperature": 0, "max_tokens": 12, **fields}
    metadata = {"task": task, **fields.pop("metadata", {})}
    completion = client.chat.completions.create(
        model="pilotlight-builtin", store=True, metadata=metadata, **fields
    )
    assert isinstance(completion, ChatCompletion)
    return completion


class TestStreams:
    """Streams are kept as the completion they add up to."""

    def test_a_stream_is_kept_as_its_body(self, client: OpenAI, task: str) -> None:
        body = stored(client, task, seed=1)
        stream: Any = client.chat.completions.create(
            model="pilotlight-builtin",
            messages=CAPITAL,  # type: ignore[arg-type]
            temperature=0,
            max_tokens=12,
            seed=1,
            store=True,
            metadata={"task": task},
            stream=True,
        )
        stream_id = [chunk.id for chunk in stream][-1]

        kept = client.chat.completions.retrieve(stream_id)

        assert kept.choices == body.choices
        assert kept.usage is not None
        assert body.usage is not None
        assert kept.usage.completion_tokens == body.usage.completion_tokens

    def test_it_is_there_before_the_stream_says_it_is_done(self, server: Server) -> None:
        body = {"messages": CAPITAL, "store": True, "stream": True, "max_tokens": 3}
        with (
            server.client() as http,
            http.stream("POST", PATHS["chat"], json=body) as response,
        ):
            text = ""
            for part in response.iter_text():
                text += part
                if "[DONE]" in text:
                    break
            completion_id = text.split('"id":"')[1].split('"')[0]
            kept = server.http.get(f"{PATHS['chat']}/{completion_id}")
        assert kept.status_code == 200

    @pytest.mark.slow
    def test_what_came_before_a_hang_up_is_kept(self, server: Server, task: str) -> None:
        body = {
            "messages": user("Tell me a story"),
            "store": True,
            "stream": True,
            "ignore_eos": True,
            "max_tokens": 3000,
            "metadata": {"task": task},
        }
        with (
            server.client() as http,
            http.stream("POST", PATHS["chat"], json=body) as response,
        ):
            parts = response.iter_text()
            text = next(parts)
            while text.count("data:") < 20:
                text += next(parts)

        query = {"metadata[task]": task}
        wait_until(
            lambda: bool(server.http.get(PATHS["chat"], params=query).json()["data"]), "stored"
        )
        (kept,) = server.http.get(PATHS["chat"], params=query).json()["data"]
        assert kept["incomplete"] is True
        assert kept["choices"][0]["message"]["content"].startswith("Once upon a time")
        assert kept["usage"]["completion_tokens"] >= 15
        assert kept["usage"]["prompt_tokens"] > 5

    def test_tool_calls_are_kept(self, client: OpenAI, task: str) -> None:
        tool = {
            "type": "function",
            "function": {
                "name": "get_weather",
                "description": "Get the current weather in a city",
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}},
                    "required": ["city"],
                },
            },
        }
        fields: dict[str, Any] = {
            "messages": user("What is the weather in Paris?"),
            "tools": [tool],
            "tool_choice": "required",
            "max_tokens": 60,
        }
        answer = stored(client, task, **fields)

        kept = client.chat.completions.retrieve(answer.id)

        assert kept.choices == answer.choices
        assert kept.choices[0].message.tool_calls
        assert kept.model_extra is not None
        assert kept.model_extra["tools"] == [tool]
