"""A llama-architecture decoder small enough to train on a laptop's CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the network.

    Every matrix's row length must be a multiple of 32, the block size of Q8_0.
    """

    vocab_size: int = 1280
    d_model: int = 128
    n_layers: int = 5
    n_heads: int = 4
    n_kv_heads: int = 4
    d_ff: int = 384
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    context_length: int = 4096

    @property
    def head_dim(self) -> int:
        return self.d_model // self.n_heads


def rope_tables(length: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary embedding, each of shape (length, head_dim / 2)."""
    frequencies = theta ** (-torch.arange(0, head_dim, 2).float() / head_dim)
    angles = torch.outer(torch.arange(length).float(), frequencies)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate adjacent pairs of x, shape (batch, heads, time, head_dim).

    GGUF's `llama` architecture pairs dimensions 2i and 2i+1 (ggml's "normal" RoPE), so the
    exported query and key matrices need no permutation.
    """
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class Attention(nn.Module):
    """Causal self-attention with grouped key and value heads."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        kv_dim = config.n_kv_heads * config.head_dim
        self.q = nn.Linear(config.d_model, config.d_model, bias=False)
        self.k = nn.Linear(config.d_model, kv_dim, bias=False)
        self.v = nn.Linear(config.d_model, kv_dim, bias=False)
        self.output = nn.Linear(config.d_model, config.d_model, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, time, width = x.shape
        head_dim = self.config.head_dim
        q = self.q(x).view(batch, time, -1, head_dim).transpose(1, 2)
        k = self.k(x).view(batch, time, -1, head_dim).transpose(1, 2)
        v = self.v(x).view(batch, time, -1, head_dim).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(
            rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True, enable_gqa=True
        )
        projected: Tensor = self.output(mixed.transpose(1, 2).reshape(batch, time, width))
        return projected


class Block(nn.Module):
    """One decoder layer: attention, then a SwiGLU feed-forward network, both pre-normalised."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.attention = Attention(config)
        self.feed_forward_norm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.gate = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.up = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin)
        hidden = self.feed_forward_norm(x)
        out: Tensor = x + self.down(F.silu(self.gate(hidden)) * self.up(hidden))
        return out


class LanguageModel(nn.Module):
    """The whole network; the token embedding doubles as the output matrix."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        cos, sin = rope_tables(config.context_length, config.head_dim, config.rope_theta)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        initialise(self)

    def hidden_states(self, tokens: Tensor) -> Tensor:
        """Final normalised states, shape (batch, time, d_model), of `tokens` (batch, time)."""
        cos, sin = self.cos[: tokens.shape[1]], self.sin[: tokens.shape[1]]
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, cos, sin)
        out: Tensor = self.norm(x)
        return out

    def loss(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Mean cross-entropy, in nats, of the tokens that `mask` marks as targets.

        Logits are computed at the marked positions only: most tokens of a batch are prompts.
        """
        states = self.hidden_states(tokens[:, :-1])[mask[:, 1:]]
        return F.cross_entropy(states @ self.embedding.weight.T, tokens[:, 1:][mask[:, 1:]])


def initialise(model: LanguageModel) -> None:
    """Small random weights, and in the first two layers a ready circuit that copies.

    A transformer answers "... A B ... A" with B through an induction head: one layer's heads write
    the previous token into each position, the next layer's look for where the current token was
    the previous one (Olsson et al., "In-context Learning and Induction Heads", 2022). Left to
    chance, that circuit takes most of a short training to appear, so its weights are set here.
    """
    config = model.config
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            residual = name.endswith(("output.weight", "down.weight"))
            nn.init.normal_(weight, std=0.02 / (2 * config.n_layers) ** 0.5 if residual else 0.04)
    nn.init.normal_(model.embedding.weight, std=0.02)
    nn.init.constant_(model.norm.weight, 4.0)  # or no logit could exceed 2.5 at the start
    with torch.no_grad():
        # Dimension 0 is the same for every token: what content-independent attention is built from.
        model.embedding.weight[:, 0] = 0.08
        basis = torch.zeros(config.d_model - 1, config.d_model)
        basis[:, 1:] = torch.linalg.qr(torch.randn(config.d_model - 1, config.d_model - 1))[0]
        first, second = (cast(Block, model.blocks[layer]).attention for layer in range(2))
        for head in range(2):
            _set_previous_token_head(first, head, basis)
            _set_induction_head(second, head, basis)


# Rotary pairs of a head that turn fast enough to tell neighbours apart, and the dimensions that
# turn so slowly that they compare contents across a hundred tokens.
_FAST_PAIRS = 6
_SLOW_DIMENSIONS = slice(12, 32)
_SLOW = 20


def _set_previous_token_head(attention: Attention, head: int, basis: Tensor) -> None:
    """Attend one position back; write that token's content into directions of its own."""
    config = attention.config
    start = head * config.head_dim
    rows = slice(start, start + config.head_dim)
    for matrix in (attention.q, attention.k, attention.v):
        matrix.weight[rows] = 0
    attention.output.weight[:, rows] = 0
    for pair in range(_FAST_PAIRS):
        angle = torch.tensor(config.rope_theta ** (-2 * pair / config.head_dim))
        attention.k.weight[start + 2 * pair, 0] = 2.0
        attention.q.weight[start + 2 * pair, 0] = 2.0 * angle.cos()
        attention.q.weight[start + 2 * pair + 1, 0] = -2.0 * angle.sin()
    content = basis[head * _SLOW : (head + 1) * _SLOW]
    written = basis[(head + 2) * _SLOW : (head + 3) * _SLOW]
    attention.v.weight[start : start + _SLOW] = content
    attention.output.weight[:, start : start + _SLOW] = 0.06 * written.T


def _set_induction_head(attention: Attention, head: int, basis: Tensor) -> None:
    """Attend where the current token was the previous one; raise the logit of the token there."""
    start = head * attention.config.head_dim
    rows = slice(start, start + attention.config.head_dim)
    slow = slice(start + _SLOW_DIMENSIONS.start, start + _SLOW_DIMENSIONS.stop)
    for matrix in (attention.q, attention.k):
        matrix.weight[rows] = 0
    attention.q.weight[slow] = 2.5 * basis[head * _SLOW : (head + 1) * _SLOW]
    attention.k.weight[slow] = 2.5 * basis[(head + 2) * _SLOW : (head + 3) * _SLOW]
    copied = basis[head * 32 : head * 32 + 32]
    attention.v.weight[rows] = copied
    attention.output.weight[:, rows] = 0.25 * copied.T
