"""Answer of an upstream in this project's form: its parts added up, and written as OpenAI's types.

One formatter for all dialects, streamed and whole: what an answer looks like does not depend on who
gives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from shared.completion.upstreams.adapted_choice import AdaptedChoice
from shared.protocol.responses import CompletionTokensDetails, PromptTokensDetails, Usage
from shared.protocol.sse import DONE, event
from shared.upstreams import errors

if TYPE_CHECKING:
    from shared.completion.upstreams.adapted_request import AdaptedRequest
    from shared.config.upstreams import UpstreamModel
    from shared.upstreams.dialects.dialect import AnswerPart, AnswerReader

_OBJECTS = {
    "chat": ("chat.completion", "chat.completion.chunk"),
    "text": ("text_completion", "text_completion"),
}
_BYTES_PER_TOKEN = 4


class AdaptedAnswer:
    """One answer, as far as it has come."""

    def __init__(
        self,
        request: AdaptedRequest,
        upstream: UpstreamModel,
        reader: AnswerReader,
        *,
        completion_id: str,
        created: int,
        model: str,
        prompt_estimate: int,
    ) -> None:
        """An answer with nothing in it.

        - ``reader``: what says how many tokens there are, the tier and the fingerprint.
        - ``created``: Unix seconds.
        - ``model``: its name here.
        - ``prompt_estimate``: tokens of the prompt, where the upstream says none.
        """
        self._upstream = upstream
        self._reader = reader
        self._is_chat = request.endpoint == "chat"
        self._request = request
        self._head = {"id": completion_id, "created": created, "model": model}
        self._prompt_estimate = prompt_estimate
        self._choices = [
            AdaptedChoice(i, f"call_{completion_id.rpartition('-')[2]}", request)
            for i in range(request.n_choices)
        ]
        self._common: bytes | None = None
        """What chunks begin with; None before the first one."""
        self.n_bytes = 0
        """Of the texts in it."""
        self._n_parts = 0

    @property
    def has_begun(self) -> bool:
        """Whether anything of it is there."""
        return self._n_parts > 0

    @property
    def usage(self) -> tuple[int, int, int] | None:
        """Prompt tokens, cached ones among them, and completion tokens, as the upstream says.

        Of what broke off, which it may have counted from time to time, at least the estimate.
        """
        told = self._reader.usage
        if told is None:
            return None
        is_done = self._reader.is_done
        completion = told.completion if is_done else max(told.completion, self.estimate)
        return told.prompt, told.cached, completion

    @property
    def estimate(self) -> int:
        """Completion tokens by the text that has come: of four bytes, and one for each part."""
        return max(self._n_parts, -(-self.n_bytes // _BYTES_PER_TOKEN))

    @property
    def counted(self) -> tuple[int, int, int]:
        """The same, or what is metered where the upstream says nothing."""
        return self.usage or (self._prompt_estimate, 0, self.estimate)

    def add(self, part: AnswerPart) -> AdaptedChoice:
        """Take a part of the answer; the choice that it belongs to.

        Raises `UpstreamError` 502 where that is none that was asked for.
        """
        if not 0 <= part.choice < len(self._choices):
            raise errors.malformed(self._upstream)
        choice = self._choices[part.choice]
        size = choice.add(part)
        self.n_bytes += size
        self._n_parts += size > 0
        return choice

    def events(self, part: AnswerPart) -> bytes:
        """The same, and the chunks of a stream for it; raises `UpstreamError` 502."""
        choice = self.add(part)
        chunks = [] if self._common is not None else self._begin()
        return b"".join((*chunks, *map(self._chunk, choice.chunks(part))))

    def end(self, cost: float | None) -> bytes:
        """The end of a stream: how each choice ended, the usage if asked for, and ``[DONE]``."""
        chunks: list[bytes] = [] if self._common is not None else self._begin()
        for choice in self._choices:
            if not choice.is_finished:
                choice.finish(None)
                chunks.append(self._chunk(choice.last_chunk()))
        if self._request.includes_usage:
            fields = {"choices": [], "usage": self._usage(cost)}
            chunks.append(event({**self._fields(1), **fields}))
        return b"".join((*chunks, DONE))

    def body(self, cost: float | None) -> dict[str, Any]:
        """The whole answer."""
        return {
            **self._fields(0),
            "choices": [choice.whole() for choice in self._choices],
            "usage": self._usage(cost),
        }

    def _fields(self, which: int) -> dict[str, Any]:
        """What bodies and chunks have in common; ``which`` of `_OBJECTS`."""
        told = {
            "service_tier": self._reader.service_tier,
            "system_fingerprint": self._reader.system_fingerprint,
        }
        return {
            "id": self._head["id"],
            "object": _OBJECTS[self._request.endpoint][which],
            "created": self._head["created"],
            "model": self._head["model"],
            **{name: value for name, value in told.items() if value is not None},
        }

    def _begin(self) -> list[bytes]:
        """The chunks that come first: of chats, one with the role for each choice."""
        common = self._fields(1)
        if self._request.includes_usage:
            common["usage"] = None
        self._common = b"data: " + orjson.dumps(common)[:-1] + b',"choices":['
        if not self._is_chat:
            return []
        return [self._chunk(choice.first_chunk()) for choice in self._choices]

    def _chunk(self, choice: dict[str, Any]) -> bytes:
        assert self._common is not None
        return self._common + orjson.dumps(choice) + b"]}\n\n"

    def _usage(self, cost: float | None) -> dict[str, Any]:
        told = self._reader.usage
        prompt, cached, completion = self.counted
        details = CompletionTokensDetails()
        if told is not None:
            details = CompletionTokensDetails(
                reasoning_tokens=told.reasoning,
                accepted_prediction_tokens=told.accepted_prediction,
                rejected_prediction_tokens=told.rejected_prediction,
            )
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=cached),
            completion_tokens_details=details,
            cost=cost,
        ).model_dump()

    def finish_reasons(self) -> list[str]:
        """How the choices ended that have ended."""
        return [choice.finish_reason for choice in self._choices if choice.is_finished]
