"""Request to an upstream's model in adapter mode: validated as if a model here were asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.completion.field_rules import (
    check_chat_fields,
    check_prompt_size,
    check_text_fields,
    content_size,
)
from shared.completion.validation import check_request, check_sequences
from shared.protocol.openai.chat_completions import ACCEPTS_MEDIA, ChatCompletionRequest
from shared.protocol.openai.completions import CompletionRequest
from shared.protocol.openai.tool_use import tool_use

if TYPE_CHECKING:
    from shared.runtime.request_context import RequestContext
    from shared.runtime.state import ServerState
    from shared.upstreams.dialects.dialect import Endpoint

ParsedRequest = ChatCompletionRequest | CompletionRequest

VALIDATION_CONTEXT = ACCEPTS_MEDIA
"""Context in which a request to an upstream is validated: whether it reads images, it says."""
SCHEMAS: Mapping[Endpoint, type[ParsedRequest]] = {
    "chat": ChatCompletionRequest,
    "text": CompletionRequest,
}

_TIERS = {"fast": "priority"}
"""Tiers that OpenAI's API has no name for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptedRequest:
    """What is asked for.

    - ``asked``: the request, the model's defaults filled in.
    - ``fields``: as `UpstreamDialect.request` takes them.
    - ``n_choices``: how many the answer has.
    - ``has_tools``: whether the answer may be calls alone.
    - ``is_legacy``: whether it speaks of functions, as its answer does, too.
    - ``ignored``: fields that have no effect.
    """

    endpoint: Endpoint
    asked: ParsedRequest
    fields: Mapping[str, Any]
    n_choices: int
    has_tools: bool
    is_legacy: bool
    ignored: list[str]

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with a chunk that has the usage."""
        options = self.asked.stream_options
        return bool(options and options.include_usage)

    @property
    def tier(self) -> str:
        """The service tier that the upstream is asked for."""
        return self.fields.get("service_tier") or "default"


def adapted(parsed: ParsedRequest, state: ServerState, context: RequestContext) -> AdaptedRequest:
    """The request; raises `APIError` 400."""
    asked = state.upstream_defaults.apply(parsed)
    check_request(asked, state)
    limit = state.settings.max_content_size
    has_tools = is_legacy = False
    endpoint: Endpoint
    if isinstance(asked, ChatCompletionRequest):
        endpoint, n_choices = "chat", asked.n or 1
        check_chat_fields(asked)
        use = tool_use(asked)
        has_tools, is_legacy = use is not None, use is not None and use.is_legacy
        if context.body_size > limit:
            content_size(asked, limit)
    else:
        endpoint = "text"
        n_choices = _check_text(asked, limit)
    fields = asked.known_fields()
    if asked.service_tier is not None:
        tier = context.caller.service_tier(asked.service_tier) or asked.service_tier
        fields["service_tier"] = _TIERS.get(tier, tier)
    return AdaptedRequest(
        endpoint=endpoint,
        asked=asked,
        fields=fields,
        n_choices=n_choices,
        has_tools=has_tools,
        is_legacy=is_legacy,
        ignored=asked.ignored_params,
    )


def _check_text(asked: CompletionRequest, limit: int) -> int:
    """The number of choices that are asked for; raises `APIError` 400."""
    check_text_fields(asked)
    prompts = asked.prompts()
    field = "best_of" if asked.n_generated > (asked.n or 1) else "n"
    check_sequences(len(prompts), asked.n_generated, field)
    size = 0
    for i, prompt in enumerate(prompts):
        if isinstance(prompt, str):
            size += len(prompt.encode())
            param = f"prompt[{i}]" if isinstance(asked.prompt, list) else "prompt"
            check_prompt_size(size, param, limit)
    return len(prompts) * (asked.n or 1)
