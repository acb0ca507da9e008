"""Logits that are NaN: the request ends with an error, however it samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shared.engine.llama.errors import NoNumbersError
from shared.engine.sampling.logit_bias import LogitBias
from shared.engine.sampling.sampler import BatchSampler, Sampler
from shared.engine.types import SamplingParams

N_VOCAB = 100
SAMPLED = SamplingParams(seed=1)


@pytest.mark.parametrize("n_rows", [1, 2, 8])
@pytest.mark.parametrize("n_vocab", [N_VOCAB, 20_000])
@pytest.mark.parametrize(
    "params",
    [
        SAMPLED,
        replace(SAMPLED, temperature=0),
        replace(SAMPLED, temperature=0.5),
        replace(SAMPLED, top_k=5),
        replace(SAMPLED, top_p=0.5),
        replace(SAMPLED, min_p=0.1),
        replace(SAMPLED, typical_p=0.5),
        replace(SAMPLED, mirostat=1),
        replace(SAMPLED, mirostat=2),
        replace(SAMPLED, xtc_probability=1),
        replace(SAMPLED, logit_bias=LogitBias({3: -100})),
        replace(SAMPLED, presence_penalty=1),
    ],
)
def test_nothing_is_sampled_from_nan(params: SamplingParams, n_vocab: int, n_rows: int) -> None:
    sampler = BatchSampler(n_vocab, lambda: np.array([2], dtype=np.int32))
    logits = np.zeros((n_rows, n_vocab), dtype=np.float32)
    logits[-1] = np.nan
    with np.errstate(invalid="ignore"), pytest.raises(NoNumbersError, match="not a number"):
        sampler.sample(logits, [Sampler(params) for _ in range(n_rows)])
