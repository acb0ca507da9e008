"""A prompt as the prefix cache sees it: whose it is, its keys, and what was found of it."""

from __future__ import annotations

from dataclasses import dataclass

from shared.engine.llama.sequence_state import Bytes

Salt = tuple[str, str]
"""A tenant, and the key that its request has its prefixes under."""

COMMON: Salt = ("\0", "")
"""Of what the operator has evaluated for everybody; nobody's name has that character."""


@dataclass(slots=True, weakref_slot=True, eq=False)
class PromptPrefix:
    """What the cache knows of a prompt, and has found for it."""

    keys: list[bytes]
    state: Bytes | None = None
    n_tokens: int = 0
    """Tokens that ``state`` is of."""
    n_from_memory: int = 0
    """Blocks of it that memory had."""
    seconds: float = 0.0
    """Time that the look-up took."""
    n_reserved: int = 0
    """Bytes that ``state`` may have."""
    is_underway: bool = False
    """Whether it was begun, and its end is told."""

    def drop(self) -> None:
        """Let go of the state."""
        self.state, self.n_reserved = None, 0
