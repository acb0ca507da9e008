"""Ids of an item's recent writes, kept in it: who lost the answer to one finds it among them.

The condition of an attempt that is made again fails where the first one was made after all. Others
may have written since, so the last writer alone does not tell: whoever took that for a collision
made its change twice.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

_MOST = 16
_ID_BYTES = 4
_ID_LENGTH = 6
"""Characters. DynamoDB charges by the kilobyte, and a project's counters are one that is full soon:
all ids together have as many bytes as a request in flight."""


@dataclass(frozen=True, slots=True)
class RecentWrites:
    """Ids of an item's last writes in a row, the newest first; maybe none."""

    ids: Sequence[str] = ()

    @classmethod
    def of(cls, text: str) -> RecentWrites:
        """From what `text` gave."""
        return cls([text[i : i + _ID_LENGTH] for i in range(0, len(text), _ID_LENGTH)])

    @property
    def text(self) -> str:
        """As it is kept."""
        return "".join(self.ids)

    def followed_by_new(self) -> RecentWrites:
        """These, without the oldest where they are many, and one more, whose id is new."""
        return RecentWrites([secrets.token_urlsafe(_ID_BYTES), *self.ids[: _MOST - 1]])

    def has_made(self, write_id: str, n_since: int) -> bool | None:
        """Whether a write was made that ``n_since`` others would have followed.

        None where that was too many writes ago to be known.
        """
        if not 0 <= n_since < len(self.ids):
            return None
        return self.ids[n_since] == write_id
