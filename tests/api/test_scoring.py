"""Text completions that repeat and score their prompt: ``echo``, as evaluation harnesses use it."""

from __future__ import annotations

from typing import Any

import pytest
from openai import BadRequestError, OpenAI
from openai.types import Completion
from openai.types.completion_choice import Logprobs

from shared.engine.llama.model import Model
from tests.rounding import LOGPROB_ROUNDING
from tests.server import Server

PROMPT = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
ANSWER = "The capital of France is Paris."
UNICODE = "Zürich 🔥 東京"


def complete(client: OpenAI, **fields: Any) -> Completion:
    fields = {"prompt": PROMPT, "max_tokens": 10, "temperature": 0, **fields}
    completion = client.completions.create(model="pilotlight-builtin", **fields)
    assert isinstance(completion, Completion)
    return completion


def columns(completion: Completion, index: int = 0) -> Logprobs:
    logprobs = completion.choices[index].logprobs
    assert logprobs is not None
    return logprobs


def streamed(client: OpenAI, **fields: Any) -> dict[int, tuple[str, Logprobs]]:
    """Text and log probabilities of each choice, added up from the chunks."""
    fields = {"prompt": PROMPT, "max_tokens": 10, "temperature": 0, **fields}
    found: dict[int, tuple[str, Logprobs]] = {}
    for chunk in client.completions.create(model="pilotlight-builtin", stream=True, **fields):
        for choice in chunk.choices:
            empty = Logprobs(tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[])
            text, logprobs = found.get(choice.index, ("", empty))
            if choice.logprobs is not None:
                for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
                    getattr(logprobs, name).extend(getattr(choice.logprobs, name))
            found[choice.index] = (text + choice.text, logprobs)
    return found


def test_echo_begins_the_text_with_the_prompt(client: OpenAI) -> None:
    plain = complete(client, prompt="Once upon a time")

    echoed = complete(client, prompt="Once upon a time", echo=True)

    assert echoed.choices[0].text == "Once upon a time" + plain.choices[0].text
    assert echoed.choices[0].logprobs is None
    assert echoed.usage is not None
    assert plain.usage is not None
    assert echoed.usage.total_tokens == plain.usage.total_tokens


def test_the_prompt_is_scored_and_its_first_token_is_null(
    client: OpenAI, vocabulary: Model
) -> None:
    prompt = PROMPT + ANSWER
    tokens = vocabulary.tokenize(prompt)

    completion = complete(client, prompt=prompt, echo=True, logprobs=2, max_tokens=1)

    found = columns(completion)
    assert found.token_logprobs is not None
    assert found.tokens is not None
    assert found.top_logprobs is not None
    assert found.tokens[len(tokens) :] == ["<|im_end|>"]  # the sampled one
    assert found.tokens[:3] == ["<|im_start|>", "user", "\n"]
    assert found.token_logprobs[0] is None
    assert found.top_logprobs[0] is None
    assert all(logprob <= 0 for logprob in found.token_logprobs[1:])
    answer = found.token_logprobs[-1 - len(vocabulary.tokenize(ANSWER, add_special=False)) : -1]
    assert sum(answer) > -0.5  # the model is sure of Paris
    for token, logprob, top in zip(
        found.tokens[1:], found.token_logprobs[1:], found.top_logprobs[1:], strict=True
    ):
        assert top[token] == logprob
        assert 2 <= len(top) <= 3


def test_scores_are_those_of_the_tokens_when_they_are_sampled(client: OpenAI) -> None:
    sampled = columns(complete(client, logprobs=0, max_tokens=50))
    assert sampled.token_logprobs is not None
    text = complete(client, max_tokens=50).choices[0].text

    scored = columns(complete(client, prompt=PROMPT + text, echo=True, logprobs=0, max_tokens=0))

    assert scored.token_logprobs is not None
    n_answer = len(sampled.token_logprobs)
    assert scored.token_logprobs[-n_answer:] == pytest.approx(
        sampled.token_logprobs, abs=LOGPROB_ROUNDING
    )


def test_nothing_is_generated_when_only_the_prompt_is_scored(
    client: OpenAI, vocabulary: Model
) -> None:
    completion = complete(client, prompt=UNICODE, echo=True, logprobs=1, max_tokens=0)

    assert completion.choices[0].text == UNICODE
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 0
    assert completion.usage.prompt_tokens == len(vocabulary.tokenize(UNICODE))


def test_split_characters_of_the_prompt_have_their_bytes_and_one_offset(client: OpenAI) -> None:
    found = columns(complete(client, prompt=UNICODE, echo=True, logprobs=0, max_tokens=0))

    assert found.tokens is not None
    assert found.text_offset is not None
    data = b"".join(
        bytes(int(part, 16) for part in token[6:].split("\\x")[1:])
        if token.startswith("bytes:")
        else token.encode()
        for token in found.tokens
    )
    assert data.decode() == UNICODE
    for token, offset in zip(found.tokens, found.text_offset, strict=True):
        if not token.startswith("bytes:"):
            assert UNICODE[offset : offset + len(token)] == token


def test_token_ids_are_echoed_as_their_text(client: OpenAI, vocabulary: Model) -> None:
    tokens = vocabulary.tokenize("Once upon a time 🔥")

    completion = complete(client, prompt=tokens, echo=True, max_tokens=0)

    assert completion.choices[0].text == "Once upon a time 🔥"


