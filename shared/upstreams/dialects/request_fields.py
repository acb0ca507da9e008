"""Request fields that another API has no equal of: refused by their names, never left out silently.

A field with the value that it has anyway, such as ``n: 1``, asks for nothing and passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.protocol.errors import APIError, invalid
from shared.protocol.unsupported_fields import refuse

NOT_SENT = frozenset(
    (
        # What this server does itself,
        *("model", "stream", "stream_options", "store", "metadata"),
        # and hints that change no answer.
        *("prompt_cache_key", "prompt_cache_retention", "cache_prompt"),
        *("speculative.n_max", "speculative.n_min", "speculative.p_min"),
    )
)

_WITHOUT_EFFECT: Mapping[str, tuple[object, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "modalities": (["text"], []),
    "functions": ([],),
    "min_p": (0,),
    "typical_p": (1,),
    "repeat_penalty": (1,),
    "repetition_penalty": (1,),
    "dry_multiplier": (0,),
    "xtc_probability": (0,),
    "mirostat": (0,),
    "ignore_eos": (False,),
    "min_tokens": (0,),
    "n_keep": (-1, 0),
    "n_discard": (0,),
    "timings_per_token": (False,),
    "verbose": (False,),
    "return_progress": (False,),
    "chat_template_kwargs": ({},),
}

REFUSED = frozenset(
    (
        *_WITHOUT_EFFECT,
        *("seed", "audio", "prediction", "moderation", "web_search_options", "verbosity"),
        *("function_call", "grammar", "regex", "repeat_last_n", "xtc_threshold"),
        *("dry_base", "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers"),
        *("mirostat_tau", "mirostat_eta"),
    )
)

_INSTEAD = {
    "functions": "use 'tools'",
    "function_call": "use 'tool_choice'",
    "grammar": "use 'response_format' with type 'json_schema'",
    "regex": "use 'response_format' with type 'json_schema'",
    "n": "it makes one choice, so n is 1",
}


def refuse_fields(fields: Mapping[str, Any], served_by: str) -> None:
    """Raise `APIError` 400 for a field that would change the answer and has no equal."""
    for name, value in fields.items():
        if name in REFUSED and value not in _WITHOUT_EFFECT.get(name, ()):
            refuse(name, _INSTEAD.get(name, f"{served_by}, which serves this model, can't do it"))


def unsupported_value(message: str, param: str) -> APIError:
    """400: a field's value that has no equal."""
    return invalid(message, param, "unsupported_value")


def chat_only(name: str) -> APIError:
    """400: a text completion, which there is none of."""
    return invalid(
        f"The model '{name}' is served by an API that has chat completions only: use "
        "/v1/chat/completions.",
        "model",
        "unsupported_value",
    )


def nested_too_deeply() -> APIError:
    """400: JSON in JSON in JSON."""
    return invalid("The request is nested too deeply.", None)


def token_limit(fields: Mapping[str, Any]) -> int | None:
    """The most tokens of the answer, if the request says."""
    return fields.get("max_completion_tokens") or fields.get("max_tokens")


def stop_strings(fields: Mapping[str, Any]) -> list[str]:
    """``stop`` as a list."""
    stop = fields.get("stop") or []
    return [stop] if isinstance(stop, str) else list(stop)


def temperature(fields: Mapping[str, Any]) -> float | None:
    """The temperature of 0 to 1; raises `APIError` 400 above: clamping would be another answer."""
    value: float | None = fields.get("temperature")
    if value is not None and value > 1:
        raise unsupported_value("'temperature' is at most 1 for this model.", "temperature")
    return value


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """The JSON Schema that an answer follows; ``name`` and ``description`` if the request says."""

    schema: Mapping[str, Any]
    name: str | None = None
    description: str | None = None


def answer_schema(fields: Mapping[str, Any]) -> AnswerSchema | None:
    """The schema of ``response_format`` or ``json_schema``; None for any text.

    Raises `APIError` 400 for any JSON, of which there is no schema that these APIs take.
    """
    response_format = fields.get("response_format") or {"type": "text"}
    if response_format["type"] == "text":
        schema = fields.get("json_schema")
        return None if schema is None else AnswerSchema(schema)
    described = response_format.get("json_schema") or {}
    schema = described.get("schema") or response_format.get("schema")
    if not schema:
        raise unsupported_value(
            "'response_format' needs a schema for this model: use type 'json_schema'.",
            "response_format",
        )
    return AnswerSchema(schema, described.get("name"), described.get("description"))


EFFORTS = ("low", "medium", "high", "xhigh", "max")


def reasoning_effort(fields: Mapping[str, Any]) -> str | None:
    """One of `EFFORTS` or ``none``, if the request says; raises `APIError` 400 for others."""
    effort: str | None = fields.get("reasoning_effort")
    if effort is not None and effort not in ("none", *EFFORTS):
        raise unsupported_value(
            f"'reasoning_effort' is one of none, {', '.join(EFFORTS)} for this model.",
            "reasoning_effort",
        )
    return effort


def cache_lifetime(fields: Mapping[str, Any]) -> str | None:
    """``prompt_cache_options.ttl``: ``5m`` or ``1h``, if the request says.

    Raises `APIError` 400 for others.
    """
    lifetime: str | None = (fields.get("prompt_cache_options") or {}).get("ttl")
    if lifetime not in (None, "5m", "1h"):
        raise unsupported_value(
            "'prompt_cache_options.ttl' is 5m or 1h for this model.", "prompt_cache_options.ttl"
        )
    return lifetime
