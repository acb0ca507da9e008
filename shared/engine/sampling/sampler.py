"""Sampler: from a row of logits to a token.

Each row is first *adjusted* in place (banned tokens, logit bias, penalties, constraint), then a
token is *selected*: greedily, from the whole distribution, or from the candidates that truncation,
XTC and mirostat leave. The order is llama.cpp's default: penalties, DRY, top-k, typical, top-p,
min-p, XTC, temperature; mirostat stands in for truncation and XTC, after temperature.

Randomness is a function of (seed, number of tokens sampled), so that a sequence gives the same text
whatever runs beside it, and after it was preempted and recomputed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shared.engine.llama.context import LogitsArray
from shared.engine.llama.errors import NoNumbersError
from shared.engine.llama.tokenizer import TokenArray
from shared.engine.sampling.dry import Piece
from shared.engine.sampling.inverse_transform import InverseTransform, draw_index
from shared.engine.sampling.logprobs import DrawnFrom
from shared.engine.sampling.mirostat import Mirostat
from shared.engine.sampling.penalties import Penalties
from shared.engine.sampling.truncation import Candidates, Truncation, top_choices
from shared.engine.types import SamplingParams

if TYPE_CHECKING:
    from shared.engine.grammar.constraint import ConstraintMatcher

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
"""SplitMix64's increment; keeps 0, which `mix` maps to itself, from being drawn."""
_UNIFORMS = 8
"""Random numbers that are made at once, but for a sequence's first."""
_GREEDY_BELOW = 1e-6
"""Lower temperatures would overflow the division, and pick the likeliest token anyway."""


class Sampler:
    """The sampling state of one sequence; kept when the sequence is preempted."""

    __slots__ = (
        "_bias",
        "_first_uniform",
        "_n_sampled",
        "_params",
        "_penalties",
        "_seed",
        "_uniforms",
        "_xtc_probability",
        "adjusts",
        "bans",
        "bans_end",
        "constraint",
        "drawn_from",
        "mirostat",
        "narrows",
        "temperature",
        "truncation",
        "xtc_threshold",
    )

    def __init__(
        self,
        params: SamplingParams,
        choice: int = 0,
        constraint: ConstraintMatcher | None = None,
        piece: Piece = lambda _token: b"",
    ) -> None:
        """``choice`` is the index among ``n``: each choice draws its own random numbers.

        ``piece`` gives a token's bytes, where DRY looks for its sequence breakers.
        """
        self.constraint = constraint
        self.drawn_from: DrawnFrom | None = None
        """Where to keep what the last token was drawn from."""
        self._params = params
        self._seed = mix(mix((params.seed & _MASK) + _GOLDEN) + choice)
        self._n_sampled = 0
        self._uniforms: list[float] = []
        """Random numbers of the next tokens, from that of token ``_first_uniform`` on."""
        self._first_uniform = 0
        self._bias = bias = params.logit_bias
        self._penalties = Penalties.of(params, piece)
        self.adjusts = bias is not None or self._penalties is not None or constraint is not None
        self.bans = bias is not None and bias.bans
        self.bans_end = params.ignore_eos or params.min_tokens > 0
        self.temperature = params.temperature if params.temperature > _GREEDY_BELOW else 0.0
        self.mirostat: Mirostat | None = None
        self.truncation: Truncation | None = None
        self.xtc_threshold = params.xtc_threshold
        self._xtc_probability = params.xtc_probability if not params.mirostat else 0.0
        if self.temperature > 0 and params.mirostat:
            self.mirostat = Mirostat(params.mirostat, params.mirostat_tau, params.mirostat_eta)
        elif self.temperature > 0 or self._xtc_probability > 0:
            self.truncation = Truncation.of(params)
        self.narrows = (
            self.mirostat is not None or self.truncation is not None or self._xtc_probability > 0
        )
        """Whether the token is selected from candidates, not from the whole row."""

    def uniform(self) -> float:
        """The next token's random number, in [0, 1)."""
        i = self._n_sampled - self._first_uniform
        if i >= len(self._uniforms):
            # Several at once: right after a decode one takes 8 us, the next ones 1.6 each.
            self._first_uniform = first = self._n_sampled
            numbers = range(first + 1, first + (_UNIFORMS if first else 1) + 1)
            self._uniforms = [
                (mix(self._seed + number * _GOLDEN) >> 11) / (1 << 53) for number in numbers
            ]
            i = 0
        return self._uniforms[i]

    def excludes_top(self) -> bool:
        """Whether XTC applies to the next token; its random numbers are a sequence of their own."""
        if not self._xtc_probability:
            return False
        number = mix(mix(~self._seed) + (self._n_sampled + 1) * _GOLDEN)
        return (number >> 11) / (1 << 53) < self._xtc_probability

    def accept(self, token: int) -> None:
        """Note the token that was sampled."""
        if self.drawn_from is not None and self.temperature == 0:
            self.drawn_from.set_certain(token)
        self._n_sampled += 1
        if self.bans_end and not self._params.ignore_eos:
            self.bans_end = self._n_sampled < self._params.min_tokens
        if self._penalties is not None:
            self._penalties.accept(token)
        if self.constraint is not None:
            self.constraint.accept(token)

    def adjust(self, row: LogitsArray) -> None:
        """Apply bias and penalties to a row of logits, in place."""
        if self._bias is not None:
            self._bias.apply(row)
        if self._penalties is not None:
            self._penalties.apply(row)


