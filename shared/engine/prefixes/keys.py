"""Keys of prefixes: a chain of hashes over blocks of tokens (content addressing).

A block's key is the hash of the key before it and of its tokens, so that it stands for all tokens
up to its end, and for everything that their state depends on, which the first one begins with. So a
state is found only by who has the same tokens, model and settings, and is of the same tenant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from shared.engine.llama.tokenizer import TokenArray
from shared.engine.prefixes.digests import digest, tenant_path

BLOCK = 256
"""Tokens of a block. 3 MiB for a model of 0.5 B parameters with values of 16 bits: so much takes
little more than the time until an object store's first byte."""


def chain(seed: bytes, tokens: TokenArray) -> list[bytes]:
    """The keys of all whole blocks of ``tokens``."""
    key, keys = seed, []
    data = tokens.astype("<i4", copy=False)
    for start in range(0, len(data) - BLOCK + 1, BLOCK):
        key = hashlib.blake2b(key + data[start : start + BLOCK].tobytes(), digest_size=32).digest()
        keys.append(key)
    return keys


class KeySpace:
    """Keys of one engine's prefixes, by tenant."""

    def __init__(self, identity: Sequence[bytes]) -> None:
        """``identity``: what else changes a state: model, version of llama.cpp, settings."""
        self._identity = digest(*identity)

    def keys(self, tokens: TokenArray, salt: tuple[str, str]) -> list[bytes]:
        """The keys of a prompt's whole blocks, for a tenant and its cache key."""
        seed = digest(self._identity, *(part.encode() for part in salt))
        return chain(seed, tokens)

    def path(self, tenant: str, key: bytes) -> str:
        """Where a store keeps a block: the tenant's part, in it the engine's."""
        return f"{tenant_path(tenant)}/{self.model}/{key.hex()}"

    @property
    def model(self) -> str:
        """The part of a store that is the engine's: a hash of its model and settings."""
        return self._identity[:8].hex()
