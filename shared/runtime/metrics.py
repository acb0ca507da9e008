"""``GET /metrics``: Prometheus text. The hot path counts in plain integers; scraping reads them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.runtime.request_context import GenerationRecord, RequestContext, current

if TYPE_CHECKING:
    from shared.engine.config import EngineStats
    from shared.engine.mailbox.generation import Generation
    from shared.engine.types import SequenceUsage

RequestObserver = Callable[[RequestContext], None]
"""Is given each request's record right before the last bytes of the answer are sent."""

_ENGINE_COUNTERS = {
    "prompt_tokens": "Prompt tokens of requests, cached ones included.",
    "cached_tokens": "Prompt tokens whose KV cells were still there.",
    "completion_tokens": "Sampled tokens.",
    "evaluated_tokens": "Tokens that went through the model, recomputed ones included.",
    "draft_tokens": "Tokens that were drafted, and evaluated as such.",
    "accepted_draft_tokens": "Of draft_tokens, those that are in completions.",
    "steps": "Batches evaluated.",
    "preemptions": "Sequences that gave up their KV cells and are recomputed.",
    "context_shifts": "Times that a full context dropped tokens for new ones.",
    "cancelled_sequences": "Sequences whose client went away.",
    "failed_sequences": "Sequences that ended with an engine error.",
    "prefix_memory_tokens": "Of cached_tokens, those that were read from the host's memory.",
    "prefix_store_tokens": "Of cached_tokens, those that were read from the store of prefixes.",
    "prefix_read_bytes": "Read from the store of prefixes.",
    "prefix_written_bytes": "Written to the store of prefixes.",
    "prefix_written_tokens": "Prompt tokens whose states were written there.",
    "prefix_skipped_writes": "Prompts that were not, since too many are waiting to be.",
    "prefix_invalid_blocks": "Files of that store that were not what they should be: ignored.",
    "prefix_store_failures": "Calls of that store that failed.",
    "prefix_timeouts": "Look-ups that it did not answer in time.",
    "prefix_saved_seconds": "Time that evaluating those would have taken, an estimate.",
}
_ENGINE_GAUGES = {
    "sequences_running": "Sequences in the batch.",
    "sequences_waiting": "Sequences that wait for a place in the batch.",
    "requests_queued": "Requests none of whose sequences was in the batch yet.",
    "kv_cells": "Cells in the KV cache, in tokens.",
    "kv_cells_running": "KV cells of sequences in the batch.",
    "kv_cells_cached": "KV cells kept for future prompts with the same beginning.",
    "prefix_memory_bytes": "States of prefixes in the host's memory.",
}


class Metrics:
    """Counters of one server. ``observers`` are told of each request, too."""

    def __init__(
        self,
        n_active: Callable[[], int],
        engine_stats: Callable[[], Sequence[tuple[str, EngineStats]]],
        *,
        has_several_models: bool = False,
    ) -> None:
        """``engine_stats`` gives those of each model that is loaded, with its name.

        ``has_several_models``: they are told apart by a label ``model``.
        """
        self.observers: list[RequestObserver] = []
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "pilotlight_requests",
            "HTTP requests by path and status.",
            ["path", "status"],
            registry=self._registry,
        )
        self._by_status: dict[tuple[str, int], Counter] = {}
        """Those of `_requests`, which to look up there takes longer than to count."""
        self._first_token = Histogram(
            "pilotlight_time_to_first_token_seconds",
            "From submission to the first sampled token.",
            buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60),
            registry=self._registry,
        )
        self._stored = Counter(
            "pilotlight_stored_completions",
            "Completions that were to be stored, by whether they were.",
            ["stored"],
            registry=self._registry,
        )
        self._store_seconds = Histogram(
            "pilotlight_store_seconds",
            "Storing a completion.",
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10),
            registry=self._registry,
        )
        self._accounts_outages = Counter(
            "pilotlight_accounts_outage_requests",
            "Requests for which the store of accounts did not answer, by what became of them.",
            ["outcome"],
            registry=self._registry,
        )
        self._registry.register(
            _EngineCollector(n_active, engine_stats, ["model"] if has_several_models else [])
        )

    def finish(self, record: RequestContext) -> None:
        """Count a request whose record is complete, and tell the observers."""
        key = (record.path, record.status)
        counter = self._by_status.get(key)
        if counter is None:
            counter = self._by_status[key] = self._requests.labels(record.path, str(record.status))
        counter.inc()
        if record.generated is not None:
            self._observe(record, *record.generated)
        if record.accounts_outage is not None:
            self._accounts_outages.labels(record.accounts_outage).inc()
        for observer in self.observers:
            observer(record)

    def count_stored(self, *, is_stored: bool) -> None:
        """Count a completion that was to be stored."""
        self._stored.labels("true" if is_stored else "false").inc()
        if not is_stored and (record := current()):
            record.store_failures += 1

    def n_stored(self) -> tuple[int, int]:
        """Completions that were stored, and those that could not be."""
        name = "pilotlight_stored_completions_total"
        stored, failed = (
            self._registry.get_sample_value(name, {"stored": is_stored}) or 0
            for is_stored in ("true", "false")
        )
        return int(stored), int(failed)

    @contextmanager
    def time_store(self) -> Iterator[None]:
        """Time the writing of a completion."""
        started = time.monotonic()
        try:
            yield
        finally:
            seconds = time.monotonic() - started
            self._store_seconds.observe(seconds)
            if record := current():
                record.store_started, record.store_seconds = started, seconds

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self._registry)

    def _observe(
        self, record: RequestContext, generation: Generation, usages: Sequence[SequenceUsage]
    ) -> None:
        for usage in usages:
            self._first_token.observe(usage.queue_seconds + usage.prefill_seconds)
        record.generation = GenerationRecord.of(
            generation.submitted, usages, generation.requests[0].n
        )
        record.is_deadline_reached = generation.reached_deadline


class _EngineCollector(Collector):
    def __init__(
        self,
        n_active: Callable[[], int],
        engine_stats: Callable[[], Sequence[tuple[str, EngineStats]]],
        labels: Sequence[str],
    ) -> None:
        self._n_active = n_active
        self._engine_stats = engine_stats
        self._labels = labels

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "pilotlight_requests_active", "HTTP requests in progress.", self._n_active()
        )
        engines = self._engine_stats()
        if not engines:
            return
        families: list[tuple[str, CounterMetricFamily | GaugeMetricFamily]] = [
            *(
                (n, CounterMetricFamily(f"pilotlight_{n}", text, labels=self._labels))
                for n, text in _ENGINE_COUNTERS.items()
            ),
            *(
                (n, GaugeMetricFamily(f"pilotlight_{n}", text, labels=self._labels))
                for n, text in _ENGINE_GAUGES.items()
            ),
        ]
        for name, family in families:
            for model, stats in engines:
                family.add_metric([model] if self._labels else [], getattr(stats, name))
            yield family
