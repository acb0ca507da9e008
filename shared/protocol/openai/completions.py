"""``POST /v1/completions``: the request."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.protocol.fields import MAX_CHOICES, MAX_TOP_LOGPROBS, SharedFields, examples
from shared.protocol.strict import Items

DEFAULT_MAX_TOKENS = 16
MAX_PROMPTS = 2048
MAX_TOKEN_IDS = 2**20

TokenId = Annotated[int, Field(ge=0, le=2**31 - 1)]
TokenIds = Annotated[list[TokenId], Items(MAX_TOKEN_IDS, least=1)]
Prompts = Annotated[list[str], Items(MAX_PROMPTS, least=1)]
TokenPrompts = Annotated[list[TokenIds], Items(MAX_PROMPTS, least=1)]


class CompletionRequest(SharedFields):
    """Body of ``POST /v1/completions``."""

    model_config = examples(
        {"prompt": "Once upon a time", "max_tokens": 60, "temperature": 0},
        {"prompt": ["The capital of France is", "The capital of Italy is"], "max_tokens": 8},
    )

    prompt: str | TokenIds | Prompts | TokenPrompts | None = Field(
        description="A string, several strings, token ids, or several arrays of token ids; null "
        "for the beginning of a document, if the model has a token for it."
    )
    max_tokens: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Default 16, as OpenAI's; 0 only scores, and needs echo."
    )
    best_of: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = Field(
        default=None, description="Choices to generate, of which the n likeliest are returned."
    )
    echo: bool | None = Field(
        default=None, description="Begin the text with the prompt; with logprobs score it."
    )
    suffix: str | None = Field(
        default=None, description="What comes after the completion, for models that fill in."
    )
    logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = Field(default=None)

    @property
    def n_generated(self) -> int:
        """Choices to generate for each prompt."""
        return self.best_of or self.n or 1

    def prompts(self) -> list[str | list[int]]:
        """The prompts, one for each set of ``n`` choices."""
        prompt = self.prompt
        if prompt is None or isinstance(prompt, str):
            return [prompt or ""]
        whole: list[int] = [item for item in prompt if isinstance(item, int)]
        if whole:
            return [whole]
        return [item for item in prompt if not isinstance(item, int)]
