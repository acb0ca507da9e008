"""The requests of evaluation harnesses, field by field: lm-eval's and HELM's.

HELM's are what `OpenAILegacyCompletionsClient`, `VLLMClient` and `OpenAIClient` of HELM 0.5.16 build.
"""

from __future__ import annotations

from typing import Any

import pytest

from shared.engine.llama.model import Model
from tests.api.openai_types import chat_completion, text_completion
from tests.server import Server

PROMPT = "The capital of France is Paris"


def helm_request(*, top_k_per_token: int = 1, n: int = 1, **fields: Any) -> dict[str, Any]:
    """A text completion as HELM asks for it."""
    return {
        "model": "pilotlight-builtin",
        "prompt": PROMPT,
        "temperature": 0.0,
        "n": n,
        "max_tokens": 0,
        "best_of": max(top_k_per_token, n),
        "logprobs": max(top_k_per_token, n),
        "stop": None,
        "top_p": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "echo": True,
        **fields,
    }


def test_lm_eval_has_token_ids_scored(server: Server, vocabulary: Model) -> None:
    prompts = [vocabulary.tokenize(text) for text in (PROMPT, PROMPT + ".")]

    response = server.post(
        "/v1/completions",
        {
            "model": "pilotlight-builtin",
            "prompt": prompts,
            "temperature": 0,
            "max_tokens": 1,
            "logprobs": 1,
            "seed": 1234,
            "echo": True,
        },
    )

    choices = response.raise_for_status().json()["choices"]
    assert "x-ignored-params" not in response.headers
    for prompt, choice in zip(prompts, choices, strict=True):
        columns = choice["logprobs"]
        assert len(columns["token_logprobs"]) == len(prompt) + 1
        assert columns["token_logprobs"][0] is None
        for logprob, top in zip(
            columns["token_logprobs"][1:], columns["top_logprobs"][1:], strict=True
        ):
            assert logprob <= max(top.values())


@pytest.mark.parametrize("top_k_per_token", [1, 5])
def test_helm_scores_a_text(server: Server, vocabulary: Model, top_k_per_token: int) -> None:
    response = server.post("/v1/completions", helm_request(top_k_per_token=top_k_per_token))

    (choice,) = response.raise_for_status().json()["choices"]
    assert "x-ignored-params" not in response.headers
    assert choice["text"] == PROMPT
    columns = choice["logprobs"]
    assert "".join(columns["tokens"]) == PROMPT
    assert len(columns["token_logprobs"]) == len(vocabulary.tokenize(PROMPT))
    assert sum(logprob or 0 for logprob in columns["token_logprobs"]) < 0


def test_helm_has_several_answers_generated(server: Server) -> None:
    response = server.post(
        "/v1/completions",
        helm_request(
            top_k_per_token=2, n=3, max_tokens=8, temperature=1.0, echo=False, stop=["\n"]
        ),
    )

    completion = text_completion(response.raise_for_status().content)
    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    assert all(choice.logprobs and choice.logprobs.tokens for choice in completion.choices)


def test_helms_vllm_client_asks_for_the_best_of_one(server: Server) -> None:
    asked = helm_request(top_k_per_token=5, max_tokens=2, echo=False, best_of=1)

    response = server.post("/v1/completions", asked, headers={"authorization": "Bearer EMPTY"})

    (choice,) = text_completion(response.raise_for_status().content).choices
    assert choice.finish_reason == "length"
    assert choice.logprobs
    assert len(choice.logprobs.token_logprobs or []) == 2


def test_helms_chat_client_asks_for_a_schema(server: Server) -> None:
    response = server.chat(
        model="pilotlight-builtin",
        temperature=0.0,
        top_p=1,
        n=1,
        stop=None,
        max_tokens=60,
        presence_penalty=0,
        frequency_penalty=0,
        response_format={
            "type": "json_schema",
            "json_schema": {
                "name": "response",
                "description": "",
                "schema": {
                    "type": "object",
                    "properties": {"sum": {"type": "integer", "minimum": 0, "maximum": 9}},
                    "required": ["sum"],
                    "additionalProperties": False,
                },
                "strict": True,
            },
        },
    )

    choice = chat_completion(response.raise_for_status().content).choices[0]
    assert "x-ignored-params" not in response.headers
    assert choice.finish_reason == "stop"
    assert choice.message.content is not None
    assert choice.message.content.startswith("{")
