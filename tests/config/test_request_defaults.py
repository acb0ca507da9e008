"""Defaults of request fields: which hold for a request, and which are refused at the start."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from shared.config.request_defaults import REQUEST_SCHEMAS, RequestDefaults
from shared.config.settings import Settings
from shared.config.settings_file import ConfigurationError
from shared.protocol.fields import SharedFields
from shared.protocol.llama_cpp.requests import LlamaCppRequest
from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.protocol.openai.completions import CompletionRequest

HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "get_weather"}}


def defaults(**models: dict[str, Any]) -> RequestDefaults:
    """Defaults of a deployment with two names."""
    return RequestDefaults(Settings(alias=["fast", "creative"], models=models))


def chat(**fields: Any) -> ChatCompletionRequest:
    """A chat request as parsed from JSON."""
    return ChatCompletionRequest.model_validate_json(json.dumps({"messages": HELLO, **fields}))


def text(**fields: Any) -> CompletionRequest:
    """A text request as parsed from JSON."""
    return CompletionRequest.model_validate_json(json.dumps({"prompt": "Once", **fields}))


def native(**fields: Any) -> LlamaCppRequest:
    """A request in llama.cpp's dialect as parsed from JSON."""
    return LlamaCppRequest.model_validate_json(json.dumps({"prompt": "Once", **fields}))


def problems(**models: dict[str, Any]) -> tuple[str, ...]:
    """What is said about wrong defaults."""
    with pytest.raises(ConfigurationError) as caught:
        defaults(**models)
    return caught.value.problems


class TestNames:
    """What a model is called."""

    def test_the_aliases_in_order(self) -> None:
        assert Settings(alias=["b", "a"]).served_names == ("b", "a")

    def test_the_files_name_without_any(self) -> None:
        assert Settings().served_names == ("pilotlight-builtin",)
        assert Settings(model="/models/tiny-q8_0.gguf").served_names == ("tiny-q8_0",)


@pytest.mark.parametrize("parse", [chat, text, native])
def test_a_field_with_a_dot_in_its_name_has_a_default(parse: Any) -> None:
    held = defaults(fast={"speculative.n_max": 4})
    assert held.apply(parse(model="fast")).speculative_n_max == 4
    assert held.apply(parse(**{"model": "fast", "speculative.n_max": 0})).speculative_n_max == 0
    assert held.apply(parse(model="creative")).speculative_n_max is None
    assert problems(fast={"speculative.n_max": -1})[0].startswith(
        "[models.\"fast\"]: Invalid 'speculative.n_max': "
    )
    assert "did you mean 'speculative.n_max'" in problems(fast={"speculative_n_max": 1})[0]


def test_what_toml_makes_of_a_field_with_a_dot_without_quotes_is_explained() -> None:
    section = tomllib.loads("speculative.n_max = 4\nspeculative.p_min = 0.5")
    assert problems(fast=section) == (
        "[models.\"fast\"]: unknown request field 'speculative', did you mean "
        '"speculative.n_max", "speculative.p_min", in quotes?',
    )


