"""A store that is slow or down costs a bounded time and nothing else."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from shared.engine.engine import Engine
from shared.engine.llama.model import Model
from shared.engine.prefixes.store import BlockStoreError, CircuitBreaker, IsCancelled
from tests.engine.conftest import EngineFactory, Result, run
from tests.engine.prefixes.prompts import answer, asked, engine_of, prompt

SHORT = 0.05
"""Seconds that a store has in these tests."""


class Store:
    """Keeps files in memory, and answers as it is told to."""

    n_connections = 4
    part_size = 2**62

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.answers = threading.Event()
        self.answers.set()
        self.error: str | None = None
        self.n_calls = 0

    def _answer(self) -> None:
        self.n_calls += 1
        self.answers.wait()
        if self.error is not None:
            raise BlockStoreError(self.error)

    def read(self, path: str, start: int, into: memoryview, until: float) -> int:
        self._answer()
        data = self.files.get(path, b"")[start : start + len(into)]
        into[: len(data)] = data
        return len(data)

    def write(self, path: str, parts: Sequence[memoryview], is_cancelled: IsCancelled) -> bool:
        self.n_calls += 1
        while not self.answers.wait(0.01):
            if is_cancelled():
                return False
        if self.error is not None:
            raise BlockStoreError(self.error)
        self.files[path] = b"".join(parts)
        return True

    def discard(self, path: str) -> None:
        del self.files[path]

    def warm_up(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    yield store
    store.answers.set()


def test_a_store_that_does_not_answer_is_waited_for_a_while(
    make_engine: EngineFactory, model: Model, store: Store
) -> None:
    engine = engine_of(make_engine, store=store, timeout=SHORT)
    store.answers.clear()

    assert answer(engine, prompt(model, 600)).tokens

    assert engine.stats().prefix_timeouts == 1


def test_others_go_on_meanwhile(make_engine: EngineFactory, model: Model, store: Store) -> None:
    engine = engine_of(make_engine, store=store, timeout=30)
    store.answers.clear()

    async def both() -> tuple[Result, Result]:
        waiting = asyncio.create_task(_collect(asked(prompt(model, 600))))
        while not store.n_calls:
            await asyncio.sleep(0)
        short = await _collect(asked(prompt(model, 50, "something short")))
        assert not waiting.done()
        store.answers.set()
        return short, await waiting

    async def _collect(request: object) -> Result:
        result = Result()
        async for outputs in engine.submit(request):  # type: ignore[arg-type]
            for output in outputs:
                result.add(output)
        return result

    assert all(result.tokens for result in asyncio.run(both()))


def test_a_store_that_is_down_is_left_alone(
    make_engine: EngineFactory, model: Model, store: Store
) -> None:
    engine = engine_of(make_engine, store=store)
    store.error = "it is down"

    for about in ("one", "two", "three", "four", "five"):
        assert answer(engine, prompt(model, 300, about)).tokens

    assert store.n_calls == 3
    assert engine.stats().prefix_store_failures == 3


def test_a_deadline_is_not_spent_on_waiting(
    make_engine: EngineFactory, model: Model, store: Store
) -> None:
    engine = engine_of(make_engine, store=store, timeout=60)
    store.answers.clear()

    late = run(engine, asked(prompt(model, 300), deadline=time.monotonic() + 0.2))[0]

    assert late.finish_reason == "length"
    assert late.cost.restored_tokens == 0


async def written(engine: Engine, tokens: list[int]) -> int:
    """Tokens that were written when the answer could end."""
    generation = engine.submit(asked(tokens, stores_prefix=True))
    async for _ in generation:
        pass
    return await engine.end_writes(generation)


def test_nothing_is_written_after_the_end(
    make_engine: EngineFactory, model: Model, store: Store
) -> None:
    engine = engine_of(make_engine, store=store, timeout=SHORT)
    store.answers.clear()

    assert asyncio.run(written(engine, prompt(model, 900))) == 0

    store.answers.set()
    assert store.files == {}
    assert asyncio.run(written(engine, prompt(model, 900))) == 768


def test_a_failed_write_is_tried_again_with_the_next_request(
    make_engine: EngineFactory, model: Model, store: Store
) -> None:
    engine = engine_of(make_engine, store=store)
    store.error = "it is down"
    assert asyncio.run(written(engine, prompt(model, 300))) == 0
    store.error = None

    assert asyncio.run(written(engine, prompt(model, 300))) == 256
    n_calls = store.n_calls
    assert asyncio.run(written(engine, prompt(model, 300))) == 0
    assert store.n_calls == n_calls


def test_what_nobody_reads_any_more_is_not_written(
    make_engine: EngineFactory, model: Model, store: Store
) -> None:
    engine = engine_of(make_engine, store=store, timeout=SHORT)

    async def leave() -> None:
        generation = engine.submit(asked(prompt(model, 300), stores_prefix=True))
        generation.cancel()
        await engine.end_writes(generation)

    asyncio.run(leave())
    answer(engine, prompt(model, 20))

    assert store.files == {}


def test_a_state_that_cannot_be_copied_costs_no_answer(
    make_engine: EngineFactory, model: Model, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(make_engine, store=store, memory=2**26)

    def fail(seq_id: int) -> None:
        raise MemoryError(seq_id)

    monkeypatch.setattr(engine._context, "read_state", fail)
    for about in ("one", "two"):
        assert asyncio.run(written(engine, prompt(model, 600, about))) == 0

    assert answer(engine, prompt(model, 600, "one")).tokens
    assert engine.is_alive


def test_the_breaker_opens_and_tries_again() -> None:
    now = 0.0
    breaker = CircuitBreaker(lambda: now)
    for _ in range(2):
        breaker.note(is_failure=True)
    breaker.note(is_failure=False)
    for _ in range(3):
        assert breaker.allows()
        breaker.note(is_failure=True)

    assert not breaker.allows()
    now = 29.0
    assert not breaker.allows()
    now = 31.0
    assert breaker.allows()
    assert not breaker.allows()  # one tries, the others wait for what becomes of it
    breaker.note(is_failure=False)
    assert breaker.allows()
