"""Regular expression of alternative texts, such as a vocabulary's control tokens."""

from __future__ import annotations

import re
from itertools import takewhile


def any_of(texts: list[str]) -> str:
    """A pattern of the longest of ``texts``, which reads each character once."""
    groups: dict[str, list[str]] = {}
    for text in filter(None, texts):
        groups.setdefault(text[0], []).append(text)
    alternatives: list[str] = []
    for group in groups.values():
        pairs = zip(min(group), max(group), strict=False)
        prefix = "".join(first for first, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        rest = any_of([text.removeprefix(prefix) for text in group]) if len(group) > 1 else ""
        alternatives.append(re.escape(prefix) + rest)
    return f"(?:{'|'.join(alternatives)}){'?' if '' in texts else ''}"
