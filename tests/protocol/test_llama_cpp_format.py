"""Engine outputs as llama.cpp's server and OpenAI's API would both give them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from openai.types import Completion

from shared.engine.types import Output, PromptProgress
from shared.protocol.choices import Choice, usages
from shared.protocol.errors import APIError
from shared.protocol.llama_cpp.format import Answer, LlamaCppStream, Prompt, llama_cpp_body
from shared.protocol.llama_cpp.responses import LlamaCppCompletion, LlamaCppResult
from tests.protocol.hand_made import END, HEAD, Vocabulary, finished, last, scored, usage

NATIVE = {
    *("index", "content", "tokens", "id_slot", "stop", "model", "tokens_predicted"),
    *("tokens_evaluated", "generation_settings", "prompt", "has_new_line", "truncated"),
    *("stop_type", "stopping_word", "tokens_cached", "timings"),
    *("stopped_eos", "stopped_word", "stopped_limit"),
}
"""llama-server's fields, and the last three those of its earlier versions."""
OPENAI = {
    *("id", "object", "created", "model", "choices", "usage"),
    *("system_fingerprint", "service_tier"),
}


def answer(n_prompts: int = 1, **fields: Any) -> Answer:
    """What results have in common, with ``fields`` of the test's own."""
    return Answer(
        **{
            "head": HEAD,
            "prompts": [Prompt(f"prompt {i}", 5 + i) for i in range(n_prompts)],
            "n": 1,
            "max_tokens": 3,
            "settings": {"n_predict": 3, "stop": []},
            "texts": Vocabulary(),
            **fields,
        }
    )


def body(choices: list[Choice], **fields: Any) -> Any:
    """The parsed body of ``choices``."""
    return json.loads(llama_cpp_body(answer(**fields), choices))


def chunks(*batches: list[Output], **fields: Any) -> list[dict[str, Any]]:
    """The chunks for outputs that come in ``batches``."""
    stream = LlamaCppStream(answer(**fields))
    raw = stream.begin() + b"".join(stream.format(batch) for batch in batches) + stream.end()
    blocks = raw.decode().removesuffix("\n\n").split("\n\n")
    assert all(block.startswith("data: ") for block in blocks)
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


class TestBody:
    """What is not streamed."""

    def test_both_dialects_say_the_same(self) -> None:
        merged = body(finished(Output(0, "Hel", tokens=[4]), last(0, "lo", "length")))
        assert merged.keys() == NATIVE | OPENAI
        assert merged["content"] == merged["choices"][0]["text"] == "Hello"
        assert (merged["tokens"], merged["stop"], merged["index"]) == ([4], True, 0)
        assert merged["tokens_evaluated"] == merged["usage"]["prompt_tokens"] == 5
        assert merged["tokens_predicted"] == merged["usage"]["completion_tokens"] == 3
        assert (merged["prompt"], merged["model"]) == ("prompt 0", "test/model")
        assert merged["generation_settings"] == {"n_predict": 3, "stop": []}
        LlamaCppCompletion.model_validate(merged)
        Completion.model_validate(merged, strict=True)

    def test_without_openais_fields_llama_cpps_are_left(self) -> None:
        native = body(finished(last(0, "Hello")), oai_compat=False)
        assert native.keys() == NATIVE
        LlamaCppResult.model_validate(native, extra="forbid")

    def test_several_choices_are_results_beside_openais_choices(self) -> None:
        outputs = [last(0, "a"), last(1, "b"), last(2, "c"), last(3, "d")]
        merged = body(finished(*outputs, n=4), n_prompts=2, n=2)
        assert merged["content"] == "a"
        assert [choice["text"] for choice in merged["choices"]] == ["a", "b", "c", "d"]
        assert [result["content"] for result in merged["results"]] == ["a", "b", "c", "d"]
        assert [result["index"] for result in merged["results"]] == [0, 1, 2, 3]
        assert [r["prompt"] for r in merged["results"]] == ["prompt 0"] * 2 + ["prompt 1"] * 2
        assert all(result.keys() == NATIVE for result in merged["results"])

    def test_several_choices_are_an_array_without_openais_fields(self) -> None:
        native = body(finished(last(0, "a"), last(1, "b"), n=2), n=2, oai_compat=False)
        assert [result["content"] for result in native] == ["a", "b"]

    def test_timings_are_in_milliseconds_and_rates(self) -> None:
        timings = body(finished(last(cost=usage(prompt=5, cached=3, completion=3))))["timings"]
        assert timings == {
            "cache_n": 3,
            "prompt_n": 2,
            "prompt_ms": 10.0,
            "prompt_per_token_ms": 5.0,
            "prompt_per_second": 200.0,
            "predicted_n": 3,
            "predicted_ms": 20.0,
            "predicted_per_token_ms": 10.0,
            "predicted_per_second": 100.0,
        }

    def test_the_cache_holds_all_tokens_but_the_last(self) -> None:
        assert body(finished(last(cost=usage(5, 0, 3))))["tokens_cached"] == 7
        assert body(finished(last(cost=usage(5, 0, 0))))["tokens_cached"] == 5

    def test_probabilities_come_in_both_shapes(self) -> None:
        scores = [scored(0, -0.1, (0, -0.1), (END, -2.5)), scored(3, -0.2, (3, -0.2))]
        merged = body(
            finished(last(0, "Hello\ufffd", logprobs=scores)),
            has_probabilities=True,
            has_logprobs=True,
        )
        assert merged["completion_probabilities"] == [
            {
                "id": 0,
                "token": "Hello",
                "bytes": list(b"Hello"),
                "logprob": -0.1,
                "top_logprobs": [
                    {"id": 0, "token": "Hello", "bytes": list(b"Hello"), "logprob": -0.1},
                    {"id": END, "token": "", "bytes": [], "logprob": -2.5},
                ],
            },
            {
                "id": 3,
                "token": "",
                "bytes": [0xE4],
                "logprob": -0.2,
                "top_logprobs": [{"id": 3, "token": "", "bytes": [0xE4], "logprob": -0.2}],
            },
        ]
        assert merged["choices"][0]["logprobs"]["tokens"] == ["Hello", "bytes:\\xe4"]

    def test_openais_log_probabilities_alone_leave_llama_cpps_out(self) -> None:
        merged = body(finished(last(logprobs=[scored(0, -0.1)])), has_logprobs=True)
        assert merged["choices"][0]["logprobs"]["token_logprobs"] == [-0.1]
        assert "completion_probabilities" not in merged

    def test_selected_fields_are_the_only_ones(self) -> None:
        fields = ["content", "generation_settings/n_predict", "usage/prompt_tokens", "no/such"]
        assert body(finished(last(0, "a")), response_fields=fields) == {
            "content": "a",
            "generation_settings/n_predict": 3,
            "usage/prompt_tokens": 5,
        }


