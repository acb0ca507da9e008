"""Engine output as llama.cpp's server and OpenAI's API would both give it: one body, or chunks."""

from __future__ import annotations

import codecs
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from shared.engine.types import Logprob, Output, TokenLogprobs
from shared.protocol.choices import Choice, usages
from shared.protocol.llama_cpp.responses import (
    LlamaCppResult,
    SampledProbability,
    StopType,
    TokenProbability,
)
from shared.protocol.logprobs import TokenTexts, text_logprobs
from shared.protocol.openai.completions_format import text_completion
from shared.protocol.responses import ResponseHead
from shared.protocol.sse import ChunkTemplate, event
from shared.protocol.timings import Timings, extra_fields
from shared.protocol.usage import usage_fields

_UTF8_DECODER = codecs.getincrementaldecoder("utf-8")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as the model saw it: text, control tokens written out, and number of tokens."""

    text: str
    n_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What all results of one request have in common.

    ``n`` choices for each prompt, of at most ``max_tokens`` each. ``oai_compat`` adds OpenAI's
    fields. ``has_probabilities`` is llama.cpp's wish (``n_probs``), ``has_logprobs`` OpenAI's;
    ``is_post_sampling``: they are those that the samplers left.
    """

    head: ResponseHead
    prompts: Sequence[Prompt]
    n: int
    max_tokens: int
    settings: Mapping[str, Any]
    texts: TokenTexts
    oai_compat: bool = True
    has_probabilities: bool = False
    has_logprobs: bool = False
    is_post_sampling: bool = False
    timings_per_token: bool = False
    include_usage: bool = False
    response_fields: Sequence[str] | None = None

    def result(self, index: int, choice: Choice, *, has_new_line: bool) -> dict[str, Any]:
        """llama.cpp's fields of a finished choice."""
        prompt = self.prompts[index // self.n]
        usage = choice.usage
        assert usage is not None
        stop_type = _stop_type(choice)
        is_short = stop_type == "limit" and usage.completion_tokens < self.max_tokens
        n_tokens = usage.prompt_tokens + usage.completion_tokens - usage.dropped_tokens
        result = LlamaCppResult(
            index=index,
            content=choice.text,
            tokens=choice.tokens,
            model=self.head.model,
            tokens_predicted=usage.completion_tokens,
            tokens_evaluated=usage.prompt_tokens,
            generation_settings=dict(self.settings),
            prompt=prompt.text,
            has_new_line=has_new_line,
            truncated=(is_short and not choice.reached_deadline) or usage.dropped_tokens > 0,
            stop_type=stop_type,
            stopping_word=choice.stop or "",
            stopped_eos=stop_type == "eos",
            stopped_word=stop_type == "word",
            stopped_limit=stop_type == "limit",
            # The last sampled token is never evaluated.
            tokens_cached=n_tokens - (usage.completion_tokens > 0),
            timings=Timings.of(usage),
            completion_probabilities=(
                self.probabilities(choice.logprobs)
                if self.has_probabilities and choice.logprobs
                else None
            ),
        )
        return result.model_dump(exclude_none=True)

    def probabilities(self, entries: Sequence[TokenLogprobs]) -> list[SampledProbability]:
        """``completion_probabilities``."""
        return [
            _sampled_probability(entry, self.texts, is_post=self.is_post_sampling)
            for entry in entries
        ]

    def select(self, fields: dict[str, Any]) -> dict[str, Any]:
        """What ``response_fields`` names; ``a/b`` gives the field ``b`` of ``a`` that name."""
        if not self.response_fields:
            return fields
        selected: dict[str, Any] = {}
        for path in self.response_fields:
            value: Any = fields
            for name in path.split("/"):
                value = value.get(name, selected) if isinstance(value, dict) else selected
            if value is not selected:
                selected[path] = value
        return selected


def llama_cpp_body(answer: Answer, choices: Sequence[Choice], cost: float | None = None) -> bytes:
    """The whole answer: an object, or without OpenAI's fields one for each of several choices."""
    results = [
        answer.result(index, choice, has_new_line="\n" in choice.text)
        for index, choice in enumerate(choices)
    ]
    if not answer.oai_compat:
        selected = [answer.select(result) for result in results]
        return orjson.dumps(selected if len(selected) > 1 else selected[0])
    texts = answer.texts if answer.has_logprobs else None
    usage = usage_fields(usages(choices), answer.n, cost=cost)
    openai = text_completion(answer.head, choices, answer.n, texts, usage=usage)
    body = {**results[0], **openai}
    if len(results) > 1:
        body["results"] = results
    return orjson.dumps(answer.select(body))


class LlamaCppStream:
    """The chunks of one streamed answer, as bytes ready to send.

    A choice's last chunk has everything that its body would have but the text and the tokens,
    which came before. Like llama.cpp's, and unlike OpenAI's, the stream ends without ``[DONE]``:
    programs for llama.cpp's server parse every event as JSON, OpenAI's clients need no such event.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._template = ChunkTemplate(
            answer.head, "text_completion", include_usage=answer.include_usage
        )
        self._openai: dict[str, Any] = dict(self._template.common)
        if answer.include_usage:
            self._openai["usage"] = None
        self._openai_json = b"," + orjson.dumps(self._openai)[1:-1] if answer.oai_compat else b""
        count = len(answer.prompts) * answer.n
        self.choices = [Choice() for _ in range(count)]
        self._n_predicted = [0] * count
        self._offsets = [0] * count
        self._has_new_line = [False] * count

    def begin(self) -> bytes:
        """Nothing: the first chunk comes with the first token."""
        return b""

    def format(self, outputs: Sequence[Output]) -> bytes:
        """The events for ``outputs``; raises `APIError` when the engine failed."""
        events: list[bytes] = []
        for output in outputs:
            if output.text or output.tokens or output.progress is not None:
                self._add_chunk(events, output)
            if output.finish_reason is not None:
                events.append(self._last_chunk(output))
        return b"".join(events)

    def _add_chunk(self, events: list[bytes], output: Output) -> None:
        index = output.index
        self._n_predicted[index] += len(output.tokens)
        if "\n" in output.text:
            self._has_new_line[index] = True
        text = orjson.dumps(output.text)
        events += (
            b'data: {"index":%d,"content":' % index,
            text,
            b',"tokens":',
            orjson.dumps(list(output.tokens)),
            b',"stop":false,"id_slot":-1,"tokens_predicted":%d,"tokens_evaluated":%d'
            % (self._n_predicted[index], self._answer.prompts[index // self._answer.n].n_tokens),
        )
        self._add_extras(events, output)
        if self._openai_json:
            events += (
                self._openai_json,
                b',"choices":[{"index":%d,"text":' % index,
                text,
                b',"logprobs":',
                self._logprobs(output),
                b',"finish_reason":null}]',
            )
        events.append(b"}\n\n")

    def _add_extras(self, events: list[bytes], output: Output) -> None:
        """What a request has to ask for."""
        events.append(extra_fields(output, has_timings=self._answer.timings_per_token))
        if self._answer.has_probabilities and output.logprobs:
            entries = self._answer.probabilities(output.logprobs)
            dumped = orjson.dumps([entry.model_dump(exclude_none=True) for entry in entries])
            events += (b',"completion_probabilities":', dumped)

    def _logprobs(self, output: Output) -> bytes:
        if not self._answer.has_logprobs or not output.logprobs:
            return b"null"
        offset = self._offsets[output.index]
        self._offsets[output.index] += len(output.text)
        columns = text_logprobs(output.logprobs, self._answer.texts, offset)
        return columns.model_dump_json().encode()

    def _last_chunk(self, output: Output) -> bytes:
        index = output.index
        choice = self.choices[index]
        choice.finish(output)
        chunk = self._answer.result(index, choice, has_new_line=self._has_new_line[index])
        if self._answer.oai_compat:
            reason = choice.finish_reason
            ending = {"index": index, "text": "", "logprobs": None, "finish_reason": reason}
            usage = usage_fields(usages([choice]), 1)
            chunk.update({"choices": [ending], "usage": usage, **self._openai})
        return event(self._answer.select(chunk))

    def end(self, cost: float | None = None) -> bytes:
        """The usage of all choices, if asked for."""
        usage = usage_fields(usages(self.choices), self._answer.n, cost=cost)
        return self._template.usage_chunk(usage)


def _stop_type(choice: Choice) -> StopType:
    if choice.stop is not None:
        return "word"
    return "eos" if choice.finish_reason == "stop" else "limit"


def _sampled_probability(
    entry: TokenLogprobs, texts: TokenTexts, *, is_post: bool
) -> SampledProbability:
    top = [_probability(each, texts, is_post=is_post) for each in entry.top]
    return SampledProbability(
        **_probability(entry.sampled, texts, is_post=is_post).model_dump(),
        top_probs=top if is_post else None,
        top_logprobs=None if is_post else top,
    )


def _probability(entry: Logprob, texts: TokenTexts, *, is_post: bool) -> TokenProbability:
    """Control tokens add nothing to the text; an unfinished character at the end is left out."""
    data = b"" if texts.is_control(entry.token) else texts.render(entry.token, special=True)
    return TokenProbability(
        id=entry.token,
        token=_UTF8_DECODER("replace").decode(data),
        bytes=list(data),
        logprob=None if is_post else entry.logprob,
        prob=math.exp(entry.logprob) if is_post else None,
    )
