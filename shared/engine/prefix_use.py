"""Use of the prefix cache by the engine: what is looked up, kept and stored, and when."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from shared.engine.kv_cache.cache import KVCache
from shared.engine.kv_cache.cells import KVEntry
from shared.engine.llama.context import Context
from shared.engine.llama.model import Model
from shared.engine.llama.version import LLAMA_CPP_VERSION
from shared.engine.mailbox.generation import Generation
from shared.engine.prefixes.cache import PrefixCache, PrefixOptions
from shared.engine.prefixes.prompt import COMMON
from shared.engine.sequence import Sequence

if TYPE_CHECKING:
    from shared.engine.batching.throughput import ThroughputEstimate

_log = logging.getLogger("pilotlight.prefixes")


def prefix_cache(model: Model, context: Context, options: PrefixOptions) -> PrefixCache | None:
    """The prefix cache of an engine; None, with a line in the log, where its states can't be cut.

    States hold for one model, version of llama.cpp and way of keeping keys and values, which their
    layout tells. Of the context's size they depend where rotary embeddings have factors of their
    own for long contexts.
    """
    if context.state_layout is None:
        _log.warning(
            "%s has no state that can be cut into prefixes (it is recurrent, or attention has a "
            "window): prompts are shared in the KV cache only, and --prefix-memory, "
            "--prefix-store and --warm-prefix have no effect",
            model.description,
        )
        return None
    is_long = context.n_ctx_seq > model.n_ctx_original
    identity = [LLAMA_CPP_VERSION.encode(), b"long" if is_long else b"usual"]
    return PrefixCache(context, context.state_layout, identity, options)


class PrefixUse:
    """What the engine's thread does with its prefix cache."""

    def __init__(
        self,
        cache: PrefixCache,
        kv: KVCache,
        throughput: ThroughputEstimate,
        on_found: Callable[[Generation], None],
    ) -> None:
        """``on_found`` is called from other threads, whenever a look-up has ended."""
        self.cache = cache
        self._kv = kv
        self._throughput = throughput
        self._on_found = on_found
        self._n_underway: Counter[Generation] = Counter()
        self._admitted: list[Sequence] = []
        """Whose prompts are not evaluated yet, and may be stored then."""
        kv.on_evict = self._keep

    def look_up(self, generation: Generation, sequences: Iterable[Sequence]) -> bool:
        """Look for the prompts' beginnings; whether their sequences have to wait for that."""
        for sequence in sequences:
            if sequence.choice or not sequence.shares_prefix:
                continue
            sequence.prefix = self.cache.look_up(
                sequence.prompt,
                sequence.cache_salt,
                self._kv.n_live(sequence.prompt, sequence.cache_salt),
                sequence.request.deadline,
                lambda: self._on_found(generation),
            )
            if sequence.prefix is not None and sequence.prefix.is_underway:
                self._n_underway[generation] += 1
        return generation in self._n_underway

    def end_one(self, generation: Generation) -> bool:
        """Note that a look-up has ended; whether it was the request's last."""
        self._n_underway[generation] -= 1
        if self._n_underway[generation]:
            return False
        del self._n_underway[generation]
        return True

    def admit(self, admitted: Iterable[Sequence]) -> None:
        """Take sequences that have their KV entries now; count what they need not evaluate."""
        for sequence in admitted:
            if sequence.prefix is not None and sequence.n_restored and not sequence.sampled:
                seconds = self._throughput.seconds_per_token
                self.cache.count(sequence.prefix, sequence.n_restored, seconds)
            request = sequence.request
            if not sequence.choice and request.cache_prompt and request.stores_prefix is not False:
                self._admitted.append(sequence)

    def store(self, *, ended: bool = False) -> None:
        """Begin to store the beginnings of prompts that are evaluated, or of those that ended."""
        for sequence in self._admitted.copy() if self._admitted else ():
            has_ended = sequence.finish_reason is not None
            if sequence.entry is None or has_ended or (sequence.sampled and not ended):
                self._admitted.remove(sequence)
                if sequence.entry is not None:
                    try:
                        self._store(sequence, sequence.entry)
                    except Exception:  # such as no memory for a copy: the answer goes on
                        _log.exception("a prefix can't be stored")

    def _store(self, sequence: Sequence, entry: KVEntry) -> None:
        if sequence.cache_salt == COMMON and not sequence.n_remaining:
            self.cache.keep_for_all(entry.seq_id, sequence.prompt)
        self.cache.store(
            entry.seq_id,
            sequence.prompt,
            sequence.cache_salt,
            sequence.prefix,
            is_asked_for=bool(sequence.request.stores_prefix),
            writes=sequence.generation.writes,
        )

    def _keep(self, entry: KVEntry) -> None:
        salt = entry.salt
        if not isinstance(salt, tuple):
            return
        try:
            self.cache.keep(entry.seq_id, self._kv.tokens(entry, 0, entry.n_evaluated), salt)
        except Exception:  # such as no memory for a copy: what evicts it goes on
            _log.exception("a prefix can't be kept")
