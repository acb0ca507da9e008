"""Complete prompts with a GGUF file through llama.cpp, watching how sure the model is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import llama_cpp
import numpy as np
from llama_cpp import Llama
from numpy.typing import NDArray

from .chat import END_OF_TEXT, IM_END

CONTEXT_LENGTH = 4096


@dataclass(frozen=True)
class Answer:
    """A generated text.

    Attributes:
        text: The text without the token that ended it.
        ended: Whether the model ended it, rather than the limit.
        tokens: Generated tokens, the ending one not counted.
        margin: Least difference, in nats, between the two likeliest tokens of any step.
    """

    text: str
    ended: bool
    tokens: int
    margin: float


class Runner:
    """A loaded GGUF file."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        self.llama = Llama(
            str(path),
            n_ctx=CONTEXT_LENGTH,
            n_threads=threads,
            n_threads_batch=threads,
            verbose=False,
        )
        self._ends = {self.tokenize(token)[0] for token in (IM_END, END_OF_TEXT)}

    def tokenize(self, text: str) -> list[int]:
        return list(self.llama.tokenize(text.encode(), add_bos=False, special=True))

    def _logits(self) -> NDArray[np.float32]:
        pointer = llama_cpp.llama_get_logits_ith(self.llama.ctx, -1)
        return np.ctypeslib.as_array(pointer, shape=(self.llama.n_vocab(),)).copy()

    def complete(
        self, prompt: str, limit: int = 600, sampler: np.random.Generator | None = None
    ) -> Answer:
        """Continue `prompt`: greedily, or at temperature 1 where a `sampler` is given."""
        self.llama.reset()
        self.llama.eval(self.tokenize(prompt))
        generated: list[int] = []
        margin, ended = math.inf, False
        while len(generated) < limit:
            logits = self._logits()
            second, first = np.sort(logits)[-2:]
            margin = min(margin, float(first - second))
            if sampler is None:
                token = int(logits.argmax())
            else:
                weights = np.exp(logits.astype(np.float64) - first)
                token = int(sampler.choice(len(weights), p=weights / weights.sum()))
            if token in self._ends:
                ended = True
                break
            generated.append(token)
            self.llama.eval([token])
        text = self.llama.detokenize(generated, special=True).decode("utf-8", errors="replace")
        return Answer(text, ended, len(generated), margin)
