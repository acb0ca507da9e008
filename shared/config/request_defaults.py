"""Request defaults of a model (default temperature, ...), for each of its names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError

from shared.config.settings import Settings
from shared.config.settings_file import ConfigurationError, did_you_mean
from shared.config.stand_ins import STAND_IN_FIELDS
from shared.config.upstreams import UpstreamModel, is_upstream
from shared.protocol.fields import SharedFields
from shared.protocol.llama_cpp.requests import LlamaCppRequest
from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.protocol.openai.completions import CompletionRequest
from shared.protocol.validation_errors import from_validation_error

RequestT = TypeVar("RequestT", bound=SharedFields)

_OPENAI_SCHEMAS: tuple[type[SharedFields], ...] = (ChatCompletionRequest, CompletionRequest)
REQUEST_SCHEMAS: tuple[type[SharedFields], ...] = (*_OPENAI_SCHEMAS, LlamaCppRequest)
"""Every schema of a completions request."""

_OWN = ("model", "messages", "prompt")
"""Fields that only a request can give."""
_ONLY_REFUSED: Mapping[type[SharedFields], tuple[str, ...]] = {
    ChatCompletionRequest: ("audio", "web_search_options", "moderation"),
    LlamaCppRequest: ("echo", "suffix", "best_of", "lora"),
}
"""Fields that an endpoint has in order to refuse them."""
_COMPLETE = {"messages": [{"role": "user", "content": "-"}], "prompt": "-"}
"""What makes a body of any schema complete."""
_ONE_OF_THEM = (
    ("tools", "functions"),
    ("response_format", "json_schema", "grammar", "regex"),
)
"""Fields that are refused together."""
_RIVALS = {
    name: group
    for group in (
        ("max_tokens", "max_completion_tokens", "n_predict"),
        ("n", "n_cmpl"),
        ("logprobs", "n_probs"),
        ("tool_choice", "function_call"),
        *_ONE_OF_THEM,
    )
    for name in group
}
"""Fields of which a request has one: whichever it gives, no default of the others holds."""
_NEEDS = {
    "stream_options": "stream",
    "top_logprobs": "logprobs",
    "tool_choice": "tools",
    "parallel_tool_calls": "tools",
    "function_call": "functions",
}
"""Fields that are refused without another one: without that, their defaults don't hold."""


class RequestDefaults:
    """The ``models`` setting, checked against the request schemas."""

    def __init__(self, settings: Settings) -> None:
        """Raises `ConfigurationError`, whose problems name section and field."""
        names = settings.served_names
        self._names = frozenset(names)
        self._default_name = names[0]
        """The one that requests name no other way, whatever name they have for it."""
        self._values: dict[tuple[str, type[SharedFields]], dict[str, Any]] = {}
        problems: list[str] = []
        for field, value in settings.sampling_defaults.values():
            for name in names:
                self._add(name, {field: value})
        for name, section in settings.models.items():
            if is_upstream(section):
                continue
            reasons = self._add(name, section) if name in names else [_not_served(names)]
            problems += [f'[models."{name}"]: {reason}' for reason in reasons]
        if problems:
            raise ConfigurationError(problems)

    def apply(self, parsed: RequestT) -> RequestT:
        """``parsed`` with the defaults of the model that it names.

        A field that the request gives keeps its value; null gives nothing, as in OpenAI's API.
        Defaults that contradict what the request gives don't hold, lest they make it wrong. The
        values are shared between requests and are only to be read.
        """
        if not self._values:
            return parsed
        name = parsed.model if parsed.model in self._names else self._default_name
        values = self._values.get((name, type(parsed)), {})
        held = {
            name: value
            for name, value in values.items()
            if all(parsed.declared(other) is None for other in _RIVALS.get(name, (name,)))
        }
        for name in (*(held.keys() - _NEEDS.keys()), *_NEEDS):  # those last: they ask for others
            if name in held and _contradicts(name, held, parsed):
                del held[name]
        return parsed.model_copy(update=held)

    def _add(self, name: str, section: dict[str, Any]) -> list[str]:
        """Take over a section; returns what is wrong with it.

        A value holds for the endpoints whose schema accepts it: ``logprobs = 5`` for text only.
        """
        reasons: list[str] = []
        for field, value in section.items():
            if field in STAND_IN_FIELDS:
                continue
            schemas = [schema for schema in REQUEST_SCHEMAS if field in _fields(schema)]
            if field in _OWN:
                reasons.append(f"'{field}' is for the request alone to give")
            elif not schemas:
                reasons.append(_unknown(field, value))
            else:
                complaints = {s: self._add_value(name, s, field, value) for s in schemas}
                # llama.cpp's endpoint brings into its range what OpenAI's refuse: they judge.
                judges = [s for s in schemas if s in _OPENAI_SCHEMAS] or schemas
                said = [complaint for s in judges if (complaint := complaints[s])]
                if len(said) == len(judges):
                    reasons.append(" ".join(dict.fromkeys(said)))
        return reasons + _rivals_in(section)

    def _add_value(
        self, name: str, schema: type[SharedFields], field: str, value: object
    ) -> str | None:
        """Take over a default for one schema, as the value that JSON would have there.

        Returns what is wrong with it.
        """
        try:
            body = orjson.loads(json.dumps({**_COMPLETE, field: value}, allow_nan=False))
        except (TypeError, ValueError):
            return f"Invalid '{field}': dates, times, inf and nan have no place in JSON"
        try:
            parsed = schema.model_validate(body)
        except ValidationError as error:
            return from_validation_error(error, body).message
        attribute = schema.attributes()[field]
        self._values.setdefault((name, schema), {})[attribute] = getattr(parsed, attribute)
        return None


