"""Chat completions as users of the `openai` package see them."""

from __future__ import annotations

import asyncio

import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.api.openai_types import chat_chunks, chat_completion
from tests.server import CAPITAL, Server, user

MODEL = "pilotlight-builtin"
QUESTION: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "What is the capital of France?"}
]


def test_the_capital_of_france_is_paris(client: OpenAI) -> None:
    completion = client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0)
    message = completion.choices[0].message
    assert message.content is not None
    assert "Paris" in message.content
    assert message.role == "assistant"
    assert completion.choices[0].finish_reason == "stop"


def test_a_stream_adds_up_to_the_body(client: OpenAI) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0)
    stream = client.chat.completions.create(
        model=MODEL, messages=QUESTION, temperature=0, stream=True
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks][-1] == "stop"
    assert {c.choices[0].finish_reason for c in chunks[:-1]} == {None}
    assert len({chunk.id for chunk in chunks}) == 1
    assert len(chunks) > 3, "it should come token by token"


def test_the_clients_stream_helper_works(client: OpenAI) -> None:
    with client.chat.completions.stream(model=MODEL, messages=QUESTION, temperature=0) as stream:
        kinds = {event.type for event in stream}
        completion = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert "Paris" in (completion.choices[0].message.content or "")


@pytest.mark.anyio
async def test_the_async_client_completes_and_streams(async_client: AsyncOpenAI) -> None:
    async with async_client as client:
        whole = await client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0)
        stream = await client.chat.completions.create(
            model=MODEL, messages=QUESTION, temperature=0, stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == whole.choices[0].message.content


@pytest.mark.slow
@pytest.mark.anyio
async def test_concurrent_streams_equal_what_each_gives_alone(
    async_client: AsyncOpenAI, client: OpenAI
) -> None:
    questions = [
        "What is the capital of Italy?",
        "Tell me a story",
        "What is 2 + 5?",
        "Hello!",
        "Count from 1 to 50",
        "Say hello in Chinese",
        "Send me three emoji",
        "What is the capital of France?",
    ]

    async def ask(question: str) -> str:
        stream = await async_client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": question}],
            temperature=0,
            max_tokens=60,
            stream=True,
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    alone = [
        client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": question}],
            temperature=0,
            max_tokens=60,
        )
        .choices[0]
        .message.content
        for question in questions
    ]
    async with async_client:
        together = await asyncio.gather(*(ask(question) for question in questions))
    assert together == alone


def test_a_client_that_leaves_a_stream_early_can_go_on(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL,
        messages=QUESTION,
        stream=True,
        max_tokens=3000,
        extra_body={"ignore_eos": True},
    )
    next(iter(stream))
    stream.close()
    completion = client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0)
    assert "Paris" in (completion.choices[0].message.content or "")


def test_every_role_and_text_parts_are_understood(client: OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [
        {"role": "developer", "content": "You are helpful."},
        {"role": "system", "content": [{"type": "text", "text": "Answer briefly."}]},
        {"role": "user", "content": "What's the weather in Paris?", "name": "Ada"},
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": '{"temperature": 20}'},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}],
        },
    ]
    completion = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=5)
    assert completion.usage is not None
    assert completion.usage.prompt_tokens > 20


def test_parts_are_read_as_the_text_they_make(client: OpenAI) -> None:
    parts = client.chat.completions.create(
        model=MODEL,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is the capital "},
                    {"type": "text", "text": "of France?"},
                ],
            }
        ],
        temperature=0,
    )
    assert "Paris" in (parts.choices[0].message.content or "")


def test_offered_tools_reach_the_prompt(client: OpenAI) -> None:
    plain = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=1)
    offered = client.chat.completions.create(
        model=MODEL,
        messages=QUESTION,
        max_tokens=1,
        tools=[
            {
                "type": "function",
                "function": {
                    "name": "get_weather",
                    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
                },
            }
        ],
    )
    assert plain.usage is not None
    assert offered.usage is not None
    assert offered.usage.prompt_tokens > plain.usage.prompt_tokens + 10


def test_tool_choice_none_hides_the_tools(client: OpenAI) -> None:
    plain = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=1)
    hidden = client.chat.completions.create(
        model=MODEL,
        messages=QUESTION,
        max_tokens=1,
        tools=[{"type": "function", "function": {"name": "get_weather"}}],
        tool_choice="none",
    )
    assert plain.usage is not None
    assert hidden.usage is not None
    assert hidden.usage.prompt_tokens == plain.usage.prompt_tokens


@pytest.mark.parametrize("tier", [None, "auto", "default", "flex", "priority"])
def test_the_response_names_the_service_tier(server: Server, tier: str | None) -> None:
    response = server.chat(service_tier=tier, max_tokens=1)
    served = tier if tier in ("flex", "priority") else "default"
    assert response.json()["service_tier"] == served


@pytest.mark.sweep(3)
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"n": 3},
        {"logprobs": True},
        {"logprobs": True, "top_logprobs": 5, "n": 2},
        {"stop": ["zebra"], "seed": 1, "logit_bias": {"65": 1}, "user": "ada"},
        {"temperature": 0.5, "top_p": 0.9, "frequency_penalty": 1, "presence_penalty": -1},
        {"top_k": 5, "min_p": 0.1, "typical_p": 0.9, "repeat_penalty": 1.1, "repeat_last_n": -1},
        {"service_tier": "flex", "metadata": {"a": "b"}, "modalities": ["text"]},
        {"response_format": {"type": "text"}, "tool_choice": "auto", "store": False},
        {"max_completion_tokens": 1},
        {
            "temperature": None,
            "top_p": None,
            "n": None,
            "stop": None,
            "seed": None,
            "max_tokens": None,
            "max_completion_tokens": 2,
            "logprobs": None,
            "logit_bias": None,
            "stream_options": None,
            "tools": None,
            "metadata": None,
        },
    ],
)
def test_bodies_and_chunks_are_what_openai_types_say(
    server: Server, fields: dict[str, object]
) -> None:
    limits = {"max_tokens": 6, **fields}
    options = {"stream_options": {"include_usage": True}, **fields}
    body = chat_completion(server.chat(**limits).raise_for_status().content)
    stream = server.chat(**{**limits, **options, "stream": True})
    chunks = chat_chunks(stream.raise_for_status().text)
    assert body.id.startswith("chatcmpl-")
    assert body.object == "chat.completion"
    assert body.model == server.model
    assert body.system_fingerprint
    assert len(body.choices) == (fields.get("n") or 1)
    assert all(chunk.id.startswith("chatcmpl-") for chunk in chunks)
    assert all(chunk.object == "chat.completion.chunk" for chunk in chunks)
    assert all(chunk.system_fingerprint == body.system_fingerprint for chunk in chunks)


def test_n_choices_carry_their_indices_in_body_and_stream(server: Server) -> None:
    request = {"n": 3, "seed": 7, "max_tokens": 12, "messages": user("Tell me a story")}
    body = chat_completion(server.chat(**request).content)
    chunks = chat_chunks(server.chat(**request, stream=True).text)
    streamed = {0: "", 1: "", 2: ""}
    roles: list[int] = []
    reasons: dict[int, str] = {}
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        streamed[choice.index] += choice.delta.content or ""
        if choice.delta.role:
            roles.append(choice.index)
        if choice.finish_reason:
            reasons[choice.index] = choice.finish_reason
    assert [choice.index for choice in body.choices] == [0, 1, 2]
    assert [choice.message.content for choice in body.choices] == list(streamed.values())
    assert sorted(roles) == [0, 1, 2]
    assert reasons == {choice.index: choice.finish_reason for choice in body.choices}


def test_usage_counts_the_prompt_once_and_all_completions(server: Server) -> None:
    one = chat_completion(server.chat(max_tokens=4, ignore_eos=True).content).usage
    three = chat_completion(server.chat(max_tokens=4, ignore_eos=True, n=3).content).usage
    assert one is not None
    assert three is not None
    assert three.prompt_tokens == one.prompt_tokens
    assert (one.completion_tokens, three.completion_tokens) == (4, 12)
    assert three.total_tokens == three.prompt_tokens + three.completion_tokens


def test_a_repeated_long_prompt_is_cached(server: Server) -> None:
    messages = user("Here is a list that no other test has: " + "lamp, stove, pilot, " * 40)
    first = chat_completion(server.chat(messages=messages, max_tokens=2).content).usage
    second = chat_completion(server.chat(messages=messages, max_tokens=2).content).usage
    assert first is not None
    assert first.prompt_tokens_details is not None
    assert second is not None
    assert second.prompt_tokens_details is not None
    n_prompt = first.prompt_tokens
    assert n_prompt > 150
    assert (first.prompt_tokens_details.cached_tokens or 0) < 20
    assert second.prompt_tokens == n_prompt
    assert n_prompt - 8 <= (second.prompt_tokens_details.cached_tokens or 0) < n_prompt


def test_the_callers_own_messages_are_not_mixed_up_with_others(server: Server) -> None:
    capital = chat_completion(server.chat(messages=CAPITAL, temperature=0).content)
    emoji = chat_completion(
        server.chat(messages=user("Send me three emoji"), temperature=0).content
    )
    assert "Paris" in (capital.choices[0].message.content or "")
    assert "Paris" not in (emoji.choices[0].message.content or "")
