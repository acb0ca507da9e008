"""``POST /completion`` and ``/completions``: answers in both dialects, bodies and streams."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types import Completion

from shared.engine.llama.model import Model
from shared.protocol.llama_cpp.responses import LlamaCppCompletion, LlamaCppResult
from tests.api.conftest import StartServer
from tests.api.llama_cpp import ASKED, COUNT, FRANCE, ONCE, chunks, complete, error
from tests.conftest import API_KEY
from tests.server import Server, wait_until


class TestBothDialects:
    """One answer that is llama-server's and OpenAI's."""

    def test_an_answer_has_every_field_of_both(self, server: Server) -> None:
        answer = complete(server, prompt=ASKED, n_predict=-1)
        LlamaCppCompletion.model_validate(answer, strict=True, extra="forbid")
        completion = Completion.model_validate(answer, strict=True)
        assert answer["content"] == completion.choices[0].text == "The capital of France is Paris."
        assert (answer["stop_type"], completion.choices[0].finish_reason) == ("eos", "stop")
        assert completion.usage is not None
        assert answer["tokens_evaluated"] == completion.usage.prompt_tokens
        assert answer["tokens_predicted"] == completion.usage.completion_tokens
        assert answer["prompt"] == ASKED
        assert completion.id.startswith("cmpl-")

    def test_the_request_that_asked_for_both_has_the_answer_it_showed(self, server: Server) -> None:
        asked = {
            "prompt": "Building a website can be done in 10 simple steps:",
            "max_tokens": 8,
            "logprobs": 2,
            "ignore_eos": True,
        }
        answer = server.post("/completion", asked).raise_for_status().json()
        assert answer.keys() >= {
            *("id", "id_slot", "index", "tokens_predicted", "tokens_evaluated"),
            *("generation_settings", "has_new_line", "truncated", "stopped_eos"),
            *("stopped_word", "stopped_limit", "stopping_word", "tokens_cached", "timings"),
            *("object", "created", "model", "choices", "usage"),
        }
        logprobs = answer["choices"][0]["logprobs"]
        assert logprobs.keys() == {"tokens", "token_logprobs", "top_logprobs", "text_offset"}
        assert all(len(column) == 8 for column in logprobs.values())
        assert (answer["tokens_predicted"], answer["stopped_limit"]) == (8, True)

    def test_llama_cpps_fields_can_stand_alone(self, server: Server) -> None:
        answer = complete(server, oai_compat=False)
        LlamaCppResult.model_validate(answer, strict=True, extra="forbid")
        assert not answer.keys() & {"id", "object", "choices", "usage"}

    def test_both_paths_answer(self, server: Server) -> None:
        body = {"prompt": FRANCE, "temperature": 0, "n_predict": 3}
        assert server.post("/completions", body).json()["content"] == " Paris."

    def test_fields_can_be_selected(self, server: Server) -> None:
        fields = ["content", "timings/prompt_n", "choices"]
        assert complete(server, response_fields=fields).keys() == set(fields)

    @pytest.mark.parametrize("stream", [False, True])
    def test_openais_client_works_without_v1(self, server: Server, stream: bool) -> None:
        with server.openai("") as client:
            fields: dict[str, Any] = {"model": server.model, "prompt": FRANCE, "temperature": 0}
            if stream:
                parts = client.completions.create(**fields, max_tokens=3, stream=True)
                text = "".join(part.choices[0].text for part in parts)
            else:
                text = client.completions.create(**fields, max_tokens=3).choices[0].text
        assert text == " Paris."


class TestEnding:
    """Why an answer ended."""

    def test_a_stop_string_is_named_and_left_out(self, server: Server) -> None:
        answer = complete(server, prompt=COUNT, stop=["zebra", "5"], n_predict=60)
        assert answer["content"] == "1, 2, 3, 4, "
        assert (answer["stop_type"], answer["stopping_word"]) == ("word", "5")

    def test_a_limit_is_no_truncation(self, server: Server) -> None:
        answer = complete(server, n_predict=2)
        assert (answer["stop_type"], answer["truncated"]) == ("limit", False)
        assert answer["tokens_predicted"] == 2

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("options", "types"),
        [
            ((), "none"),
            (("--spec-type", "ngram-simple"), "ngram-simple"),
            (("--model-draft", "builtin"), "draft-simple"),
            (
                ("--spec-draft-model", "builtin", "--spec-type", "ngram-simple,draft-simple"),
                "draft-simple,ngram-simple",
            ),
        ],
    )
    def test_settings_say_where_drafts_come_from(
        self, start_server: StartServer, options: tuple[str, ...], types: str
    ) -> None:
        server = start_server(*options)
        settings = complete(server, prompt=ONCE, n_predict=1)["generation_settings"]
        assert settings["speculative.types"] == types

    def test_a_full_context_is_a_truncation(self, start_server: StartServer) -> None:
        server = start_server("--ctx-size", "256", "--parallel", "1")
        answer = complete(server, n_predict=-1, ignore_eos=True)
        assert (answer["stop_type"], answer["truncated"]) == ("limit", True)
        assert answer["tokens_evaluated"] + answer["tokens_predicted"] == 256
        assert answer["tokens_cached"] == 255
        assert answer["generation_settings"]["n_ctx"] == 256

    @pytest.mark.slow
    def test_a_context_can_be_shifted(self, start_server: StartServer) -> None:
        options = ("--context-shift", "true", "--n-predict", "400", "--spec-type", "none")
        server = start_server("--ctx-size", "256", "--parallel", "1", *options)
        fields = {"n_predict": -1, "ignore_eos": True, "n_keep": 4}
        response = server.post("/completion", {"prompt": ONCE, **fields})
        answer = response.json()
        assert (answer["tokens_predicted"], answer["truncated"]) == (400, True)
        assert answer["tokens_cached"] < 256
        assert answer["generation_settings"]["n_keep"] == 4
        assert "x-ignored-params" not in response.headers
        with server.openai() as client:
            text = client.completions.create(
                model=server.model, prompt=ONCE, max_tokens=300, extra_body={"ignore_eos": True}
            )
        assert text.usage is not None
        assert text.usage.completion_tokens == 300

    def test_the_deployments_limit_is_no_truncation(self, keyed_server: Server) -> None:
        headers = {"authorization": f"Bearer {API_KEY}"}
        body = {"prompt": ONCE, "ignore_eos": True}
        answer = keyed_server.post("/completion", body, headers=headers).json()
        assert (answer["tokens_predicted"], answer["truncated"]) == (20, False)

    @pytest.mark.parametrize("stream", [False, True])
    def test_nothing_is_predicted_when_nothing_is_asked_for(
        self, server: Server, stream: bool
    ) -> None:
        fields = {"n_predict": 0, "n_probs": 2}
        answer = chunks(server, **fields)[-1] if stream else complete(server, **fields)
        assert (answer["content"], answer["tokens_predicted"]) == ("", 0)
        assert answer["tokens_evaluated"] > 0


class TestStream:
    """Chunks."""

    def test_chunks_add_up_to_the_body(self, server: Server) -> None:
        fields = {"prompt": ASKED, "n_predict": 20, "return_tokens": True}
        whole = complete(server, **fields)
        *parts, ending = chunks(server, **fields)
        assert "".join(part["content"] for part in parts) == whole["content"]
        assert "".join(part["choices"][0]["text"] for part in parts) == whole["content"]
        assert [token for part in parts for token in part["tokens"]] == whole["tokens"]
        assert len(parts) > 5, "it should come token by token"
        assert [part["stop"] for part in parts] == [False] * len(parts)
        assert (ending["stop"], ending["content"], ending["stop_type"]) == (True, "", "eos")
        assert ending["choices"][0]["finish_reason"] == "stop"
        assert ending["usage"]["total_tokens"] == whole["usage"]["total_tokens"]
        assert ending.keys() == whole.keys()

    def test_chunks_count_the_tokens(self, server: Server) -> None:
        *parts, ending = chunks(server, prompt=COUNT, n_predict=10)
        counted = 0
        for part in parts:
            counted += len(part["tokens"])
            assert part["tokens_predicted"] == counted
            assert part["tokens_evaluated"] == ending["tokens_evaluated"]
        assert counted == ending["tokens_predicted"] == 10

    def test_it_ends_with_the_last_chunk(self, server: Server) -> None:
        body = {"prompt": FRANCE, "n_predict": 2, "stream": True}
        text = server.post("/completion", body).text
        assert "[DONE]" not in text
        assert text.endswith("}\n\n")

    def test_llama_cpps_fields_can_stand_alone(self, server: Server) -> None:
        for chunk in chunks(server, oai_compat=False):
            assert not chunk.keys() & {"id", "object", "choices", "usage"}

    def test_usage_of_all_comes_last_if_asked_for(self, server: Server) -> None:
        *parts, total = chunks(server, n=2, stream_options={"include_usage": True})
        assert [part["usage"] for part in parts] == [None] * len(parts)
        assert total["choices"] == []
        assert total["usage"]["completion_tokens"] == 6

    @pytest.mark.slow
    def test_progress_comes_before_the_text(self, server: Server) -> None:
        prompt = "A prompt that is evaluated in several parts. " * 100
        parts = chunks(server, prompt=prompt, return_progress=True, cache_prompt=False)
        progress = [part["prompt_progress"] for part in parts if "prompt_progress" in part]
        assert len(progress) > 2
        assert progress[0]["processed"] == progress[0]["cache"] == 0
        assert [p["total"] for p in progress] == [parts[-1]["tokens_evaluated"]] * len(progress)
        assert sorted(p["processed"] for p in progress) == [p["processed"] for p in progress]
        assert progress[-1]["processed"] == progress[-1]["total"]
        assert "prompt_progress" in parts[0]
        assert parts[0]["content"] == ""

    def test_progress_of_a_prompt_that_was_cached(self, server: Server) -> None:
        """As llama-server tells it: what was cached first, then all."""
        prompt = "A prompt that is evaluated, and then again. " * 5
        for _ in range(2):
            parts = chunks(server, prompt=prompt, return_progress=True)
        told = [part["prompt_progress"] for part in parts if "prompt_progress" in part]
        total = parts[-1]["tokens_evaluated"]
        assert [(each["cache"], each["processed"]) for each in told] == [
            (total - 1, total - 1),
            (total - 1, total),
        ]

    def test_timings_come_with_every_chunk_if_asked_for(self, server: Server) -> None:
        parts = chunks(server, prompt=COUNT, n_predict=5, timings_per_token=True)
        assert [part["timings"]["predicted_n"] for part in parts] == [1, 2, 3, 4, 5, 5]
        *without, _ = chunks(server, prompt=COUNT, n_predict=5)
        assert not any("timings" in part for part in without)


class TestSeveral:
    """Several prompts, several choices."""

    PROMPTS: tuple[Any, ...] = ("1, 2, 3, 4,", FRANCE)

    def test_all_are_openais_choices_and_llama_cpps_results(self, server: Server) -> None:
        answer = complete(server, prompt=list(self.PROMPTS), n=2)
        texts = [choice["text"] for choice in answer["choices"]]
        assert texts == [" 5,", " 5,", " Paris.", " Paris."]
        assert [result["content"] for result in answer["results"]] == texts
        assert [result["index"] for result in answer["results"]] == [0, 1, 2, 3]
        assert answer["content"] == texts[0]
        assert answer["usage"]["completion_tokens"] == 12
        LlamaCppCompletion.model_validate(answer, strict=True, extra="forbid")

    def test_without_openais_fields_they_are_an_array(self, server: Server) -> None:
        answers = complete(server, prompt=list(self.PROMPTS), oai_compat=False)
        assert [answer["content"] for answer in answers] == [" 5,", " Paris."]
        assert [answer["prompt"] for answer in answers] == list(self.PROMPTS)

    def test_chunks_carry_the_index(self, server: Server) -> None:
        texts = ["", "", "", ""]
        for chunk in chunks(server, prompt=list(self.PROMPTS), n_cmpl=2):
            assert chunk["choices"][0]["index"] == chunk["index"]
            texts[chunk["index"]] += chunk["content"]
        assert texts == [" 5,", " 5,", " Paris.", " Paris."]

    def test_too_many_are_refused(self, server: Server) -> None:
        assert error(server, prompt=["a"] * 513, n=2) == (400, "n", "invalid_value")
        assert error(server, prompt=["a"] * 1025) == (400, "prompt", "invalid_value")


def test_a_prompt_is_the_same_in_every_shape(server: Server, vocabulary: Model) -> None:
    tokens = vocabulary.tokenize(FRANCE)
    half = vocabulary.render(tokens[0], special=False).decode()
    shapes = [FRANCE, tokens, [half, *tokens[1:]], [[half, *tokens[1:]]], {"prompt_string": FRANCE}]
    for shape in shapes:
        answer = complete(server, prompt=shape)
        assert answer["content"] == " Paris."
        assert answer["prompt"] == FRANCE
        assert answer["tokens_evaluated"] == len(tokens)


def test_a_client_that_hangs_up_frees_its_sequences(server: Server) -> None:
    body = {"prompt": ONCE, "ignore_eos": True, "n_predict": 3000, "stream": True}
    with (
        server.client() as http,
        http.stream("POST", "/completion", json=body) as response,
    ):
        next(response.iter_text())
    wait_until(server.is_idle, "idle")


def test_clients_whose_base_url_has_no_version_chat_and_list_models(server: Server) -> None:
    with server.openai("") as client:
        models = [model.id for model in client.models.list()]
        answer = client.chat.completions.create(
            model=models[0],
            messages=[{"role": "user", "content": "What is the capital of France?"}],
            temperature=0,
        )
    assert models == [server.model]
    assert "Paris" in (answer.choices[0].message.content or "")
