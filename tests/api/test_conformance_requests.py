"""docs/api.md, rows of request fields that both endpoints have, and of text completions."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest

from tests.api.conformance import Endpoint, shown_by, shows
from tests.server import Server, user
from tests.sweeps import examples

REQUESTS = "chat.request text.request"
ADDITIONS = "chat.request+ text.request+"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "lamp": {"enum": ["on", "off"]},
        "count": {"type": "integer", "minimum": 0, "maximum": 9},
    },
    "required": ["lamp", "count"],
    "additionalProperties": False,
}

_KEPT = "test_stored_completions::TestChat::test_what_was_answered_is_kept"
_RESOURCE = "test_stored_completions::TestText::test_the_whole_resource"
_PRIORITY = "test_queue::test_priority_is_served_before_flex"
_PREFIXES = "test_prefix_isolation::test_prefixes_are_shared_within_a_key_and_a_prompt_cache_key"
_COLUMNS = "test_logprobs::TestTextShape::test_columns_have_an_entry_for_every_token"

shown_by(_PRIORITY, "chat.request text.request+", "service_tier")
shown_by(_PREFIXES, "chat.request text.request+", "prompt_cache_key")
shown_by(
    "test_prefix_store::test_in_memory_is_not_stored", "chat.request", "prompt_cache_retention"
)
_RETENTION = "test_prefix_store::test_what_is_asked_to_be_kept_is_stored_at_once"
_OPTIONS = ("prompt_cache_options", "prompt_cache_options.mode", "prompt_cache_options.ttl")
_BREAKPOINT = "messages[*].content[text].prompt_cache_breakpoint"
shown_by(_RETENTION, "chat.request", *_OPTIONS, _BREAKPOINT)
shown_by(_KEPT, "chat.request", "store", "metadata")
shown_by(_RESOURCE, "text.request+", "store", "metadata")
shown_by("test_scoring::TestBestOf::test_the_likeliest_come_first", "text.request", "best_of")
shown_by("test_scoring::test_echo_begins_the_text_with_the_prompt", "text.request", "echo")
shown_by(
    "test_other_vocabularies::test_a_suffix_is_put_behind_the_prompt", "text.request", "suffix"
)
shown_by(_COLUMNS, "text.request", "logprobs")


@pytest.fixture(params=["chat", "text"])
def endpoint(server: Server, request: pytest.FixtureRequest) -> Endpoint:
    """Both endpoints."""
    return Endpoint(server, request.param)


class TestWhatIsGenerated:
    """Which model, how much, how often."""

    @shows(REQUESTS, "model")
    def test_the_model_is_one_that_is_served(self, endpoint: Endpoint) -> None:
        assert endpoint.completion(model="pilotlight-builtin").model == "pilotlight-builtin"
        refused = endpoint.post(model="another")
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")

    @shows(REQUESTS, "max_tokens")
    def test_the_limit_is_exact(self, endpoint: Endpoint) -> None:
        completion = endpoint.completion(max_tokens=7, ignore_eos=True)
        assert completion.usage.completion_tokens == 7
        assert completion.choices[0].finish_reason == "length"

    @pytest.mark.slow
    @shows(REQUESTS, "n")
    def test_there_are_n_choices(self, endpoint: Endpoint) -> None:
        one = endpoint.completion(seed=5)
        three = endpoint.completion(seed=5, n=3, temperature=2)
        assert [choice.index for choice in three.choices] == [0, 1, 2]
        assert len(set(endpoint.texts(seed=5, n=3, temperature=2))) == 3
        assert three.usage.prompt_tokens == one.usage.prompt_tokens

    @pytest.mark.parametrize("stop", [" time", ["zebra", " time"]])
    @shows(REQUESTS, "stop")
    def test_a_stop_string_ends_the_text(self, endpoint: Endpoint, stop: Any) -> None:
        completion = endpoint.completion(temperature=0, stop=stop)
        assert endpoint.texts(temperature=0, stop=stop) == ["Once upon a"]
        assert completion.choices[0].finish_reason == "stop"

    @shows(REQUESTS, "user")
    def test_the_user_is_kept_with_what_is_stored(self, server: Server, endpoint: Endpoint) -> None:
        completion = endpoint.completion(user="ada", store=True)
        path = "/v1/chat/completions" if endpoint.is_chat else "/v1/completions"
        kept = server.http.get(f"{path}/{completion.id}").raise_for_status().json()
        assert kept["input_user"] == "ada"

    @pytest.mark.parametrize("tier", ["auto", "default", "flex", "scale", "priority", "fast"])
    @shows("chat.request text.request+", "service_tier")
    def test_the_tier_that_serves_is_named(self, endpoint: Endpoint, tier: str) -> None:
        served = {"auto": "default", "scale": "default", "fast": "priority"}.get(tier, tier)
        assert endpoint.completion(service_tier=tier, max_tokens=1).service_tier == served


class TestStreams:
    """Chunks, and what may be in them."""

    @shows(REQUESTS, "stream", "stream_options", "stream_options.include_usage")
    def test_a_stream_adds_up_to_the_body(self, endpoint: Endpoint) -> None:
        chunks = endpoint.chunks(temperature=0, stream_options={"include_usage": True})
        parts = [choice for chunk in chunks for choice in chunk.choices]
        texts = [part.delta.content if endpoint.is_chat else part.text for part in parts]
        assert "".join(text or "" for text in texts) == endpoint.text(temperature=0)
        assert len(chunks) > 20
        assert not chunks[-1].choices
        assert chunks[-1].usage.completion_tokens == 40
        assert all(chunk.usage is None for chunk in chunks[:-1])

    @shows(REQUESTS, "stream_options.include_usage")
    def test_without_asking_there_is_no_usage(self, endpoint: Endpoint) -> None:
        assert all(chunk.usage is None for chunk in endpoint.chunks(max_tokens=2))

    @shows(ADDITIONS, "timings_per_token")
    def test_timings_come_with_the_body_or_with_every_chunk(self, endpoint: Endpoint) -> None:
        body = endpoint.completion(max_tokens=5, timings_per_token=True, ignore_eos=True)
        chunks = endpoint.chunks(max_tokens=5, timings_per_token=True, ignore_eos=True)
        timed = [chunk.timings["predicted_n"] for chunk in chunks if "timings" in chunk.model_extra]
        assert body.timings["predicted_n"] == 5
        assert timed == sorted(timed)
        assert (timed[0], timed[-1]) == (1, 5)
        assert "timings" not in endpoint.completion(max_tokens=1).model_extra

    @shows(ADDITIONS, "verbose")
    def test_llama_servers_fields_come_along(self, endpoint: Endpoint) -> None:
        fields: dict[str, Any] = {"max_tokens": 3, "temperature": 0, "seed": 4}
        plain = endpoint.completion(**fields)
        body = endpoint.completion(**fields, verbose=True)
        found = body.model_extra["__verbose"]
        assert "__verbose" not in plain.model_extra
        assert found["content"] == endpoint.text(**fields)
        assert "capital" in found["prompt"] or found["prompt"]
        assert (found["stop_type"], found["tokens_predicted"]) == ("limit", 3)
        assert found["tokens_evaluated"] == body.usage.prompt_tokens
        settings = found["generation_settings"]
        assert (settings["temperature"], settings["seed"], settings["n_predict"]) == (0, 4, 3)
        chunks = endpoint.chunks(**fields, verbose=True)
        *others, last = [chunk for chunk in chunks if chunk.choices]
        assert not any("__verbose" in chunk.model_extra for chunk in others)
        told = last.model_extra["__verbose"]
        assert told["content"] == ""
        assert told["prompt"] == found["prompt"]
        assert told["timings"]["predicted_n"] == 3

    @shows(ADDITIONS, "return_progress")
    def test_progress_comes_while_the_prompt_is_evaluated(self, endpoint: Endpoint) -> None:
        chunks = endpoint.chunks(max_tokens=1, return_progress=True, cache_prompt=False)
        progress = [
            chunk.prompt_progress for chunk in chunks if "prompt_progress" in chunk.model_extra
        ]
        assert progress
        assert progress[-1]["processed"] == progress[-1]["total"] > 5

    @shows(ADDITIONS, "cache_prompt")
    def test_a_cached_prompt_may_be_evaluated_again(self, endpoint: Endpoint) -> None:
        words = "a prompt that no other test has: " + "lamp, stove, " * 40
        prompt = {"messages": user(words)} if endpoint.is_chat else {"prompt": words}

        def cached(**fields: Any) -> int:
            usage = endpoint.completion(**prompt, max_tokens=1, **fields).usage
            return int(usage.prompt_tokens_details.cached_tokens)

        cached()
        assert cached() > 100
        assert cached(cache_prompt=False) == 0


def ended(endpoint: Endpoint, **fields: Any) -> list[str]:
    """Texts of choices that came to an end, however they were sampled."""
    completion = endpoint.completion(
        **fields, n=examples(16, at_least=6), temperature=1.5, seed=3, max_tokens=100
    )
    choices = [choice for choice in completion.choices if choice.finish_reason == "stop"]
    assert choices
    return [choice.message.content if endpoint.is_chat else choice.text for choice in choices]


class TestForms:
    """Answers that have the form that was asked for, at a temperature that would break it."""

    @pytest.mark.sweep(1)
    @pytest.mark.parametrize(
        "fields",
        [
            {"response_format": {"type": "json_object", "schema": SCHEMA}},
            {"json_schema": SCHEMA},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": SCHEMA},
                }
            },
        ],
        ids=["schema of an object", "json_schema", "response_format"],
    )
    @shows(ADDITIONS, "json_schema", "response_format[json_object].schema")
    @shows(
        "text.request+",
        *("response_format", "response_format.type", "response_format.json_schema"),
        "response_format.json_schema.schema",
    )
    @shows(
        "chat.request",
        *("response_format", "response_format[json_schema].type"),
        *(
            "response_format[json_schema].json_schema",
            "response_format[json_schema].json_schema.schema",
        ),
    )
    def test_a_schema_is_followed(self, endpoint: Endpoint, fields: dict[str, Any]) -> None:
        for text in ended(endpoint, **fields):
            jsonschema.validate(json.loads(text), SCHEMA)

    @pytest.mark.slow
    @shows("chat.request", "response_format[json_object].type")
    @shows("text.request+", "response_format.type")
    def test_an_object_is_one(self, endpoint: Endpoint) -> None:
        for text in ended(endpoint, response_format={"type": "json_object"}):
            assert isinstance(json.loads(text), dict)

    @shows("chat.request", "response_format[text].type")
    @shows("text.request+", "response_format.type")
    def test_text_is_no_form(self, endpoint: Endpoint) -> None:
        fields = {"temperature": 0}
        assert endpoint.text(**fields, response_format={"type": "text"}) == endpoint.text(**fields)

    @pytest.mark.parametrize("grammar", ['root ::= "on" | "off"', 'start: "on" | "off"'])
    @shows(ADDITIONS, "grammar")
    def test_a_grammar_is_followed(self, endpoint: Endpoint, grammar: str) -> None:
        assert set(ended(endpoint, grammar=grammar)) <= {"on", "off"}

    @shows(ADDITIONS, "regex")
    def test_a_regular_expression_is_matched(self, endpoint: Endpoint) -> None:
        for text in ended(endpoint, regex="[a-c]{3}-[0-9]{1,5}"):
            assert re.fullmatch("[a-c]{3}-[0-9]{1,5}", text), text


class TestText:
    """Fields of text completions alone."""

    @pytest.mark.parametrize(
        "prompt", ["Once", ["Once", "Once"], [1, 2, 3], [[1, 2], [1, 2]]], ids=json.dumps
    )
    @shows("text.request", "prompt")
    def test_a_prompt_has_four_forms(self, server: Server, prompt: Any) -> None:
        texts = Endpoint(server, "text").texts(prompt=prompt, temperature=0, echo=True)
        assert len(texts) == (2 if isinstance(prompt[0], (list, str)) and len(prompt) == 2 else 1)
        assert len(set(texts)) == 1
        assert prompt not in ("Once", ["Once", "Once"]) or texts[0].startswith("Once")

    @pytest.mark.slow
    @shows("text.request", "best_of")
    def test_the_best_of_several_is_returned(self, server: Server) -> None:
        endpoint = Endpoint(server, "text")
        fields = {"temperature": 1.5, "seed": 4, "ignore_eos": True}
        best = endpoint.completion(best_of=4, **fields)
        assert best.choices[0].text in endpoint.texts(n=4, **fields)
        assert best.usage.completion_tokens == 160