class TestHolding:
    """Which values a request ends up with."""

    @pytest.mark.parametrize("request_of", [chat, text, native])
    def test_a_field_left_out_gets_the_default(self, request_of: Any) -> None:
        section = {"temperature": 0.2, "max_tokens": 7, "stop": ["."], "seed": 3}
        filled = defaults(fast=section).apply(request_of())
        assert (filled.temperature, filled.max_tokens, filled.stop, filled.seed) == (
            0.2,
            7,
            ["."],
            3,
        )

    @pytest.mark.parametrize("request_of", [chat, text, native])
    def test_a_field_that_the_request_gives_wins(self, request_of: Any) -> None:
        given = {"temperature": 0, "stop": [], "stream": False, "logit_bias": {}}
        section = {"temperature": 1, "stop": "x", "stream": True, "logit_bias": {"1": 1.0}}
        filled = defaults(fast=section).apply(request_of(**given))
        assert {name: getattr(filled, name) for name in given} == given

    def test_null_gives_nothing(self) -> None:
        filled = defaults(fast={"temperature": 0.2}).apply(chat(temperature=None))
        assert filled.temperature == 0.2

    def test_a_request_without_a_model_is_for_the_first_name(self) -> None:
        both = defaults(fast={"temperature": 0.1}, creative={"temperature": 1.2})
        assert both.apply(chat()).temperature == 0.1
        assert both.apply(chat(model=None)).temperature == 0.1
        assert both.apply(chat(model="fast")).temperature == 0.1
        assert both.apply(chat(model="creative")).temperature == 1.2

    def test_names_without_a_section_have_no_defaults(self) -> None:
        only = defaults(creative={"temperature": 1.2})
        assert only.apply(chat()).temperature is None
        assert only.apply(chat(model="nobody")).temperature is None

    def test_without_sections_the_request_is_left_as_it_is(self) -> None:
        parsed = chat()
        assert defaults().apply(parsed) is parsed

    def test_an_object_replaces_the_defaults_object(self) -> None:
        section = {"chat_template_kwargs": {"enable_thinking": False, "style": "short"}}
        filled = defaults(fast=section)
        assert filled.apply(chat()).chat_template_kwargs == section["chat_template_kwargs"]
        given = {"style": "long"}
        assert filled.apply(chat(chat_template_kwargs=given)).chat_template_kwargs == given

    def test_unknown_fields_are_still_named(self) -> None:
        assert defaults(fast={"temperature": 0}).apply(chat(zeta=1)).ignored_params == ["zeta"]

    def test_a_field_of_one_endpoint_holds_there(self) -> None:
        filled = defaults(fast={"echo": True, "reasoning_effort": "low", "n_predict": 5})
        assert filled.apply(text()).echo is True
        assert filled.apply(chat()).reasoning_effort == "low"
        assert filled.apply(native()).n_predict == 5
        assert filled.apply(chat()).ignored_params == []

    def test_a_value_for_one_endpoint_holds_there(self) -> None:
        as_chat, as_text = defaults(fast={"logprobs": True}), defaults(fast={"logprobs": 4})
        assert (as_chat.apply(chat()).logprobs, as_chat.apply(text()).logprobs) == (True, None)
        assert (as_text.apply(chat()).logprobs, as_text.apply(text()).logprobs) == (None, 4)

    @pytest.mark.parametrize(
        ("section", "given", "displaced"),
        [
            ({"max_completion_tokens": 100}, {"max_tokens": 5}, "max_completion_tokens"),
            ({"max_tokens": 5}, {"max_completion_tokens": 100}, "max_tokens"),
            ({"tools": [TOOL]}, {"functions": [TOOL["function"]]}, "tools"),
        ],
    )
    def test_another_name_of_a_field_displaces_its_default(
        self, section: dict[str, Any], given: dict[str, Any], displaced: str
    ) -> None:
        assert getattr(defaults(fast=section).apply(chat(**given)), displaced) is None

    def test_llama_cpps_names_displace_too(self) -> None:
        filled = defaults(fast={"max_tokens": 5, "n": 2}).apply(native(n_predict=-1, n_cmpl=1))
        assert (filled.requested_tokens, filled.choices) == (None, 1)

    @pytest.mark.parametrize(
        ("section", "given", "expected"),
        [
            ({"stream_options": {"include_usage": True}}, {}, False),
            ({"stream_options": {"include_usage": True}}, {"stream": True}, True),
            ({"stream_options": {"include_usage": True}, "stream": True}, {}, True),
            (
                {"stream_options": {"include_usage": True}, "stream": True},
                {"stream": False},
                False,
            ),
            ({"top_logprobs": 2, "logprobs": True}, {}, True),
            ({"top_logprobs": 2, "logprobs": True}, {"logprobs": False}, False),
            ({"tool_choice": "required"}, {}, False),
            ({"tool_choice": "required"}, {"tools": [TOOL]}, True),
        ],
    )
    def test_a_default_that_needs_another_field_holds_with_it(
        self, section: dict[str, Any], given: dict[str, Any], expected: bool
    ) -> None:
        filled = defaults(fast=section).apply(chat(**given))
        assert (getattr(filled, next(iter(section))) is not None) is expected

    @pytest.mark.parametrize(
        ("section", "given", "expected"),
        [
            ({"best_of": 3}, {}, {"best_of": 3}),
            ({"best_of": 3}, {"n": 3}, {"best_of": 3}),
            ({"best_of": 3}, {"n": 4}, {"best_of": None}),
            ({"best_of": 3}, {"stream": True}, {"best_of": None}),
            ({"n": 3, "stream": True}, {"best_of": 2}, {"n": None, "stream": None}),
            ({"n": 3}, {"best_of": 3}, {"n": 3}),
            (
                {"stream_options": {"include_usage": True}, "stream": True},
                {"best_of": 2},
                {"stream": None, "stream_options": None},
            ),
        ],
    )
    def test_a_default_that_contradicts_the_request_does_not_hold(
        self, section: dict[str, Any], given: dict[str, Any], expected: dict[str, Any]
    ) -> None:
        filled = defaults(fast=section).apply(text(**given))
        assert {name: getattr(filled, name) for name in expected} == expected

    def test_llama_cpps_endpoint_is_spared_what_it_refuses(self) -> None:
        filled = defaults(fast={"echo": True, "suffix": "x", "best_of": 2}).apply(native())
        assert (filled.echo, filled.suffix, filled.best_of) == (None, None, None)

    def test_a_field_that_is_another_endpoints_contradicts_nothing(self) -> None:
        assert defaults(fast={"n": 3}).apply(chat(best_of="x")).n == 3


