"""Text completions as users of the `openai` package see them."""

from __future__ import annotations

import pytest
from openai import AsyncOpenAI, OpenAI

from shared.engine.llama.model import Model
from tests.api.openai_types import text_chunks, text_completion
from tests.server import Server

MODEL = "pilotlight-builtin"


def test_the_default_is_sixteen_tokens(server: Server) -> None:
    completion = text_completion(server.text(ignore_eos=True).content)
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 16
    assert completion.choices[0].finish_reason == "length"


def test_a_stream_adds_up_to_the_body(client: OpenAI) -> None:
    whole = client.completions.create(
        model=MODEL, prompt="Once upon a time", temperature=0, max_tokens=30
    )
    stream = client.completions.create(
        model=MODEL, prompt="Once upon a time", temperature=0, max_tokens=30, stream=True
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert len(chunks) > 5, "it should come token by token"


@pytest.mark.anyio
async def test_the_async_client_completes_and_streams(async_client: AsyncOpenAI) -> None:
    async with async_client as client:
        whole = await client.completions.create(
            model=MODEL, prompt="Once upon a time", temperature=0
        )
        stream = await client.completions.create(
            model=MODEL, prompt="Once upon a time", temperature=0, stream=True
        )
        text = "".join([chunk.choices[0].text async for chunk in stream])
    assert text == whole.choices[0].text


@pytest.mark.parametrize("stream", [False, True])
def test_several_prompts_give_choices_in_their_order(server: Server, stream: bool) -> None:
    prompts = ["Once upon a time", "The capital of France is", "1, 2, 3, 4,"]
    fields = {"temperature": 0, "max_tokens": 8}
    alone = [
        text_completion(server.text(prompt=prompt, **fields).content).choices[0].text
        for prompt in prompts
    ]
    response = server.text(prompt=prompts, stream=stream, **fields)
    texts = ["", "", ""]
    parsed = text_chunks(response.text) if stream else [text_completion(response.content)]
    for choice in (choice for completion in parsed for choice in completion.choices):
        texts[choice.index] += choice.text
    assert texts == alone


@pytest.mark.parametrize("stream", [False, True])
def test_prompts_and_n_number_the_choices_through(server: Server, stream: bool) -> None:
    response = server.text(prompt=["a", "b"], n=2, max_tokens=2, stream=stream)
    parsed = text_chunks(response.text) if stream else [text_completion(response.content)]
    indices = [choice.index for completion in parsed for choice in completion.choices]
    assert sorted(set(indices)) == [0, 1, 2, 3]
    if not stream:
        assert indices == [0, 1, 2, 3]


def test_usage_sums_up_prompts_and_completions(server: Server) -> None:
    fields = {"max_tokens": 3, "ignore_eos": True}
    singles = [
        text_completion(server.text(prompt=prompt, **fields).content).usage
        for prompt in ("Once upon a time", "The capital of France is")
    ]
    both = text_completion(
        server.text(prompt=["Once upon a time", "The capital of France is"], n=2, **fields).content
    ).usage
    assert both is not None
    assert both.prompt_tokens == sum(usage.prompt_tokens for usage in singles if usage)
    assert both.completion_tokens == 12
    assert both.total_tokens == both.prompt_tokens + 12


def test_token_ids_are_the_same_prompt_as_their_text(server: Server, vocabulary: Model) -> None:
    text = "Once upon a time there was"
    tokens = vocabulary.tokenize(text)
    fields = {"temperature": 0, "max_tokens": 10}
    from_text = text_completion(server.text(prompt=text, **fields).content)
    from_tokens = text_completion(server.text(prompt=tokens, **fields).content)
    from_arrays = text_completion(server.text(prompt=[tokens, tokens], **fields).content)
    assert from_text.usage is not None
    assert from_tokens.usage is not None
    assert from_tokens.choices[0].text == from_text.choices[0].text
    assert from_tokens.usage.prompt_tokens == from_text.usage.prompt_tokens == len(tokens)
    assert [choice.text for choice in from_arrays.choices] == [from_text.choices[0].text] * 2


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"n": 2, "best_of": 2},
        {"logprobs": 0},
        {"logprobs": 3},
        {"logprobs": 3, "prompt": ["你好", "a"]},
        {"echo": False, "suffix": None, "stop": "zebra", "user": "ada"},
        {"temperature": 0.5, "top_p": 0.9, "frequency_penalty": 1, "presence_penalty": -1},
        {"model": MODEL, "seed": 2**64 - 1, "metadata": {"a": "b"}},
    ],
)
def test_bodies_and_chunks_are_what_openai_types_say(
    server: Server, fields: dict[str, object]
) -> None:
    body = text_completion(server.text(max_tokens=5, **fields).raise_for_status().content)
    stream = server.text(
        max_tokens=5, stream=True, stream_options={"include_usage": True}, **fields
    )
    chunks = text_chunks(stream.raise_for_status().text)
    assert body.id.startswith("cmpl-")
    assert body.model == server.model
    assert body.system_fingerprint
    assert all(chunk.id.startswith("cmpl-") for chunk in chunks)
    assert all(chunk.object == "text_completion" for chunk in chunks)


def test_a_repeated_long_prompt_is_cached(server: Server) -> None:
    prompt = "A prompt that no other test has. " * 30
    first = text_completion(server.text(prompt=prompt, max_tokens=2).content).usage
    second = text_completion(server.text(prompt=prompt, max_tokens=2).content).usage
    assert first is not None
    assert second is not None
    assert second.prompt_tokens_details is not None
    assert second.prompt_tokens == first.prompt_tokens > 100
    n_cached = second.prompt_tokens_details.cached_tokens or 0
    assert first.prompt_tokens - 8 <= n_cached < first.prompt_tokens
