"""What is known of a request when its answer ends."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from functions.http.app import App, create_app
from functions.http.asgi_extensions import SENT_EXTENSION
from shared.config.settings import Settings
from shared.engine.types import SequenceUsage
from shared.runtime.loader import ModelLoader
from shared.runtime.request_context import GenerationRecord, RequestContext, begin
from shared.runtime.state import ServerState
from tests.server import CAPITAL


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    settings = Settings(store="none", parallel=4, threads=1)
    loader = ModelLoader(settings)
    loader.start()
    loader.wait()
    yield create_app(settings, loader)
    loader.close()


class Exchange:
    """One request to an app: what was sent, and the record that an observer was given meanwhile."""

    def __init__(self, app: App, path: str, body: Any, *extensions: str) -> None:
        self.sent: list[dict[str, Any]] = []
        self.records: list[RequestContext] = []
        self.n_sent_before = 0
        self._body = json.dumps(body).encode()
        state: ServerState = app.state.server
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"x-request-id", b"mine")],
            "extensions": {name: {} for name in extensions},
        }
        state.metrics.observers.append(self._observe)
        try:
            asyncio.run(app(scope, self._receive, self._send))
        finally:
            state.metrics.observers.remove(self._observe)

    def _observe(self, record: RequestContext) -> None:
        self.records.append(record)
        self.n_sent_before = len(self.sent)

    async def _receive(self) -> dict[str, Any]:
        if self._body:
            body, self._body = self._body, b""
            return {"type": "http.request", "body": body}
        await asyncio.Event().wait()  # nobody hangs up
        raise AssertionError

    async def _send(self, message: Any) -> None:
        self.sent.append(message)


def usage(queue: float, prefill: float, decode: float, completion: int = 5) -> SequenceUsage:
    return SequenceUsage(
        prompt_tokens=10,
        cached_tokens=4,
        completion_tokens=completion,
        queue_seconds=queue,
        prefill_seconds=prefill,
        decode_seconds=decode,
    )


@pytest.mark.parametrize("stream", [False, True])
def test_an_observer_is_told_before_the_last_bytes_are_sent(app: App, stream: bool) -> None:
    exchange = Exchange(app, "/v1/chat/completions", {"messages": CAPITAL, "stream": stream})

    assert len(exchange.records) == 1
    assert exchange.n_sent_before == len(exchange.sent) - 1
    record = exchange.records[0]
    assert (record.request_id, record.method, record.path) == (
        "mine",
        "POST",
        "/v1/chat/completions",
    )
    assert record.status == 200
    assert record.model == "pilotlight-builtin"
    assert record.error is None


@pytest.mark.parametrize("stream", [False, True])
def test_where_the_server_goes_on_it_is_told_once_they_are(app: App, stream: bool) -> None:
    body = {"messages": CAPITAL, "stream": stream}
    exchange = Exchange(app, "/v1/chat/completions", body, SENT_EXTENSION)

    assert len(exchange.records) == 1
    assert exchange.n_sent_before == len(exchange.sent)
    assert exchange.records[0].generation is not None


def test_the_tokens_are_those_of_the_usage(app: App) -> None:
    body = {"prompt": ["Once upon", "A cat"], "n": 2, "max_tokens": 3, "ignore_eos": True}

    exchange = Exchange(app, "/v1/completions", body)

    billed = json.loads(exchange.sent[-1]["body"])["usage"]
    generation = exchange.records[0].generation
    assert generation is not None
    assert generation.prompt_tokens == billed["prompt_tokens"]
    assert generation.cached_tokens == billed["prompt_tokens_details"]["cached_tokens"]
    assert generation.completion_tokens == billed["completion_tokens"] == 12


def test_a_refused_request_has_a_record_without_tokens(app: App) -> None:
    exchange = Exchange(app, "/v1/completions", {"prompt": ""})

    record = exchange.records[0]
    assert record.status == 400
    assert record.generation is None
    assert not record.is_server_error


def test_moments_are_those_of_the_first_choice_to_begin_and_the_last_to_end() -> None:
    usages = [usage(0.5, 1.0, 2.0), usage(0.25, 1.0, 4.0), usage(1.0, 1.0, 1.0)]

    record = GenerationRecord.of(100.0, usages, n=1)

    assert record is not None
    assert record.queue_seconds == 0.25
    assert record.first_token_seconds == 1.25
    assert record.ended == 105.25
    assert record.tokens_per_second == 15 / 4


def test_choices_of_one_prompt_count_it_once() -> None:
    record = GenerationRecord.of(0.0, [usage(0, 1, 1), usage(0, 1, 1)], n=2)

    assert record is not None
    assert (record.prompt_tokens, record.cached_tokens, record.completion_tokens) == (10, 4, 10)


def test_nothing_sampled_has_no_rate() -> None:
    record = GenerationRecord.of(0.0, [usage(0, 1, 0, completion=0)], n=1)

    assert record is not None
    assert record.tokens_per_second is None


def test_its_end_waits_for_threads_that_nobody_waits_for() -> None:
    may_end, has_begun = threading.Event(), threading.Event()
    ended: list[str] = []

    def work() -> None:
        has_begun.set()
        may_end.wait(60)
        ended.append("thread")

    async def cancelled(context: RequestContext) -> None:
        task = asyncio.ensure_future(context.on_thread(work))
        while not has_begun.is_set():
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    context = begin("req_1", "POST")
    released = threading.Event()
    context.at_end += [lambda: ended.append("request"), released.set]
    asyncio.run(cancelled(context))
    context.end()
    assert not ended
    may_end.set()
    assert released.wait(60)
    assert ended == ["thread", "request"]
