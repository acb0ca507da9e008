"""Stream batches out of the corpus and train the network on them."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import torch
from tokenizers import Tokenizer
from torch import Tensor

from .chat import segments
from .corpus import sample
from .model import LanguageModel

# Samples drawn, sorted by length and cut into batches at a time: enough that a batch pads little.
_POOL = 4096


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. `batch_tokens` counts prompt, answer and padding tokens of one step."""

    steps: int = 4000
    batch_tokens: int = 2048
    longest: int = 2048
    peak_rate: float = 3e-3
    warmup_steps: int = 150
    weight_decay: float = 0.05
    gradient_norm: float = 1.0
    seed: int = 20250101
    threads: int = 2


@dataclass(frozen=True)
class Encoded:
    """Token ids of a sample and, for each, whether it is a target of the loss."""

    ids: list[int]
    mask: list[bool]


def encode(tokenizer: Tokenizer, rng: Random) -> Encoded:
    """Draw a sample and tokenize it piece by piece, as prompt and answer meet in a server."""
    ids: list[int] = []
    mask: list[bool] = []
    for text, trained in segments(sample(rng)):
        piece = tokenizer.encode(text).ids
        ids += piece
        mask += [trained] * len(piece)
    return Encoded(ids, mask)


def batches(tokenizer: Tokenizer, config: TrainingConfig) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (tokens, mask) pairs of shape (rows, time), padded on the right.

    Rows of a batch are of similar length. Padding needs no attention mask: it stands after every
    target, and attention is causal.
    """
    rng = Random(config.seed)
    while True:
        pool = [encode(tokenizer, rng) for _ in range(_POOL)]
        pool = sorted(
            (item for item in pool if len(item.ids) <= config.longest), key=lambda i: len(i.ids)
        )
        cuts: list[list[Encoded]] = [[]]
        for item in pool:
            if (len(cuts[-1]) + 1) * len(item.ids) > config.batch_tokens and cuts[-1]:
                cuts.append([])
            cuts[-1].append(item)
        rng.shuffle(cuts)
        for rows in cuts:
            width = len(rows[-1].ids)
            tokens = torch.zeros(len(rows), width, dtype=torch.long)
            mask = torch.zeros(len(rows), width, dtype=torch.bool)
            for row, item in enumerate(rows):
                tokens[row, : len(item.ids)] = torch.tensor(item.ids)
                mask[row, : len(item.ids)] = torch.tensor(item.mask)
            yield tokens, mask


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, then a cosine from the peak to zero."""
    if step < config.warmup_steps:
        return config.peak_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.peak_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def make_optimizers(model: LanguageModel, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for the embedding and the norms."""
    matrices = [weight for weight in model.blocks.parameters() if weight.dim() == 2]
    norms = [weight for weight in model.parameters() if weight.dim() == 1]
    muon = torch.optim.Muon(
        matrices, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    adamw = torch.optim.AdamW(
        [
            {"params": [model.embedding.weight], "weight_decay": config.weight_decay},
            {"params": norms, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
        fused=True,
    )
    return [muon, adamw]


def train(model: LanguageModel, tokenizer: Tokenizer, config: TrainingConfig) -> None:
    """Train `model` in place. Progress goes to stderr."""
    optimizers = make_optimizers(model, config)
    stream = batches(tokenizer, config)
    started, seen, smooth = time.monotonic(), 0, 0.0
    for step in range(config.steps):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, config)
        tokens, mask = next(stream)
        loss = model.loss(tokens, mask)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_norm)
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad(set_to_none=True)
        seen += tokens.numel()
        smooth = loss.item() if step == 0 else 0.98 * smooth + 0.02 * loss.item()
        if (step + 1) % 50 == 0 or step + 1 == config.steps:
            elapsed = time.monotonic() - started
            left = elapsed / (step + 1) * (config.steps - step - 1)
            print(
                f"step {step + 1}/{config.steps}  loss {smooth:.4f}  {seen / elapsed:,.0f} tokens/s"
                f"  {elapsed:.0f} s, {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )
