"""JSON answers: whatever the model would like to say, they parse and validate."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import jsonschema
import pytest
from openai import OpenAI
from pydantic import BaseModel, Field

from tests.api.openai_types import chat_chunks, chat_completion, text_chunks, text_completion
from tests.api.schemas import PERSON, SCHEMAS
from tests.server import Server, user
from tests.sweeps import examples

N_SEEDS = examples(10)
"""For each schema: there are more than twenty of them."""
N_CONCURRENT = 16
MAX_TOKENS = 250


def schema_format(schema: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **fields}}


def check(content: str | None, schema: dict[str, Any]) -> None:
    """Fail unless ``content`` is JSON that ``schema`` allows, formats included."""
    assert content is not None
    validator = jsonschema.Draft202012Validator
    validator(schema, format_checker=validator.FORMAT_CHECKER).validate(json.loads(content))


def answers(server: Server, bodies: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Contents and finish reasons, asked for side by side; every other one as a stream."""

    def answer(numbered: tuple[int, dict[str, Any]]) -> tuple[str, str]:
        number, body = numbered
        body = {"messages": user("Tell me a story"), "max_tokens": MAX_TOKENS, **body}
        if number % 2:
            chunks = chat_chunks(server.chat(stream=True, **body).raise_for_status().text)
            content = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            return content, chunks[-1].choices[0].finish_reason or ""
        choice = chat_completion(server.chat(**body).raise_for_status().content).choices[0]
        assert choice.message.content is not None
        return choice.message.content, choice.finish_reason

    with ThreadPoolExecutor(N_CONCURRENT) as pool:
        return list(pool.map(answer, enumerate(bodies)))


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", SCHEMAS)
def test_answers_that_end_by_themselves_validate(server: Server, name: str) -> None:
    schema = SCHEMAS[name]

    found = answers(
        server,
        [{"seed": seed, "response_format": schema_format(schema)} for seed in range(N_SEEDS)],
    )

    whole = [content for content, reason in found if reason == "stop"]
    for content in whole:
        check(content, schema)
    assert all(reason in ("stop", "length") for _, reason in found)
    assert whole or name == "anything", "the model is always cut off"


@pytest.mark.slow
def test_json_objects_are_objects(server: Server) -> None:
    wanted: dict[str, Any] = {"type": "json_object"}

    found = answers(
        server, [{"seed": seed, "response_format": wanted} for seed in range(examples(16))]
    )

    whole = [content for content, reason in found if reason == "stop"]
    for content in whole:
        check(content, {"type": "object"})
    assert whole


@pytest.mark.sweep(7)
@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": schema_format(PERSON, strict=True)},
        {"response_format": schema_format(PERSON, strict=False)},
        {"response_format": {"type": "json_object", "schema": PERSON}},
        {"response_format": {**schema_format(PERSON), "type": "json_object"}},
        {"json_schema": PERSON},
        {"json_schema": PERSON, "response_format": {"type": "text"}},
        {"response_format": schema_format(PERSON), "temperature": 0},
        {"response_format": schema_format(PERSON), "temperature": 2, "top_p": 0.9},
        {"response_format": schema_format(PERSON), "top_k": 1},
        {"response_format": schema_format(PERSON), "mirostat": 2},
        {"response_format": schema_format(PERSON), "ignore_eos": True},
        {"response_format": schema_format(PERSON), "min_tokens": 100},
        {"response_format": schema_format(PERSON), "frequency_penalty": 2, "repeat_penalty": 1.5},
        {
            "response_format": schema_format(PERSON),
            "logit_bias": {str(i): -100 for i in range(999)},
        },
    ],
    ids=lambda fields: json.dumps(fields)[:90],
)
def test_every_way_to_ask_and_to_sample_gives_the_format(
    server: Server, fields: dict[str, Any]
) -> None:
    for content, reason in answers(
        server, [{"seed": seed, **fields} for seed in range(examples(4))]
    ):
        assert reason == "stop"
        check(content, PERSON)


