"""Requests in llama.cpp's dialect: what they take, what they make of it, what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shared.engine.sampling.logit_bias import LogitBias
from shared.engine.types import SamplingParams
from shared.protocol.llama_cpp.generation_settings import generation_settings
from shared.protocol.llama_cpp.requests import LlamaCppRequest
from shared.protocol.validation_errors import from_validation_error


def request(**fields: Any) -> LlamaCppRequest:
    """A request as parsed from JSON."""
    return LlamaCppRequest.model_validate({"prompt": "Once", **fields})


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("a b", [["a b"]]),
        ([1, 2], [[1, 2]]),
        ([1, "a", 2], [[1, "a", 2]]),
        (["a", 2], [["a", 2]]),
        (["a", "b"], [["a"], ["b"]]),
        ([[1, 2], "a", ["b", 3]], [[1, 2], ["a"], ["b", 3]]),
        ({"prompt_string": "a"}, [["a"]]),
        (["a", {"prompt_string": "b", "multimodal_data": []}], [["a"], ["b"]]),
    ],
)
def test_prompts_come_in_every_shape_that_llama_cpp_knows(prompt: Any, prompts: Any) -> None:
    assert request(prompt=prompt).prompts() == prompts


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, None),
        ({"n_predict": -1}, None),
        ({"n_predict": 0}, 0),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 8}, 8),
        ({"n_predict": 6, "max_tokens": 7, "max_completion_tokens": 8}, 6),
        ({"n_predict": -1, "max_tokens": 7}, None),
        ({"n_predict": None, "max_tokens": 7}, 7),
    ],
)
def test_the_token_limit_has_three_names(fields: dict[str, Any], limit: int | None) -> None:
    assert request(**fields).requested_tokens == limit


@pytest.mark.parametrize(
    ("fields", "n_probs"),
    [
        ({}, None),
        ({"n_probs": 0}, None),
        ({"n_probs": 3}, 3),
        ({"logprobs": 2}, 2),
        ({"logprobs": 0}, 0),
        ({"n_probs": 3, "logprobs": 2}, 3),
    ],
)
def test_log_probabilities_have_two_names(fields: dict[str, Any], n_probs: int | None) -> None:
    assert request(**fields).top_logprobs == n_probs


@pytest.mark.parametrize(
    ("fields", "n"), [({}, 1), ({"n": 3}, 3), ({"n_cmpl": 2}, 2), ({"n": 3, "n_cmpl": 2}, 2)]
)
def test_the_number_of_choices_has_two_names(fields: dict[str, Any], n: int) -> None:
    assert request(**fields).choices == n


@pytest.mark.parametrize(
    ("seed", "is_random"), [(None, True), (-1, True), (2**32 - 1, True), (0, False)]
)
def test_a_seed_of_minus_one_is_random(seed: int | None, is_random: bool) -> None:
    assert request(seed=seed).has_random_seed is is_random


def test_sampling_defaults_are_llama_cpps() -> None:
    sampled = request().sampled_as(seed=1, logit_bias={})
    assert (sampled.temperature, sampled.top_k, sampled.top_p, sampled.min_p) == (
        0.8,
        40,
        0.95,
        0.05,
    )


@pytest.mark.parametrize(
    ("fields", "grammar", "schema"),
    [
        ({}, None, None),
        ({"grammar": ""}, None, None),
        ({"grammar": "a", "json_schema": {"type": "null"}}, "a", {"type": "null"}),
        ({"grammar": "", "json_schema": {"type": "null"}}, None, {"type": "null"}),
        ({"json_schema": {}}, None, {"type": "object"}),
    ],
)
def test_an_empty_grammar_is_none_and_an_empty_schema_any_object(
    fields: dict[str, Any], grammar: str | None, schema: dict[str, Any] | None
) -> None:
    sampled = request(**fields).sampled_as(seed=1, logit_bias={})
    assert (sampled.grammar, sampled.json_schema) == (grammar, schema)


def test_what_a_request_gives_replaces_a_default() -> None:
    given = request(temperature=0, top_k=0, n_cmpl=2)
    sampled = given.sampled_as(seed=9, logit_bias={5: -100.0})
    assert (sampled.temperature, sampled.top_k, sampled.top_p) == (0, 0, 0.95)
    assert (sampled.n, sampled.seed) == (2, 9)
    assert sampled.logit_bias == {"5": -100.0}


@pytest.mark.parametrize(
    ("name", "value", "becomes"),
    [
        ("temperature", -1, 0),
        ("temperature", 5, 5),
        ("top_k", -1, 0),
        ("top_p", 1.5, 1),
        ("min_p", -0.1, 0),
        ("xtc_probability", 2, 1),
        ("mirostat", 3, 2),
    ],
)
def test_sampling_values_are_brought_into_their_range(
    name: str, value: float, becomes: float
) -> None:
    assert getattr(request(**{name: value}), name) == becomes


def test_empty_stop_strings_are_no_stop_strings() -> None:
    assert request(stop=["", "x"]).stop_strings() == ("x",)
    assert request(stop="").stop_strings() == ()
    assert len(request(stop=["x"] * 100).stop_strings()) == 100


def test_a_logit_bias_is_pairs_or_a_map() -> None:
    pairs = [[15, 1.5], ["Hello", -1], [3, False]]
    assert request(logit_bias=pairs).logit_bias == [(15, 1.5), ("Hello", -1), (3, False)]
    assert request(logit_bias={"15": 2, " a": False}).logit_bias == {"15": 2, " a": False}


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"prompt": None}, "prompt", "invalid_type"),
        ({"prompt": []}, "prompt", "invalid_value"),
        ({"prompt": [[]]}, "prompt[0]", "invalid_value"),
        ({"prompt": [1, [2]]}, "prompt", "invalid_value"),
        ({"prompt": [-1]}, "prompt[0]", "invalid_value"),
        ({"prompt": ["a", [1, 2.5]]}, "prompt[1][1]", "invalid_type"),
        ({"prompt": {}}, "prompt.prompt_string", "missing_required_parameter"),
        ({"n_predict": -2}, "n_predict", "invalid_value"),
        ({"n_predict": "8"}, "n_predict", "invalid_type"),
        ({"n_probs": 101}, "n_probs", "invalid_value"),
        ({"n_cmpl": 0}, "n_cmpl", "invalid_value"),
        ({"id_slot": -2}, "id_slot", "invalid_value"),
        ({"logit_bias": [[1, True]]}, "logit_bias[0][1]", "invalid_value"),
        ({"logit_bias": [[1]]}, "logit_bias[0][1]", "missing_required_parameter"),
        ({"stop": ["x"] * 129}, "stop", "invalid_value"),
        ({"oai_compat": "no"}, "oai_compat", "invalid_type"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str, code: str) -> None:
    body = {"prompt": "Once", **fields}
    with pytest.raises(ValidationError) as caught:
        LlamaCppRequest.model_validate(body)
    error = from_validation_error(caught.value, body)
    assert (error.param, error.code) == (param, code)


def test_images_are_refused() -> None:
    body = {"prompt": {"prompt_string": "a", "multimodal_data": ["aGk="]}}
    with pytest.raises(ValidationError) as caught:
        LlamaCppRequest.model_validate(body)
    error = from_validation_error(caught.value, body)
    assert (error.param, error.code) == ("prompt.multimodal_data", "unsupported_content")


def test_fields_without_effect_are_known_by_name() -> None:
    fields = {"samplers": ["top_k"], "n_indent": 2}
    assert request(**fields, id_slot=3, cache_prompt=True).ignored_params == sorted(fields)


def test_settings_show_what_was_asked_and_what_was_left_out() -> None:
    given = request(n_predict=8, stop=["x"], seed=5, n_probs=2, stream=True, grammar='root ::= "a"')
    sampling = SamplingParams(seed=5, temperature=0.5, top_k=3, logit_bias=LogitBias({7: -100.0}))
    settings = generation_settings(given, sampling, model="m", n_ctx=512)
    assert (settings["n_predict"], settings["max_tokens"]) == (8, 8)
    assert (settings["temperature"], settings["top_k"], settings["top_p"]) == (0.5, 3, 1.0)
    assert (settings["seed"], settings["seed_cur"]) == (5, 5)
    assert settings["logit_bias"] == [{"token": 7, "bias": -100.0}]
    assert (settings["stop"], settings["n_probs"], settings["stream"]) == (["x"], 2, True)
    assert (settings["grammar"], settings["n_ctx"], settings["model"]) == (
        'root ::= "a"',
        512,
        "m",
    )


def test_a_random_seed_is_shown_as_llama_cpp_shows_it_beside_the_drawn_one() -> None:
    settings = generation_settings(request(), SamplingParams(seed=77), model="m", n_ctx=512)
    assert (settings["seed"], settings["seed_cur"], settings["n_predict"]) == (2**32 - 1, 77, -1)


def test_settings_have_every_field_that_llama_server_gives() -> None:
    settings = generation_settings(request(), SamplingParams(seed=1), model="m", n_ctx=512)
    assert settings.keys() - {"n_ctx", "model", "seed_cur"} == LLAMA_SERVER_SETTINGS


LLAMA_SERVER_SETTINGS = {
    *("adaptive_decay", "adaptive_target", "backend_sampling", "chat_format"),
    *("dry_allowed_length", "dry_base", "dry_multiplier", "dry_penalty_last_n"),
    *("dry_sequence_breakers", "dynatemp_exponent", "dynatemp_range", "frequency_penalty"),
    *("generation_prompt", "grammar", "grammar_lazy", "grammar_triggers", "ignore_eos"),
    *("logit_bias", "lora", "max_tokens", "min_keep", "min_p", "mirostat", "mirostat_eta"),
    *("mirostat_tau", "n_discard", "n_keep", "n_predict", "n_probs", "post_sampling_probs"),
    *("presence_penalty", "preserved_tokens", "reasoning_format", "reasoning_in_content"),
    *("repeat_last_n", "repeat_penalty", "samplers", "seed", "speculative.types", "stop"),
    *("stream", "temperature", "timings_per_token", "top_k", "top_n_sigma", "top_p"),
    *("typical_p", "xtc_probability", "xtc_threshold"),
}
