"""Engine outputs and a vocabulary made by hand, to format without an engine."""

from __future__ import annotations

from collections.abc import Sequence

from shared.engine.types import (
    FinishReason,
    Logprob,
    Output,
    SequenceUsage,
    TokenLogprobs,
)
from shared.protocol.choices import Choice, collect
from shared.protocol.responses import ResponseHead

HEAD = ResponseHead(id="id-1", created=1_700_000_000, model="test/model", system_fingerprint="fp_0")

END = 9


class Vocabulary:
    """Ten tokens: some text, the three bytes of 你, and a control token."""

    PIECES = (b"Hello", b" world", b"!", b"\xe4", b"\xbd", b"\xa0", b"\n", b'"', b"", b"<|end|>")

    def render(self, token: int, *, special: bool) -> bytes:
        """The token's bytes."""
        return b"" if token == END and not special else self.PIECES[token]

    def is_control(self, token: int) -> bool:
        """Whether it is the end token."""
        return token == END


def usage(prompt: int = 5, cached: int = 0, completion: int = 3) -> SequenceUsage:
    """What a sequence cost."""
    return SequenceUsage(
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=completion,
        queue_seconds=0.0,
        prefill_seconds=0.01,
        decode_seconds=0.02,
    )


def last(
    index: int = 0,
    text: str = "",
    reason: FinishReason = "stop",
    cost: SequenceUsage | None = None,
    logprobs: Sequence[TokenLogprobs] = (),
    tokens: Sequence[int] = (),
) -> Output:
    """A choice's last output."""
    return Output(index, text, logprobs, finish_reason=reason, usage=cost or usage(), tokens=tokens)


def scored(token: int, logprob: float, *top: tuple[int, float]) -> TokenLogprobs:
    """A sampled token's log probability beside the likeliest ones'."""
    return TokenLogprobs(Logprob(token, logprob), tuple(Logprob(*item) for item in top))


def finished(*outputs: Output, n: int = 1) -> list[Choice]:
    """The choices that ``outputs`` add up to."""
    choices = [Choice() for _ in range(n)]
    collect(choices, outputs)
    return choices