@pytest.mark.parametrize("streamed", [False, True], ids=["body", "stream"])
def test_several_choices_follow_the_schema_each(server: Server, streamed: bool) -> None:
    response = server.chat(
        n=4, seed=1, response_format=schema_format(PERSON), stream=streamed, max_tokens=MAX_TOKENS
    ).raise_for_status()

    contents = ["", "", "", ""]
    if streamed:
        for chunk in chat_chunks(response.text):
            contents[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    else:
        for choice in chat_completion(response.content).choices:
            contents[choice.index] = choice.message.content or ""
    for content in contents:
        check(content, PERSON)
    assert len(set(contents)) > 1


@pytest.mark.parametrize("streamed", [False, True], ids=["body", "stream"])
def test_text_completions_follow_it_too(server: Server, streamed: bool) -> None:
    response = server.text(
        prompt=["Once upon a time", "The capital of France is"],
        n=2,
        max_tokens=MAX_TOKENS,
        seed=3,
        json_schema=PERSON,
        stream=streamed,
    ).raise_for_status()

    texts = ["", "", "", ""]
    chunks = text_chunks(response.text) if streamed else [text_completion(response.content)]
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    for text in texts:
        check(text, PERSON)


def test_log_probabilities_are_the_models_own_and_one_for_each_token(server: Server) -> None:
    fields: dict[str, Any] = {
        "response_format": schema_format(PERSON),
        "seed": 5,
        "logprobs": True,
        "top_logprobs": 2,
    }

    completion = chat_completion(server.chat(**fields).raise_for_status().content)
    chunks = chat_chunks(server.chat(**fields, stream=True).raise_for_status().text)

    choice = completion.choices[0]
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert completion.usage is not None
    tokens = choice.logprobs.content
    check(choice.message.content, PERSON)
    assert "".join(entry.token for entry in tokens) == choice.message.content
    assert completion.usage.completion_tokens in (len(tokens), len(tokens) + 1), "with the end"
    assert any(entry.token != entry.top_logprobs[0].token for entry in tokens), "it was forced"
    streamed = [
        entry
        for chunk in chunks
        if chunk.choices[0].logprobs
        for entry in chunk.choices[0].logprobs.content or ()
    ]
    assert streamed == tokens


def test_a_stop_string_may_cut_the_json(server: Server) -> None:
    """As OpenAI has it, a stop string wins: what comes before it is the answer."""
    fields: dict[str, Any] = {"response_format": schema_format(PERSON), "stop": '"age"'}

    found = answers(server, [{**fields, "seed": seed} for seed in range(4)])

    for content, reason in found:
        assert reason == "stop"
        check(content + '"age":1}', PERSON)


def test_the_limit_may_cut_the_json(server: Server) -> None:
    fields: dict[str, Any] = {"response_format": schema_format(PERSON), "seed": 1}
    ((whole, _),) = answers(server, [fields])

    ((content, reason),) = answers(server, [{**fields, "max_tokens": 3}])

    assert reason == "length"
    assert whole.startswith(content)


class Wheel(BaseModel):
    """A part of the model below, reached by reference."""

    size: Literal["small", "big"]
    spokes: int = Field(ge=0, le=99)


class Bicycle(BaseModel):
    """What the openai client's helpers ask for, and parse."""

    owner: str = Field(max_length=12)
    wheels: list[Wheel] = Field(max_length=2)
    bell: Wheel | None


@pytest.mark.slow
def test_the_openai_client_parses_pydantic_models(server: Server, client: OpenAI) -> None:
    for seed in range(4):
        completion = client.chat.completions.parse(
            model=server.model,
            messages=[{"role": "user", "content": "Hi"}],
            response_format=Bicycle,
            seed=seed,
        )
        assert isinstance(completion.choices[0].message.parsed, Bicycle)