class TestRefusing:
    """What can't be a default is said with section and field."""

    def test_a_name_that_is_not_served(self) -> None:
        (problem,) = problems(creativ={"temperature": 1})
        assert '[models."creativ"]' in problem
        assert "fast, creative" in problem

    def test_a_name_with_dots_that_was_not_quoted(self) -> None:
        with pytest.raises(ConfigurationError, match="quotes"):
            RequestDefaults(Settings(alias=["qwen2.5"], models={"qwen2": {"5": {"n": 1}}}))

    @pytest.mark.parametrize(
        ("field", "value", "reason"),
        [
            ("temperature", 3, "less than or equal to 2"),
            ("temperature", "1", "valid number"),
            ("temperature", math.inf, "inf"),
            ("seed", 2**64, "at most 64 bits"),
            ("n", 129, "less than or equal to 128"),
            ("logprobs", "many", "valid boolean"),
            ("stop", date(2000, 1, 1), "dates"),
            ("stop", [""], "stop[0]"),
            ("max_completion_tokens", 0, "greater than or equal to 1"),
            ("n_probs", 101, "less than or equal to 100"),
            ("temprature", 1, "did you mean 'temperature'?"),
            ("frobnicate", 1, "unknown"),
            ("port", 80, "setting"),
            ("messages", HELLO, "request"),
            ("prompt", "x", "request"),
            ("model", "fast", "request"),
        ],
    )
    def test_a_field_or_value_that_no_endpoint_takes(
        self, field: str, value: object, reason: str
    ) -> None:
        (problem,) = problems(creative={field: value})
        assert '[models."creative"]' in problem
        assert f"'{field}" in problem
        assert reason in problem
        assert "\n" not in problem

    def test_everything_at_once(self) -> None:
        said = problems(fast={"temperature": 3, "n": 0}, creative={"top_p": 2}, other={})
        assert len(said) == 4


def subclasses(schema: type[SharedFields]) -> Iterator[type[SharedFields]]:
    """All request schemas of the project."""
    for each in schema.__subclasses__():
        if each.__module__.startswith("shared."):
            yield each
        yield from subclasses(each)


def test_no_endpoint_is_forgotten() -> None:
    import functions.http.app  # imports all endpoints, and so their schemas

    assert functions.http.app
    assert set(subclasses(SharedFields)) == set(REQUEST_SCHEMAS)
