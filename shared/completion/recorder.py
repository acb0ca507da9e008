"""Recorder of completions of this server's engine: gathers what is generated, to be stored."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from shared.completion.recording import SAMPLED, Recording
from shared.engine.types import SequenceUsage
from shared.protocol.choices import Choice, collect, forget_logprobs, usages

if TYPE_CHECKING:
    from shared.completion.dialect import Dialect
    from shared.engine.mailbox.generation import Generation
    from shared.engine.types import Output, SamplingParams
    from shared.runtime.request_context import RequestContext
    from shared.runtime.state import ServerState


def recording_of(
    state: ServerState, context: RequestContext, dialect: Dialect[Any], sampling: SamplingParams
) -> Recording:
    """Recording of a request to the model here.

    ``sampling``: what it is sampled with, the defaults of server and model included.
    """
    head = dialect.head
    return Recording.of(
        state,
        context,
        dialect.asked,
        completion_id=head.id,
        kind=dialect.kind,
        created=head.created,
        model=head.model,
        sampled={name: getattr(sampling, name) for name in SAMPLED},
    )


@dataclass(slots=True)
class Recorder:
    """Keeps one completion: gathers what is generated, and writes it at the end.

    Incomplete completions are kept too: those whose client went away, with what there was.
    """

    recording: Recording
    choices: list[Choice]
    generation: Generation
    _is_incomplete: bool = False

    def add(self, outputs: Sequence[Output]) -> None:
        """Take what a stream is sent; raises `APIError` when the engine failed."""
        collect(self.choices, outputs)

    def count_unfinished(self) -> None:
        """Give choices that were cut off the usage that they have come to."""
        prompts = [r.prompt for r in self.generation.requests for _ in range(r.n)]
        for choice, prompt in zip(self.choices, prompts, strict=True):
            if choice.usage is None:
                self._is_incomplete = True
                choice.usage = SequenceUsage(
                    prompt_tokens=len(prompt),
                    cached_tokens=0,
                    completion_tokens=len(choice.tokens),
                    queue_seconds=0.0,
                    prefill_seconds=0.0,
                    decode_seconds=0.0,
                )

    async def store(self, body: bytes, cost: float | None = None) -> bool:
        """Write the completion with its answer; False, with an error in the log, if that fails."""
        found = usages(self.choices)
        timings = {
            "total_seconds": time.monotonic() - self.generation.submitted,
            "queue_seconds": max((usage.queue_seconds for usage in found), default=0.0),
            "prefill_seconds": max((usage.prefill_seconds for usage in found), default=0.0),
            "decode_seconds": max((usage.decode_seconds for usage in found), default=0.0),
        }
        return await self.recording.store(
            partial(self._answer, body), timings, cost=cost, is_incomplete=self._is_incomplete
        )

    def _answer(self, body: bytes) -> dict[str, Any]:
        """The answer to store."""
        forget_logprobs(self.choices)
        answer: dict[str, Any] = orjson.loads(body)
        return answer
