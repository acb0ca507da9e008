"""docs/api.md, rows of sampling fields: what each does, on both endpoints."""

from __future__ import annotations

from typing import Any

import pytest

from shared.engine.llama.model import Model
from tests.api.conformance import Endpoint, shown_by, shows
from tests.api.conftest import StartServer
from tests.api.texts import token
from tests.server import Server

REQUESTS = "chat.request text.request"
ADDITIONS = "chat.request+ text.request+"
OPENAIS = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed")

STEADY: dict[str, Any] = {"temperature": 1.5, "seed": 11, "ignore_eos": True, "cache_prompt": False}
"""The text that the fields below change; nothing cached, so that both endpoints round alike."""
DRY: dict[str, Any] = {"dry_multiplier": 50, "dry_allowed_length": 0, "dry_sequence_breakers": []}

EFFECTS: dict[str, dict[str, Any]] = {
    "temperature": {"temperature": 0.3},
    "top_p": {"top_p": 0.3},
    "frequency_penalty": {"temperature": 0, "frequency_penalty": 2},
    # Long enough that a story comes back to its words.
    "presence_penalty": {"temperature": 0, "presence_penalty": 2, "max_tokens": 120},
    "seed": {"seed": 12},
    "top_k": {"top_k": 2},
    "min_p": {"min_p": 0.5},
    "typical_p": {"typical_p": 0.3},
    "repeat_penalty": {"temperature": 0, "repeat_penalty": 2},
    "repetition_penalty": {"temperature": 0, "repetition_penalty": 2},
    "repeat_last_n": {"repeat_penalty": 10, "repeat_last_n": 2},
    "dry_multiplier": DRY,
    "dry_base": {**DRY, "dry_multiplier": 0.5, "dry_base": 50},
    "dry_allowed_length": DRY,
    "dry_penalty_last_n": {**DRY, "dry_penalty_last_n": 8},
    "dry_sequence_breakers": {**DRY, "dry_sequence_breakers": [" "]},
    "xtc_probability": {"xtc_probability": 1},
    "xtc_threshold": {"xtc_probability": 1, "xtc_threshold": 0.01},
    "mirostat": {"mirostat": 2, "mirostat_tau": 1},
    "mirostat_tau": {"mirostat": 2, "mirostat_tau": 2},
    "mirostat_eta": {"mirostat": 2, "mirostat_tau": 2, "mirostat_eta": 1},
}
"""What to send for a field to have an effect, which it has not when it is left out of that."""

DETAILS = {
    "test_sampling::test_temperature_zero_is_greedy": ("temperature",),
    "test_sampling::test_leaving_one_token_to_choose_from_is_greedy": ("top_k", "min_p"),
    "test_sampling::test_the_same_seed_gives_the_same_text": ("seed",),
    "test_sampling::TestPenalties::test_a_frequency_penalty_balances_two_tokens": (
        "frequency_penalty",
    ),
    "test_sampling::TestPenalties::test_repeat_last_n_forgets_what_is_longer_ago": (
        "repeat_last_n",
    ),
    "test_sampling::TestPenalties::test_repetition_penalty_is_another_name_of_repeat_penalty": (
        "repeat_penalty",
        "repetition_penalty",
    ),
    "test_llama_cpp_sampling::TestDRY::test_a_loop_is_left_after_the_allowed_length": (
        "dry_multiplier",
        "dry_allowed_length",
    ),
    "test_llama_cpp_sampling::TestDRY::test_it_only_looks_back_so_far": ("dry_penalty_last_n",),
    "test_llama_cpp_sampling::TestDRY::test_a_text_of_breakers_is_free": ("dry_sequence_breakers",),
    "test_llama_cpp_sampling::TestXTC::test_the_top_choice_is_excluded_with_the_probability": (
        "xtc_probability",
    ),
    "test_llama_cpp_sampling::TestXTC::test_only_likely_tokens_are_excluded": ("xtc_threshold",),
    "test_llama_cpp_sampling::TestMirostat::test_the_text_is_as_surprising_as_asked_for": (
        "mirostat",
        "mirostat_tau",
    ),
    "test_llama_cpp_sampling::TestMirostat::test_the_learning_rate_matters": ("mirostat_eta",),
}
"""Tests of what it is that the fields do, on one of the endpoints."""
for _test, _fields in DETAILS.items():
    shown_by(_test, REQUESTS if set(_fields) <= {*OPENAIS} else ADDITIONS, *_fields)


@pytest.mark.sweep(1)
@pytest.mark.parametrize("field", EFFECTS)
@shows(REQUESTS, *OPENAIS)
@shows(ADDITIONS, *(name for name in EFFECTS if name not in OPENAIS))
def test_a_field_changes_the_text_alike_on_both_endpoints(server: Server, field: str) -> None:
    fields = {**STEADY, **EFFECTS[field]}
    others = {name: value for name, value in EFFECTS[field].items() if name != field}

    chat = Endpoint(server, "chat").text(**fields)
    text = Endpoint(server, "text").text(**fields)

    assert chat == text
    assert text != Endpoint(server, "text").text(**{**STEADY, **others})


@pytest.mark.parametrize("surface", ["chat", "text"])
class TestTokens:
    """Fields that ban, force or spare tokens."""

    @shows(REQUESTS, "logit_bias")
    def test_a_bias_forces_or_bans(self, server: Server, vocabulary: Model, surface: str) -> None:
        endpoint = Endpoint(server, surface)
        lamp = str(token(vocabulary, "a"))
        once = str(vocabulary.tokenize("Once", add_special=False)[0])

        assert endpoint.text(logit_bias={lamp: 100}, max_tokens=5) == "a" * 5
        assert endpoint.text(temperature=0).startswith("Once")
        assert not endpoint.text(temperature=0, logit_bias={once: -100}).startswith("O")

    @shows(ADDITIONS, "ignore_eos", "min_tokens")
    def test_the_end_is_put_off(self, server: Server, vocabulary: Model, surface: str) -> None:
        endpoint = Endpoint(server, surface)
        ended = {str(int(vocabulary.end_tokens[0])): 100}

        def length(**fields: Any) -> int:
            return int(endpoint.completion(logit_bias=ended, **fields).usage.completion_tokens)

        assert length() == 1
        assert length(min_tokens=7) == 8
        assert length(ignore_eos=True) == 40


@pytest.mark.slow
@pytest.mark.parametrize("surface", ["chat", "text"])
class TestFullContexts:
    """Fields that say what stays of a context that is shifted."""

    @shows(ADDITIONS, "n_keep", "n_discard")
    def test_more_or_less_of_it_stays(self, start_server: StartServer, surface: str) -> None:
        server = start_server("--ctx-size", "256", "--parallel", "1", "--context-shift", "true")
        endpoint = Endpoint(server, surface)

        def left(**fields: Any) -> int:
            """Tokens in the context after one that did not fit."""
            asked = {"max_tokens": 245, "ignore_eos": True, "verbose": True, **fields}
            return int(endpoint.post(**asked).json()["__verbose"]["tokens_cached"])

        usual = left()
        assert left(n_keep=-1, n_discard=0) == usual
        assert left(n_keep=0) < usual
        assert left(n_discard=200) < usual
