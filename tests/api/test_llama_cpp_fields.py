"""``POST /completion``: what each request field does, and what is refused."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from shared.engine.llama.model import Model
from tests.api.llama_cpp import ONCE, chunks, complete, error
from tests.server import Server


class TestSampling:
    """How tokens are chosen."""

    def test_the_defaults_are_llama_cpps(self, server: Server) -> None:
        body = {"prompt": ONCE, "seed": 7}
        spelled_out = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05}
        native = server.post("/completion", {**body, "n_predict": 40}).json()
        openai = server.text(**body, max_tokens=40, **spelled_out).json()
        plain = server.text(**body, max_tokens=40).json()
        assert native["content"] == openai["choices"][0]["text"]
        assert native["content"] != plain["choices"][0]["text"]
        assert native["generation_settings"].items() >= spelled_out.items()

    def test_a_drawn_seed_can_be_used_again(self, server: Server) -> None:
        first = complete(server, prompt=ONCE, temperature=1, n_predict=20, seed=-1)
        settings = first["generation_settings"]
        again = complete(
            server, prompt=ONCE, temperature=1, n_predict=20, seed=settings["seed_cur"]
        )
        assert settings["seed"] == 2**32 - 1
        assert again["content"] == first["content"]
        assert again["generation_settings"]["seed"] == settings["seed_cur"]

    @pytest.mark.parametrize(
        "bias", [[["Paris", False]], [["Paris", -100]], {"Paris": False}, {"Paris": -1000}]
    )
    def test_a_text_can_be_banned(self, server: Server, bias: Any) -> None:
        assert "Paris" not in complete(server, logit_bias=bias)["content"]

    @pytest.mark.parametrize("spelling", ["pair", "pairs that add up", "map"])
    def test_a_token_can_be_forced(self, server: Server, vocabulary: Model, spelling: str) -> None:
        token = vocabulary.tokenize("!")[0]
        bias = {
            "pair": [[token, 100]],
            "pairs that add up": [[token, 50], ["!", 50]],
            "map": {str(token): 100},
        }[spelling]
        answer = complete(server, logit_bias=bias)
        assert answer["content"] == "!!!"
        assert answer["generation_settings"]["logit_bias"] == [{"token": token, "bias": 100}]

    @pytest.mark.parametrize("bias", [[[1280, 1]], {"1280": 1}, {"-1": 1}])
    def test_a_token_outside_the_vocabulary_is_refused(self, server: Server, bias: Any) -> None:
        assert error(server, logit_bias=bias) == (400, "logit_bias", "invalid_value")

    def test_values_outside_their_range_are_brought_into_it(self, server: Server) -> None:
        answer = complete(server, temperature=-1, top_k=-1, top_p=2, min_p=-1)
        settings = answer["generation_settings"]
        assert (settings["temperature"], settings["top_k"]) == (0, 0)
        assert (settings["top_p"], settings["min_p"]) == (1, 0)
        assert answer["content"] == " Paris."


class TestConstraints:
    """Grammars and schemas."""

    def test_a_grammar_is_followed(self, server: Server) -> None:
        answer = complete(server, grammar='root ::= "yes" | "no"', temperature=1, n_predict=-1)
        assert answer["content"] in ("yes", "no")
        assert answer["stop_type"] == "eos"
        assert answer["generation_settings"]["grammar"] == 'root ::= "yes" | "no"'

    def test_a_schema_is_followed(self, server: Server) -> None:
        schema = {"enum": ["red", "green"]}
        answer = complete(server, json_schema=schema, temperature=1, n_predict=-1)
        assert json.loads(answer["content"]) in ("red", "green")

    def test_an_empty_grammar_is_none(self, server: Server) -> None:
        assert complete(server, grammar="")["content"] == " Paris."

    @pytest.mark.parametrize(
        ("field", "value"), [("grammar", 'root ::= "'), ("json_schema", {"type": "no such type"})]
    )
    def test_a_wrong_one_is_refused(self, server: Server, field: str, value: Any) -> None:
        status, param, _ = error(server, **{field: value})
        assert (status, param) == (400, field)


class TestMeasures:
    """Probabilities, tokens, timings."""

    def test_probabilities_agree_with_openais_log_probabilities(
        self, server: Server, vocabulary: Model
    ) -> None:
        answer = complete(server, n_probs=3, return_tokens=True)
        found = answer["completion_probabilities"]
        columns = answer["choices"][0]["logprobs"]
        assert [entry["id"] for entry in found] == answer["tokens"]
        assert [entry["token"] for entry in found] == columns["tokens"]
        assert [entry["logprob"] for entry in found] == columns["token_logprobs"]
        assert [len(entry["top_logprobs"]) for entry in found] == [3, 3, 3]
        assert "".join(bytes(entry["bytes"]).decode() for entry in found) == answer["content"]
        assert answer["generation_settings"]["n_probs"] == 3

    def test_streamed_probabilities_are_the_bodys(self, server: Server) -> None:
        whole = complete(server, n_probs=2)["completion_probabilities"]
        parts = chunks(server, n_probs=2)
        streamed = [e for part in parts for e in part.get("completion_probabilities", [])]
        assert [entry["id"] for entry in streamed] == [entry["id"] for entry in whole]

    def test_tokens_are_given_if_asked_for(self, server: Server, vocabulary: Model) -> None:
        assert complete(server)["tokens"] == []
        tokens = complete(server, return_tokens=True)["tokens"]
        assert b"".join(vocabulary.piece(token) for token in tokens) == b" Paris."

    def test_timings_are_true(self, server: Server) -> None:
        prompt = "A prompt that only this test has, to be evaluated once. " * 20
        started = time.perf_counter()
        first = complete(server, prompt=prompt, n_predict=20, ignore_eos=True)
        elapsed_ms = (time.perf_counter() - started) * 1000
        timings = first["timings"]
        assert timings["prompt_n"] + timings["cache_n"] == first["tokens_evaluated"]
        assert timings["predicted_n"] == first["tokens_predicted"] == 20
        assert 0 < timings["prompt_ms"] + timings["predicted_ms"] < elapsed_ms
        per_token = timings["prompt_ms"] / timings["prompt_n"]
        assert timings["prompt_per_token_ms"] == pytest.approx(per_token)
        assert timings["predicted_per_second"] == pytest.approx(19000 / timings["predicted_ms"])

    @pytest.mark.slow
    def test_a_cached_prompt_is_evaluated_again_only_if_asked_for(self, server: Server) -> None:
        prompt = "Another prompt that only this test has, to be cached. " * 20
        complete(server, prompt=prompt)
        cached = complete(server, prompt=prompt)
        again = complete(server, prompt=prompt, cache_prompt=False)
        assert cached["timings"]["cache_n"] > 100
        assert cached["timings"]["prompt_n"] < 20
        assert again["timings"]["cache_n"] == 0
        assert again["timings"]["prompt_n"] == again["tokens_evaluated"]


class TestRefusals:
    """What is not done is said."""

    def test_fields_without_effect_are_named(self, server: Server) -> None:
        fields = {"n_keep": 1, "samplers": ["top_k"], "t_max_predict_ms": 5, "id_slot": 3}
        response = server.post("/completion", {"prompt": ONCE, "n_predict": 1, **fields})
        ignored = response.headers["x-ignored-params"]
        assert ignored == "samplers, t_max_predict_ms, n_keep"

    @pytest.mark.parametrize("path", ["/completion", "/v1/completions"])
    def test_fields_of_other_endpoints_have_no_effect(self, server: Server, path: str) -> None:
        others = {"messages": [{"content": [1]}, 2], "n_batch": "x"}
        response = server.post(path, {"prompt": ONCE, "max_tokens": 1, **others})
        assert response.status_code == 200

    @pytest.mark.parametrize(
        ("fields", "param", "code"),
        [
            ({"echo": True}, "echo", "unsupported_parameter"),
            ({"suffix": "x"}, "suffix", "unsupported_parameter"),
            ({"best_of": 2}, "best_of", "unsupported_parameter"),
            ({"lora": [{"id": 0, "scale": 1}]}, "lora", "unsupported_parameter"),
            ({"prompt": ""}, "prompt", "invalid_value"),
            ({"prompt": ["a", ""]}, "prompt[1]", "invalid_value"),
            ({"prompt": [1, 1280]}, "prompt[1]", "invalid_value"),
            ({"prompt": ["a", ["b", 1280]]}, "prompt[1][1]", "invalid_value"),
            ({"prompt": list(range(1000)) * 5}, "prompt", "context_length_exceeded"),
            ({"prompt": "x" * (512 * 1024 + 1)}, "prompt", "content_too_large"),
            ({"prompt": ["x" * 512 * 1024, "y"]}, "prompt", "content_too_large"),
            ({"n_predict": -2}, "n_predict", "invalid_value"),
            ({"stream_options": {}}, "stream_options", "invalid_value"),
        ],
    )
    def test_what_would_change_the_answer_is_refused(
        self, server: Server, fields: dict[str, Any], param: str, code: str
    ) -> None:
        assert error(server, **fields) == (400, param, code)

    def test_fields_that_ask_for_nothing_are_fine(self, server: Server) -> None:
        fields = {"echo": False, "suffix": "", "best_of": 1, "lora": [], "n_probs": 0}
        assert complete(server, **fields, post_sampling_probs=False)["content"] == " Paris."

    def test_an_unknown_model_is_404(self, server: Server) -> None:
        assert error(server, model="other") == (404, "model", "model_not_found")

    @pytest.mark.parametrize("path", ["/completion", "/completions"])
    def test_a_key_is_needed_where_one_is_set(self, keyed_server: Server, path: str) -> None:
        assert keyed_server.post(path, {"prompt": ONCE}).status_code == 401

    def test_the_service_tier_is_named(self, server: Server) -> None:
        assert complete(server, service_tier="flex")["service_tier"] == "flex"