@pytest.mark.parametrize(
    ("output", "stop_type", "word", "truncated"),
    [
        (last(reason="stop"), "eos", "", False),
        (last(reason="length"), "limit", "", False),
        (last(reason="length", cost=usage(completion=2)), "limit", "", True),
        (
            replace(last(reason="length", cost=usage(completion=0)), reached_deadline=True),
            "limit",
            "",
            False,
        ),
        (Output(0, "", finish_reason="stop", stop="END", usage=usage()), "word", "END", False),
    ],
)
def test_an_ending_has_llama_cpps_names(
    output: Output, stop_type: str, word: str, truncated: bool
) -> None:
    for ended in (body(finished(output)), chunks([output])[-1]):
        assert (ended["stop_type"], ended["stopping_word"]) == (stop_type, word)
        assert ended["truncated"] is truncated
        flags = [name for name in ("eos", "word", "limit") if ended[f"stopped_{name}"]]
        assert flags == [stop_type]


@pytest.mark.parametrize(("text", "has_new_line"), [("a b", False), ("a\nb", True)])
def test_a_new_line_is_noted(text: str, has_new_line: bool) -> None:
    assert body(finished(Output(0, text), last()))["has_new_line"] is has_new_line
    assert chunks([Output(0, text)], [last()])[-1]["has_new_line"] is has_new_line


