"""Fields of other servers that would change the answer: refused, with what does that here.

An unknown field usually has no effect, and the response says so in a header. Not so one that says
what the answer has to look like: whoever reads the answer relies on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from shared.protocol.errors import invalid

_SCHEMA = "use 'response_format' with type 'json_schema', or 'json_schema'"
_GRAMMAR = "use 'grammar'"
_LAZY = "a grammar holds from the first token on; use 'tools' for calls within a text"
_ADVICE = {
    # vLLM
    "guided_json": _SCHEMA,
    "guided_json_object": "use 'response_format' with type 'json_object'",
    "guided_regex": "use 'regex'",
    "guided_choice": "use 'regex', as in \"yes|no\"",
    "guided_grammar": _GRAMMAR,
    "guided_decoding": "use 'response_format', 'regex' or 'grammar'",
    "structured_outputs": "use 'response_format', 'regex' or 'grammar'",
    "structural_tag": "use 'tools', or 'grammar'",
    "allowed_token_ids": "use 'regex' or 'grammar'",
    "logits_processors": "use 'regex' or 'grammar'",
    "stop_token_ids": "use 'stop'",
    "bad_words": "use 'logit_bias'",
    "use_beam_search": "there is no beam search; 'best_of' ranks samples",
    # SGLang
    "ebnf": _GRAMMAR,
    # llama-server
    "grammar_lazy": _LAZY,
    "grammar_triggers": _LAZY,
    # Ollama
    "format": _SCHEMA,
    # OpenAI's Responses
    "text": _SCHEMA,
    "text_format": _SCHEMA,
    # Anthropic
    "output_format": _SCHEMA,
    "output_config": _SCHEMA,
    "output_schema": _SCHEMA,
    # Gemini
    "response_schema": _SCHEMA,
    "response_json_schema": _SCHEMA,
    "response_mime_type": "use 'response_format'",
    # Options of client libraries that are not for servers
    "response_model": _SCHEMA,
    "schema": _SCHEMA,
    "json_mode": "use 'response_format' with type 'json_object'",
    "extra_body": "put the fields that are in it into the body itself",
    "model_kwargs": "put the fields that are in it into the body itself",
}
_OWN = ("response_format", "json_schema", "grammar", "regex", "tool_choice", "function_call")
"""This server's fields, misspelt ones of which are to be found too."""
_MEANS_IF_EMPTY = frozenset({"guided_json", "format", "response_schema", "schema"})
"""Where ``{}`` is a schema: any JSON."""

_HAVE_FORMAT = frozenset({"text", "output_config"})
"""Where the form is one thing of several: ``{"format": ..., "verbosity": ...}``."""


def refuse_unsupported_fields(extra: Mapping[str, object]) -> None:
    """Raise `APIError` 400 for one of ``extra``, the unknown fields, that changes the answer.

    It looks for the names it knows and not at each field, of which there may be many.
    """
    for name, (known, advice) in _SPELLINGS.items():
        if name in extra and _asks(known, extra[name]):
            refuse(name, advice)


def refuse(param: str, reason: str) -> NoReturn:
    """Raise `APIError` 400 for a field that this server does not support."""
    raise invalid(f"'{param}' is not supported: {reason}.", param, "unsupported_parameter")


def _asks(name: str, value: object) -> bool:
    """Whether a value asks for anything: null, false and what is empty does not."""
    if name in _HAVE_FORMAT:
        form = value.get("format") if isinstance(value, Mapping) else None
        return form is not None and form != {"type": "text"}
    if isinstance(value, Mapping):
        return any(inner is not None for inner in value.values()) or (
            not value and name in _MEANS_IF_EMPTY
        )
    return bool(value)


def _spellings(name: str) -> set[str]:
    """``guided_json``, ``guidedJson``, ``GuidedJson``, ``guided-json``."""
    first, *others = name.split("_")
    tail = "".join(part.capitalize() for part in others)
    return {name, first + tail, first.capitalize() + tail, name.replace("_", "-")}


_SPELLINGS = {
    spelling: (name, advice)
    for name, advice in {**_ADVICE, **{own: f"it is spelled '{own}'" for own in _OWN}}.items()
    for spelling in _spellings(name)
    if spelling not in _OWN
}
"""Each spelling with the name that it is one of, and the advice."""
