"""Names of models: the same rule for requests and for settings."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from shared.config.settings import Settings
from shared.protocol.openai.chat_completions import ChatCompletionRequest

GOOD = ["a", "7", "gpt-4o", "Qwen/Qwen2.5-0.5B:q8_0", "a--b", "a._-/:b", "a" * 256]
BAD = ["-a", "a-", "_a", "a_", ".a", "a.", "/a", "a:", "a b", "a\n", "é", "名", "a" * 257]


def request(name: str) -> ChatCompletionRequest:
    """A request for the model of this name."""
    body = {"model": name, "messages": [{"role": "user", "content": "Hello"}]}
    return ChatCompletionRequest.model_validate(body)


@pytest.mark.parametrize("name", GOOD)
def test_letters_digits_and_some_punctuation_between_them(name: str) -> None:
    assert request(name).model == name
    assert Settings(alias=[name]).alias == [name]


@pytest.mark.parametrize("name", BAD)
def test_anything_else_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        request(name)
    with pytest.raises(ValidationError):
        Settings(alias=[name])


def test_an_empty_name_is_refused_in_requests() -> None:
    with pytest.raises(ValidationError):
        request("")