def test_control_tokens_are_written_out_and_counted(client: OpenAI, vocabulary: Model) -> None:
    asked = {"echo": True, "logprobs": 0, "max_tokens": 2}
    from_text = complete(client, prompt=PROMPT, **asked)

    from_ids = complete(client, prompt=vocabulary.tokenize(PROMPT), **asked)

    assert from_ids.choices[0].text == from_text.choices[0].text
    assert from_text.choices[0].text.startswith(PROMPT)
    found = columns(from_text)
    assert columns(from_ids) == found
    assert found.tokens is not None
    assert found.text_offset is not None
    for token, offset in zip(found.tokens, found.text_offset, strict=True):
        assert from_text.choices[0].text[offset:].startswith(token)


def test_every_prompt_of_several_is_scored(client: OpenAI) -> None:
    prompts = ["Paris", PROMPT + ANSWER, "a"]
    alone = [complete(client, prompt=p, echo=True, logprobs=1, max_tokens=3) for p in prompts]

    together = complete(client, prompt=prompts, echo=True, logprobs=1, max_tokens=3)

    for i, single in enumerate(alone):
        assert together.choices[i].text == single.choices[0].text
        expected = columns(single).token_logprobs
        assert expected is not None
        assert columns(together, i).token_logprobs == pytest.approx(expected, abs=LOGPROB_ROUNDING)


@pytest.mark.parametrize("prompt", [PROMPT, "a", [PROMPT, "a", UNICODE]])
@pytest.mark.parametrize("fields", [{"n": 3}, {"n": 2, "max_tokens": 0}, {"stop": [" is"]}])
def test_a_stream_adds_up_to_the_body(
    client: OpenAI, prompt: str | list[str], fields: dict[str, Any]
) -> None:
    asked = {"prompt": prompt, "echo": True, "logprobs": 1, "seed": 5, **fields}
    body = complete(client, **asked)

    chunks = streamed(client, **asked)

    assert len(chunks) == len(body.choices)
    for choice in body.choices:
        text, logprobs = chunks[choice.index]
        assert text == choice.text
        assert choice.logprobs is not None
        assert logprobs.tokens == choice.logprobs.tokens
        assert logprobs.text_offset == choice.logprobs.text_offset
        assert logprobs.token_logprobs is not None
        assert logprobs.token_logprobs[0] is None
        assert choice.logprobs.token_logprobs is not None
        assert logprobs.token_logprobs[1:] == pytest.approx(
            choice.logprobs.token_logprobs[1:], abs=LOGPROB_ROUNDING
        )


@pytest.mark.slow
def test_scoring_costs_one_prefill(server: Server, client: OpenAI) -> None:
    prompt = "one two three four five six seven eight " * 40
    before = server.metric("prompt_tokens_total"), server.metric("steps_total")

    completion = complete(client, prompt=prompt, echo=True, logprobs=1, max_tokens=0)

    assert completion.usage is not None
    n_tokens = completion.usage.prompt_tokens
    assert server.metric("prompt_tokens_total") - before[0] == n_tokens
    assert server.metric("steps_total") - before[1] == -(-n_tokens // 512)


class TestBestOf:
    """``best_of`` choices are generated, the likeliest ``n`` come back."""

    def mean(self, completion: Completion, index: int) -> float:
        logprobs = columns(completion, index).token_logprobs
        assert logprobs
        return sum(logprobs) / len(logprobs)

    def test_the_likeliest_come_first(self, client: OpenAI) -> None:
        asked = {"prompt": "Once upon a time", "temperature": 1.5, "seed": 7, "logprobs": 0}
        every = complete(client, **asked, n=8)
        ranked = sorted((self.mean(every, i) for i in range(8)), reverse=True)

        best = complete(client, **asked, n=2, best_of=8)

        assert [choice.index for choice in best.choices] == [0, 1]
        assert [self.mean(best, i) for i in range(2)] == pytest.approx(
            ranked[:2], abs=LOGPROB_ROUNDING
        )

    def test_all_that_was_generated_is_counted(self, client: OpenAI) -> None:
        every = complete(client, n=5, seed=1, temperature=1)

        best = complete(client, n=1, best_of=5, seed=1, temperature=1)

        assert len(best.choices) == 1
        assert best.choices[0].logprobs is None
        assert every.usage is not None
        assert best.usage is not None
        assert best.usage.completion_tokens == every.usage.completion_tokens
        assert best.usage.prompt_tokens == every.usage.prompt_tokens

    def test_every_prompt_has_its_own(self, client: OpenAI) -> None:
        best = complete(client, prompt=["Paris", "Rome"], best_of=3, echo=True, max_tokens=4)

        assert [choice.text.split()[0][:4] for choice in best.choices] == ["Pari", "Rome"]

    @pytest.mark.parametrize(
        "fields", [{"best_of": 2, "n": 3}, {"best_of": 2, "stream": True}], ids=["fewer", "stream"]
    )
    def test_what_can_not_be_is_refused(self, client: OpenAI, fields: dict[str, Any]) -> None:
        with pytest.raises(BadRequestError) as caught:
            client.completions.create(model="pilotlight-builtin", prompt="a", **fields)
        assert caught.value.param == "best_of"


def test_zero_tokens_need_echo(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as caught:
        complete(client, max_tokens=0)
    assert caught.value.param == "max_tokens"
    assert "echo" in caught.value.message
