"""``POST /v1/completions``: the request."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.protocol.fields import SharedFields, examples

DEFAULT_MAX_TOKENS = 16

TokenId = Annotated[int, Field(ge=0, le=2**31 - 1)]
TokenIds = Annotated[list[TokenId], Field(min_length=1)]
Prompts = Annotated[list[str], Field(min_length=1, max_length=2048)]
TokenPrompts = Annotated[list[TokenIds], Field(min_length=1, max_length=2048)]


class CompletionRequest(SharedFields):
    """Body of ``POST /v1/completions``."""

    model_config = examples(
        {"prompt": "Once upon a time", "max_tokens": 60, "temperature": 0},
        {"prompt": ["The capital of France is", "The capital of Italy is"], "max_tokens": 8},
    )

    prompt: str | TokenIds | Prompts | TokenPrompts = Field(
        description="A string, several strings, token ids, or several arrays of token ids."
    )
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Default 16, as OpenAI's."
    )
    best_of: Annotated[int, Field(ge=1, le=128)] | None = Field(default=None)
    echo: bool | None = Field(default=None)
    suffix: str | None = Field(default=None)
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = Field(default=None)

    def prompts(self) -> list[str | list[int]]:
        """The prompts, one for each set of ``n`` choices."""
        prompt = self.prompt
        if isinstance(prompt, str):
            return [prompt]
        whole: list[int] = [item for item in prompt if isinstance(item, int)]
        if whole:
            return [whole]
        return [item for item in prompt if not isinstance(item, int)]