class UpstreamDefaults(RequestDefaults):
    """``defaults`` of the models that somebody else serves, checked likewise."""

    def __init__(self, upstreams: Mapping[str, UpstreamModel]) -> None:
        """Raises `ConfigurationError`, whose problems name section and field."""
        self._names = frozenset(upstreams)
        self._default_name = ""
        self._values = {}
        problems = [
            f'[models."{name}"]: defaults: {reason}'
            for name, upstream in upstreams.items()
            for reason in self._add(name, upstream.defaults)
        ]
        if problems:
            raise ConfigurationError(problems)


class SamplingDefaults(RequestDefaults):
    """Defaults that settings of sampling give every model, checked likewise."""

    def __init__(self, settings: Settings) -> None:
        """``problems``: settings that no endpoint takes, and what is wrong with each."""
        self._names, self._default_name = frozenset(), ""
        self._values = {}
        self.problems = [
            (setting, reason)
            for setting, (field, value) in settings.sampling_defaults.items()
            for reason in self._add("", {field: value})
        ]


def _fields(schema: type[SharedFields]) -> set[str]:
    """The fields that can have a default for an endpoint, as requests spell them."""
    return set(schema.attributes()) - {*_OWN, *_ONLY_REFUSED.get(schema, ())}


def _contradicts(name: str, held: Mapping[str, Any], parsed: SharedFields) -> bool:
    """Whether default ``name`` would be refused beside the other fields."""

    def value(other: str) -> Any:
        return held.get(other, parsed.declared(other))

    if name in _NEEDS:
        return not value(_NEEDS[name])
    if name == "best_of":  # can't be streamed, and is at least n
        return bool(value("stream")) or held["best_of"] < (value("n") or 1)
    best_of = parsed.declared("best_of")
    return best_of is not None and (name == "stream" or (name == "n" and held["n"] > best_of))


def _rivals_in(section: Mapping[str, Any]) -> list[str]:
    """What is wrong with a section for which each request would be refused."""
    given = {name for name, value in section.items() if value not in ("", {"type": "text"})}
    reasons = []
    for group in _ONE_OF_THEM:
        rivals = [name for name in group if name in given]
        if len(rivals) > 1:
            reasons.append(f"'{rivals[0]}' and '{rivals[1]}' exclude each other: keep one of them")
    return reasons


def _unknown(field: str, value: object) -> str:
    if field in Settings.model_fields:
        return f"'{field}' is a setting: it goes above the first section"
    known = set[str]().union(*(_fields(schema) for schema in REQUEST_SCHEMAS))
    dotted = [f"{field}.{key}" for key in value] if isinstance(value, dict) else []
    if quoted := [f'"{name}"' for name in dotted if name in known]:
        return f"unknown request field '{field}', did you mean {', '.join(quoted)}, in quotes?"
    return f"unknown request field '{field}'{did_you_mean(field, known)}"


def _not_served(names: tuple[str, ...]) -> str:
    quotes = "; a name with dots needs quotes" if any("." in name for name in names) else ""
    return f"no model is served under this name, only under {', '.join(names)}{quotes}"
