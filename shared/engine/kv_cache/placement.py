"""Placement of sequences: which sequence id a new one gets.

With shares, llama.cpp decodes together only what has consecutive sequence ids; every gap costs a
pass over all weights. So sequences run side by side: a new one fills a gap or extends the range,
and a prefix that lies elsewhere is copied there, unless the sequences that come next fill the gaps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain

from shared.engine.kv_cache.cells import KVEntry
from shared.engine.prefixes.prompt import COMMON


def place(
    source: KVEntry | None,
    *,
    is_continued: bool,
    vacant: Iterable[int],
    finished: Collection[int],
    allowed: Collection[int],
) -> int:
    """The sequence id for a new sequence that begins as ``source`` does.

    That of ``source`` if it is finished and ``is_continued``, or there is no other; else the first
    of those that nobody has (``vacant``), else the first of those that are ``finished``.
    """
    candidates = (each for each in chain(vacant, finished) if each in allowed)
    if source is not None and source.salt == COMMON:
        # It stays as it is, for everybody, as long as there is another place.
        return next((each for each in candidates if each != source.seq_id), source.seq_id)
    if (
        source is not None
        and source.seq_id in finished
        and source.seq_id in allowed
        and is_continued
    ):
        return source.seq_id
    return next(candidates)


def beside(running: Sequence[int], n_next: int = 0) -> Collection[int]:
    """Sequence ids that leave no gap between ``running`` ones, which are in order.

    Those between them, and as far from them as ``n_next`` more sequences will fill all gaps.
    """
    first, last = running[0], running[-1]
    gaps = set(range(first, last)) - set(running)
    n_left = n_next - len(gaps)
    if n_left < 0:
        return gaps
    return gaps.union(range(first - 1 - n_left, first), range(last + 1, last + 2 + n_left))