class TestStream:
    """Chunks."""

    def test_a_chunk_speaks_both_dialects(self) -> None:
        first, second, _ = chunks([Output(0, "Hel", tokens=[4])], [last(0, "lo", tokens=[5, 6])])
        native = {"index", "content", "tokens", "stop", "id_slot"}
        native |= {"tokens_predicted", "tokens_evaluated"}
        assert first.keys() == native | OPENAI - {"usage"}
        assert (first["content"], first["tokens"], first["stop"]) == ("Hel", [4], False)
        assert (second["content"], second["tokens"]) == ("lo", [5, 6])
        assert [chunk["tokens_predicted"] for chunk in (first, second)] == [1, 3]
        assert first["tokens_evaluated"] == 5
        assert first["choices"] == [
            {"index": 0, "text": "Hel", "logprobs": None, "finish_reason": None}
        ]

    def test_the_last_chunk_has_everything_but_the_text(self) -> None:
        *_, ending = chunks([Output(0, "Hel", tokens=[4])], [last(0, "lo", "length", tokens=[5])])
        assert ending.keys() == NATIVE | OPENAI
        assert (ending["content"], ending["tokens"], ending["stop"]) == ("", [], True)
        assert ending["choices"][0] == {
            "index": 0,
            "text": "",
            "logprobs": None,
            "finish_reason": "length",
        }
        assert ending["usage"]["total_tokens"] == 8

    def test_without_openais_fields_llama_cpps_are_left(self) -> None:
        first, ending = chunks([Output(0, "a", tokens=[4])], [last()], oai_compat=False)
        assert not first.keys() & {"id", "object", "choices"}
        assert ending.keys() == NATIVE

    def test_chunks_add_up_to_the_body(self) -> None:
        outputs = [Output(0, "Hel", tokens=[4]), last(0, "lo", tokens=[5])]
        whole = body(finished(*outputs))
        *parts, ending = chunks(outputs)
        assert "".join(part["content"] for part in parts) == whole["content"]
        assert [token for part in parts for token in part["tokens"]] == whole["tokens"]
        left_out = {"content", "tokens", "choices"}
        assert {k: v for k, v in ending.items() if k not in left_out} == {
            k: v for k, v in whole.items() if k not in left_out
        }

    def test_choices_of_several_prompts_have_their_own_counts(self) -> None:
        found = chunks(
            [Output(1, "b", tokens=[2]), Output(0, "a", tokens=[1])],
            [Output(1, "d", tokens=[2]), last(1), last(0)],
            n_prompts=2,
        )
        assert [(c["index"], c["tokens_predicted"], c["tokens_evaluated"]) for c in found[:3]] == [
            (1, 1, 6),
            (0, 1, 5),
            (1, 2, 6),
        ]
        assert [(c["index"], c["stop"], c["prompt"]) for c in found[3:]] == [
            (1, True, "prompt 1"),
            (0, True, "prompt 0"),
        ]

    def test_usage_of_all_follows_if_asked_for(self) -> None:
        outputs = [Output(0, "a", tokens=[1]), last(0), last(1)]
        first, *endings, total = chunks(outputs, n_prompts=2, include_usage=True)
        assert [chunk["usage"] for chunk in (first, *endings)] == [None] * 3
        assert (total["choices"], total["usage"]["total_tokens"]) == ([], 16)

    def test_probabilities_come_in_both_shapes(self) -> None:
        scores = [scored(0, -0.1, (0, -0.1))]
        found = chunks(
            [
                Output(0, "Hello", scores, tokens=[0]),
                last(0, "!", logprobs=[scored(2, -0.3)], tokens=[2]),
            ],
            has_probabilities=True,
            has_logprobs=True,
        )
        assert found[0]["completion_probabilities"][0]["token"] == "Hello"
        assert found[0]["choices"][0]["logprobs"]["text_offset"] == [0]
        assert found[1]["completion_probabilities"][0]["logprob"] == -0.3
        assert found[1]["choices"][0]["logprobs"]["text_offset"] == [5]
        assert "completion_probabilities" not in found[2]

    def test_progress_and_timings_are_told_as_they_come(self) -> None:
        progress = PromptProgress(total=5, cached=1, processed=3, seconds=0.25)
        outputs = [
            Output(0, "", progress=progress),
            Output(0, "a", tokens=[1], usage=usage(completion=1)),
            last(),
        ]
        told, first, ending = chunks(outputs, timings_per_token=True)
        expected = {"total": 5, "cache": 1, "processed": 3, "time_ms": 250}
        assert (told["prompt_progress"], told["tokens"]) == (expected, [])
        assert "prompt_progress" not in first
        assert first["timings"]["predicted_n"] == 1
        assert ending["timings"]["predicted_n"] == 3

    def test_timings_wait_for_the_end_unless_asked_for(self) -> None:
        first, ending = chunks([Output(0, "a", tokens=[1], usage=usage()), last()])
        assert "timings" not in first
        assert "timings" in ending

    def test_selected_fields_are_the_only_ones_of_the_last_chunk(self) -> None:
        fields = ["stop", "timings/prompt_n"]
        first, ending = chunks([Output(0, "a", tokens=[1])], [last()], response_fields=fields)
        assert first["content"] == "a"
        assert ending == {"stop": True, "timings/prompt_n": 5}

    def test_text_may_hold_quotes_and_lines(self) -> None:
        first, _ = chunks([Output(0, 'a "b"\n\u2028', tokens=[1])], [last()])
        assert first["content"] == first["choices"][0]["text"] == 'a "b"\n\u2028'

    def test_what_it_cost_is_known_at_the_end(self) -> None:
        stream = LlamaCppStream(answer())
        stream.format([last(cost=usage(7))])
        assert [cost.prompt_tokens for cost in usages(stream.choices)] == [7]

    def test_a_failure_is_raised(self) -> None:
        with pytest.raises(APIError):
            LlamaCppStream(answer()).format([last(reason="error")])
