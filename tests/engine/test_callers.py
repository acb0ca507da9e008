"""What one caller does, or leaves undone, is nothing to the others."""

from __future__ import annotations

import asyncio

import pytest

from shared.engine.engine import Engine
from shared.engine.llama.model import Model
from shared.engine.mailbox.inbox import Inbox
from shared.engine.scheduler import Scheduler
from shared.engine.types import EngineStoppedError
from tests.engine.conftest import LONG, EngineFactory, chat, collect, one, request, run


@pytest.mark.slow
def test_a_closed_event_loop_ends_its_own_sequences_only(
    model: Model, make_engine: EngineFactory
) -> None:
    """Also those whose prompt is in the very step that finds the loop closed."""
    engine = make_engine(n_parallel=4, n_batch=32)
    story = request(chat(model, "Tell me a story"), 200, sampling=LONG)
    long_prompt = request(model.tokenize("a b c " * 200)[:500], 4)

    async def leave() -> None:
        first = engine.submit(story, long_prompt, story)
        await first.receive()
        engine.submit(long_prompt)

    async def stay() -> str | None:
        staying = asyncio.create_task(collect(engine, story))
        await asyncio.to_thread(asyncio.run, leave())
        return (await staying)[0].finish_reason

    assert asyncio.run(stay()) == "length"
    assert "Paris" in one(engine, request(chat(model, "What is the capital of France?"))).text
    assert engine.stats().sequences_running == 0


def test_requests_that_nobody_will_read_are_refused(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread may end between the look at it and the hand-over."""
    engine = make_engine()
    engine.stop()
    monkeypatch.setattr(Engine, "is_alive", property(lambda _: True))

    with pytest.raises(EngineStoppedError):
        one(engine, request(chat(model, "Hi")))


def test_requests_handed_over_while_the_thread_ends_get_an_error(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    hi = request(chat(model, "Hi"), n=2)
    close = Inbox.close

    async def scenario() -> list[str | None]:
        loop = asyncio.get_running_loop()
        late: asyncio.Future[list[str | None]] = loop.create_future()

        async def submit_late() -> None:
            results = await collect(engine, hi)
            late.set_result([result.finish_reason for result in results])

        def close_late(inbox: Inbox) -> object:
            asyncio.run_coroutine_threadsafe(submit_late(), loop)
            while not inbox.has_letters():  # the event loop gets to it
                pass
            return close(inbox)

        def fail(_scheduler: Scheduler) -> None:
            raise AssertionError("injected")

        monkeypatch.setattr(Engine, "is_alive", property(lambda _: True))
        monkeypatch.setattr(Inbox, "close", close_late)
        monkeypatch.setattr(Scheduler, "schedule", fail)
        (first, _) = await collect(engine, hi)
        assert first.finish_reason == "error"
        return await late

    assert asyncio.run(scenario()) == ["error", "error"]


def test_tenants_share_no_prefixes(model: Model, make_engine: EngineFactory) -> None:
    engine = make_engine()
    prompt = chat(model, "the secret is 123456 " * 12)

    def cached(tenant: str, salt: str = "") -> int:
        asked = request(prompt, 2, cache_salt=salt)
        return asyncio.run(collect(engine, asked, tenant=tenant))[0].cost.cached_tokens

    assert cached("alice") == 0
    assert cached("bob") == 0
    assert cached("alice", "customer 1") == 0
    assert cached("alice") == cached("bob") == len(prompt) - 1
    assert cached("alice", "customer 1") == len(prompt) - 1
    assert cached("alice customer 1") == 0


def test_tenants_do_not_wait_for_each_others_prefixes(
    model: Model, make_engine: EngineFactory
) -> None:
    """Nor does the time until the first token say that somebody evaluates the same."""
    engine = make_engine(n_batch=32, n_parallel=3)
    asked = request(model.tokenize("Once upon a time there was a fox. " * 60)[:400], 2)

    async def scenario() -> list[int]:
        results = await asyncio.gather(*(collect(engine, asked, tenant=t) for t in "aab"))
        return [result.cost.cached_tokens for (result,) in results]

    assert sorted(asyncio.run(scenario())) == [0, 0, 399]


@pytest.mark.parametrize("tenant", ["hog", "somebody"])
def test_one_callers_many_choices_leave_places_to_another(
    model: Model, make_engine: EngineFactory, tenant: str
) -> None:
    engine = make_engine(n_parallel=2)
    hog = request(chat(model, "Tell me a story"), 30, sampling=LONG, n=128)

    async def scenario() -> None:
        hogging = engine.submit(hog, tenant="hog")
        await hogging.receive()
        (single,) = await collect(engine, request(chat(model, "Hi"), 4), tenant=tenant)
        assert single.finish_reason is not None
        assert engine.stats().sequences_waiting > 64
        hogging.cancel()

    asyncio.run(scenario())


def test_everybody_is_served_with_one_place(model: Model, make_engine: EngineFactory) -> None:
    engine = make_engine(n_parallel=1, max_queue=100)
    hi = chat(model, "Hi")

    results = run(engine, *(request(hi, 2, n=n) for n in (9, 1, 5, 1)))

    assert all(result.finish_reason for result in results)
