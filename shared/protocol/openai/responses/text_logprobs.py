"""Log probabilities of a message's text: those of the answer without reasoning, calls and marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

Entry = Mapping[str, Any]


def of_text(
    entries: Sequence[Entry], text: str, *, thoughts: str = "", has_calls: bool = False
) -> list[Entry]:
    """Those of a chat completion's ``entries``, of all its tokens, that are of ``text``.

    All where they don't spell the text, as of an upstream that does not say which bytes they are.
    """
    if not (thoughts or has_calls):
        return list(entries)
    spelled, bounds = _spelled(entries)
    thought, said = thoughts.encode(), text.encode()
    start = spelled.find(said, max(spelled.find(thought), 0) + len(thought))
    if start < 0:
        return list(entries)
    end = start + len(said) if has_calls else len(spelled)
    spans = zip(entries, pairwise(bounds), strict=True)
    return [entry for entry, (begin, stop) in spans if stop > start and begin < end]


def from_text_on(entries: Sequence[Entry], text: str) -> list[Entry]:
    """``entries`` from the first piece of a streamed text on, which they end with."""
    spelled, bounds = _spelled(entries)
    start = spelled.rfind(text.encode())
    if start <= 0:
        return list(entries)
    return [entry for entry, stop in zip(entries, bounds[1:], strict=True) if stop > start]


def _spelled(entries: Sequence[Entry]) -> tuple[bytes, list[int]]:
    """The bytes of all tokens, and where each begins and the last one ends."""
    pieces = [bytes(entry.get("bytes") or ()) for entry in entries]
    return b"".join(pieces), list(accumulate(map(len, pieces), initial=0))
