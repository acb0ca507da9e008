"""The texts of answers, and the tokens that make them."""

from __future__ import annotations

from typing import Any

from shared.engine.llama.model import Model
from tests.api.openai_types import chat_chunks, chat_completion
from tests.server import Server, user

STORY = user("Tell me a story")


def chat_text(server: Server, **fields: Any) -> str:
    """The first choice's text."""
    fields = {"messages": STORY, "max_tokens": 40, **fields}
    content = chat_completion(server.chat(**fields).raise_for_status().content)
    return content.choices[0].message.content or ""


def streamed_chat_text(server: Server, **fields: Any) -> str:
    """The only choice's text, from a stream."""
    fields = {"messages": STORY, "max_tokens": 40, **fields}
    chunks = chat_chunks(server.chat(**fields, stream=True).raise_for_status().text)
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def token(vocabulary: Model, text: str) -> int:
    """The id of the single token that ``text`` is."""
    tokens = vocabulary.tokenize(text, add_special=False)
    assert len(tokens) == 1
    return tokens[0]
