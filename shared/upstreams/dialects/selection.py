"""Dialect of an upstream model, by its name in the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.upstreams.dialects.openai_dialect import OpenAIDialect

if TYPE_CHECKING:
    from shared.config.upstreams import UpstreamModel
    from shared.upstreams.dialects.dialect import UpstreamDialect


def dialect_of(name: str, upstream: UpstreamModel) -> UpstreamDialect:
    """The dialect of the model ``name``; others than OpenAI's are imported where they are used."""
    match upstream.dialect:
        case "anthropic":
            from shared.upstreams.dialects.anthropic_dialect import AnthropicDialect

            return AnthropicDialect(name, upstream)
        case "bedrock":
            from shared.upstreams.dialects.bedrock_dialect import BedrockDialect

            return BedrockDialect(name, upstream)
    return OpenAIDialect(name, upstream)