def mix(value: int) -> int:
    """SplitMix64's output function (Steele, Lea, Flood 2014): a 64-bit integer well stirred."""
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class BatchSampler:
    """Samples one token for each of several sequences; owns the scratch memory for it."""

    def __init__(self, n_vocab: int, end_tokens: Callable[[], TokenArray]) -> None:
        """``end_tokens`` gives the tokens that ``ignore_eos`` and ``min_tokens`` ban."""
        self._n_vocab = n_vocab
        self._end_tokens = end_tokens
        self._whole = InverseTransform(n_vocab)
        self._candidates: Candidates | None = None
        self._end_indices: npt.NDArray[np.intp] | None = None

    def sample(self, logits: LogitsArray, samplers: Sequence[Sampler]) -> list[int]:
        """One token per row of ``logits`` (shape ``(len(samplers), n_vocab)``, overwritten).

        Bans that leave a row no token at all are lifted for the tokens that end a generation: a
        sequence that may say nothing ends. A constraint wins over all bans. Raises
        `NoNumbersError` for a row that no token can be sampled from.
        """
        if len(samplers) == 1:
            return [self.sample_one(logits, samplers[0])]
        tokens = [0] * len(samplers)
        greedy: list[int] = []
        whole: list[int] = []
        self._ban_ends(logits, samplers)
        for i, sampler in enumerate(samplers):
            if sampler.adjusts:
                self._adjust(logits[i], sampler)
            if sampler.narrows:
                tokens[i] = self._select(logits[i], sampler)
            elif sampler.temperature > 0:
                whole.append(i)
            else:
                greedy.append(i)
        if greedy:
            likeliest = _rows(logits, greedy).argmax(axis=1).tolist()
            for i, token in zip(greedy, likeliest, strict=True):
                tokens[i] = token
        self._draw_whole(logits, samplers, whole, tokens)
        self._check_numbers(logits, tokens)
        for sampler, token in zip(samplers, tokens, strict=True):
            sampler.accept(token)
        return tokens

    def sample_one(self, logits: LogitsArray, sampler: Sampler) -> int:
        """The same for one row: of shape ``(1, n_vocab)``, and the token that `sample` gives.

        Right after a decode a step of one sequence pays for each line of code that it touches.
        """
        row = logits[0]
        if sampler.bans_end:
            row[self._ends()] = -np.inf
        if sampler.adjusts:
            self._adjust(row, sampler)
        if sampler.narrows:
            token = self._select(row, sampler)
        elif sampler.temperature > 0:
            if sampler.drawn_from is not None:
                sampler.drawn_from.set(None, _weights(row, sampler.temperature))
            token = self._whole.draw(row, sampler.temperature, sampler.uniform())
        else:
            token = int(row.argmax())
            if math.isnan(row[token]):
                raise NoNumbersError
        if token >= self._n_vocab:
            raise NoNumbersError
        sampler.accept(token)
        return token

    def _draw_whole(
        self,
        logits: LogitsArray,
        samplers: Sequence[Sampler],
        whole: list[int],
        tokens: list[int],
    ) -> None:
        """Put into ``tokens`` what is drawn from the whole rows ``whole``."""
        for i in whole:
            if (drawn_from := samplers[i].drawn_from) is not None:
                drawn_from.set(None, _weights(logits[i], samplers[i].temperature))
        if len(whole) > 1 and self._whole.prefers_batches:
            drawn = self._whole.draw_rows(
                _rows(logits, whole),
                [samplers[i].temperature for i in whole],
                [samplers[i].uniform() for i in whole],
            )
            for i, token in zip(whole, drawn, strict=True):
                tokens[i] = token
        else:
            for i in whole:
                sampler = samplers[i]
                tokens[i] = self._whole.draw(logits[i], sampler.temperature, sampler.uniform())

    def _check_numbers(self, logits: LogitsArray, tokens: list[int]) -> None:
        """Raise `NoNumbersError` for what selecting makes of a row with NaN in it."""
        for i, token in enumerate(tokens):  # one by one: 1 us, where numpy's way is 20 us
            if token >= self._n_vocab or math.isnan(logits[i, token]):
                raise NoNumbersError

    def _ban_ends(self, logits: LogitsArray, samplers: Sequence[Sampler]) -> None:
        """Make the end impossible for the sequences that must go on."""
        endless = [i for i, sampler in enumerate(samplers) if sampler.bans_end]
        if not endless:
            return
        if len(endless) == len(samplers):
            logits[:, self._ends()] = -np.inf
        else:
            for i in endless:
                logits[i][self._ends()] = -np.inf

    def _ends(self) -> npt.NDArray[np.intp]:
        """The indices of the tokens that end a generation."""
        if self._end_indices is None:  # of this type, since NumPy copies any other each time
            self._end_indices = self._end_tokens().astype(np.intp)
        return self._end_indices

    def _adjust(self, row: LogitsArray, sampler: Sampler) -> None:
        """Apply to ``row`` what the sequence asks for, and leave at least one token possible."""
        sampler.adjust(row)
        if sampler.bans and row.max() == -np.inf:
            row[self._end_tokens()] = 0
        if sampler.constraint is not None:
            sampler.constraint.apply(row)

    def _select(self, row: LogitsArray, sampler: Sampler) -> int:
        """A token from the candidates that truncation, XTC and mirostat leave."""
        if np.isnan(row.max()):  # truncation would take it for the likeliest
            raise NoNumbersError
        if self._candidates is None:
            self._candidates = Candidates(self._n_vocab)
        ids, logits = self._candidates.of(row, sampler.truncation)
        if sampler.excludes_top():
            excluded = top_choices(logits, sampler.xtc_threshold)
            ids, logits = np.delete(ids, excluded), np.delete(logits, excluded)
        if sampler.temperature <= 0:
            return int(ids[logits.argmax()])
        weights = _weights(logits, sampler.temperature)
        if sampler.mirostat is not None:
            weights, ids = sampler.mirostat.keep(weights, ids, self._n_vocab)
            position = sampler.mirostat.draw(weights, sampler.uniform())
        else:
            position = draw_index(weights, sampler.uniform())
        if sampler.drawn_from is not None:
            sampler.drawn_from.set(ids, weights)
        return int(ids[position])


def _weights(logits: LogitsArray, temperature: float) -> LogitsArray:
    """What probabilities are in proportion to."""
    weights: LogitsArray = np.exp((logits - logits.max()) / np.float32(temperature))
    return weights


def _rows(logits: LogitsArray, indices: list[int]) -> LogitsArray:
    """The rows at ``indices``, without a copy when these are all."""
    return logits if len(indices) == len(logits) else logits[indices]
