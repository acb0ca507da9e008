"""Every way out of a completion, and that no generation outlives it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from functions.http.app import App, create_app
from shared.completion import completion
from shared.completion.dialects import chat, llama_cpp, text
from shared.config.settings import Settings
from shared.engine.grammar.compiler import ConstraintCompiler
from shared.engine.sampling import logit_bias
from shared.engine.sampling.logit_bias import LogitBias
from shared.engine.types import GenerationRequest, Output, SamplingParams
from shared.protocol.choices import Choice
from shared.protocol.errors import server_error
from shared.protocol.llama_cpp.format import LlamaCppStream
from shared.protocol.openai.chat_format import ChatStream
from shared.protocol.openai.completions_format import TextStream
from shared.runtime.loader import ModelLoader
from shared.runtime.request_context import RequestContext
from shared.runtime.state import ServerState
from shared.storage.sqlite.store import SQLiteStore
from shared.storage.types import DEFAULT_TENANT

ENDLESS: dict[str, Any] = {"ignore_eos": True, "max_tokens": 3000, "n": 3}
BODIES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Tell me"}], **ENDLESS},
    "/v1/completions": {"prompt": ["Once", "Twice"], **ENDLESS},
    "/completion": {"prompt": "Once", **ENDLESS},
}
STORING = ["/v1/chat/completions", "/v1/completions"]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    settings = Settings(threads=1, parallel=8, max_queue=16, data_dir=tmp_path)
    loader = ModelLoader(settings)
    loader.start()
    loader.wait()
    yield create_app(settings, loader)
    loader.close()


class Exchange:
    """One request whose client hangs up, or not, after some of the response's messages."""

    def __init__(self, app: App, path: str, hang_up_after: int | None = None) -> None:
        self.app = app
        self.path = path
        self.sent: list[dict[str, Any]] = []
        self.records: list[RequestContext] = []
        self._hang_up_after = hang_up_after
        self._is_gone = asyncio.Event()
        if hang_up_after == 0:
            self._is_gone.set()

    @property
    def state(self) -> ServerState:
        state: ServerState = self.app.state.server
        return state

    async def run(self, **fields: Any) -> None:
        self._body = json.dumps({**BODIES[self.path], **fields}).encode()
        scope = {
            "type": "http",
            "method": "POST",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1")],
        }
        self.state.metrics.observers.append(self.records.append)
        try:
            await self.app(scope, self._receive, self._send)
        finally:
            self.state.metrics.observers.remove(self.records.append)

    async def idle(self) -> None:
        """Return once the engine has nothing to do; a test that hangs here has found a leak."""
        assert self.state.loader.served is not None
        engine = self.state.loader.served.engine
        while engine.stats().sequences_running or engine.stats().sequences_waiting:
            await asyncio.sleep(0.001)

    async def _receive(self) -> dict[str, Any]:
        if self._body:
            body, self._body = self._body, b""
            return {"type": "http.request", "body": body, "more_body": False}
        await self._is_gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(dict(message))
        if len(self.sent) == self._hang_up_after:
            self._is_gone.set()


@pytest.mark.anyio
@pytest.mark.parametrize("path", BODIES)
class TestHangUps:
    @pytest.mark.sweep(1)
    @pytest.mark.parametrize("store", [False, True])
    async def test_before_a_whole_answer(self, app: App, path: str, store: bool) -> None:
        exchange = Exchange(app, path, hang_up_after=0)
        await exchange.run(**({"store": True} if store and path in STORING else {}))
        await exchange.idle()
        assert [record.status for record in exchange.records] == [499]

    @pytest.mark.sweep(1)
    @pytest.mark.parametrize("after", [0, 1, 3])
    async def test_in_a_stream(self, app: App, path: str, after: int) -> None:
        exchange = Exchange(app, path, hang_up_after=after)
        await exchange.run(stream=True)
        await exchange.idle()
        assert [record.status for record in exchange.records] == [200]


@pytest.mark.sweep(1)
@pytest.mark.anyio
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "long"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a " * 9000}]}),
        ("/v1/completions", {"prompt": ["a", "a " * 9000]}),
        ("/completion", {"prompt": "a " * 9000}),
    ],
)
async def test_no_form_is_compiled_for_what_is_refused(
    app: App, path: str, long: dict[str, Any], stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    monkeypatch.setattr(ConstraintCompiler, "compile", lambda *source: compiled.append(source[1]))
    for fields, status, code in (
        (long, 400, "context_length_exceeded"),
        ({"n": 128}, 400, "invalid_value"),
        ({}, 429, "queue_full"),
    ):
        exchange = Exchange(app, path)
        served = exchange.state.loader.served
        assert served is not None
        if status == 429:
            endless = SamplingParams(seed=0, ignore_eos=True)
            all_there_is_room_for = [
                GenerationRequest(prompt=[5], max_tokens=3000, sampling=endless, n=12)
            ] * 2
            for one in all_there_is_room_for:
                served.engine.submit(one, tenant=DEFAULT_TENANT)
        await exchange.run(regex="a+", stream=stream, **{"n": 1, **fields})
        assert [message["status"] for message in exchange.sent[:1]] == [status]
        assert f'"code":"{code}"'.encode() in exchange.sent[1]["body"]
    assert not compiled


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [False, True])
async def test_no_answer_is_read_on_the_event_loop_to_be_stored(
    app: App, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One with log probabilities may have megabytes."""
    threads: list[threading.Thread] = []

    class Json:
        @staticmethod
        def loads(body: bytes) -> Any:
            threads.append(threading.current_thread())
            return orjson.loads(body)

    monkeypatch.setattr("shared.completion.recorder.orjson", Json)
    exchange = Exchange(app, "/v1/completions")
    await exchange.run(store=True, stream=stream, max_tokens=2)
    assert exchange.sent[-1].get("more_body", False) is False
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/v1/completions", "/completion"])
async def test_choices_and_prompts_share_the_arrays_of_a_logit_bias(
    app: App, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that each of them made held up the engine for a tenth of a second."""
    threads: list[threading.Thread] = []

    class Observed(LogitBias):
        def __init__(self, by_token: Mapping[int, float]) -> None:
            super().__init__(by_token)
            threads.append(threading.current_thread())

    monkeypatch.setattr(logit_bias, "LogitBias", Observed)
    exchange = Exchange(app, path)
    await exchange.run(prompt=["Once", "Twice"], n=3, max_tokens=2, logit_bias={"5": -100, "7": 1})
    assert [record.status for record in exchange.records] == [200]
    assert threads == [threading.current_thread()]


class Broken(Exception):
    """What nobody reckons with."""


def fail(*_: Any, **__: Any) -> Any:
    """Something of ours that is broken."""
    raise Broken


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", BODIES)
class TestFailures:
    async def answer(self, app: App, path: str, **fields: Any) -> tuple[int, bytes]:
        """Status and body, once the engine is idle again."""
        exchange = Exchange(app, path)
        await exchange.run(**fields)
        await exchange.idle()
        body = b"".join(message.get("body", b"") for message in exchange.sent)
        return exchange.sent[0]["status"], body

    @pytest.mark.sweep(1)
    async def test_one_failing_choice_ends_the_others(
        self, app: App, path: str, stream: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def add(self: Choice, output: Output) -> None:
            if output.index == 1:
                raise server_error()

        monkeypatch.setattr(Choice, "add", add)
        monkeypatch.setattr("shared.protocol.openai.message.MessageChoice.add", add)
        # A stream's choices are added up to be stored; llama.cpp's endpoint stores nothing.
        store = {"store": True} if path in STORING else {}
        is_streamed = stream and path in STORING
        status, body = await self.answer(app, path, stream=is_streamed, **store)
        assert status == (200 if is_streamed else 500)
        assert b'"code":"internal_error"' in body

    @pytest.mark.sweep(1)
    async def test_a_formatter_that_fails(
        self, app: App, path: str, stream: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module, names in (
            (chat, ("chat_body",)),
            (text, ("text_body",)),
            (llama_cpp, ("llama_cpp_body",)),
        ):
            for name in names:
                monkeypatch.setattr(module, name, fail)
        for formatter in (
            ChatStream,
            TextStream,
            LlamaCppStream,
        ):
            monkeypatch.setattr(formatter, "format", fail)
        limit = {} if stream else {"max_tokens": 2}
        status, body = await self.answer(app, path, stream=stream, **limit)
        assert status == (200 if stream else 500)
        assert b'"code":"internal_error"' in body

    @pytest.mark.sweep(1)
    async def test_what_stands_between_submitting_and_answering(
        self, app: App, path: str, stream: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(completion, "DisconnectWatch", fail)
        status, body = await self.answer(app, path, stream=stream)
        assert status == 500
        assert b'"code":"internal_error"' in body


@pytest.mark.sweep(1)
@pytest.mark.anyio
@pytest.mark.parametrize("error", [Broken, OSError])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", STORING)
async def test_a_store_that_is_broken_ends_nothing_but_the_request(
    app: App, path: str, stream: bool, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(*_: Any) -> None:
        raise error

    monkeypatch.setattr(SQLiteStore, "put", put)
    exchange = Exchange(app, path)
    await exchange.run(store=True, stream=stream, max_tokens=2)
    await exchange.idle()
    assert exchange.sent[0]["status"] == (200 if stream else 500)
    assert b'"code":"internal_error"' in b"".join(m.get("body", b"") for m in exchange.sent)


@pytest.mark.anyio
async def test_stored_completions_say_what_was_used(app: App) -> None:
    exchange = Exchange(app, "/v1/chat/completions")
    await exchange.run(store=True, n=1, max_tokens=2, seed=None)
    answered = json.loads(exchange.sent[-1]["body"])
    headers: Sequence[tuple[bytes, bytes]] = exchange.sent[0]["headers"]
    found = await exchange.state.stores.in_store(
        lambda store: store.get("default", "chat", answered["id"])
    )
    assert found is not None
    assert found.request_id == dict(headers)[b"x-request-id"].decode()
    seed = found.used["seed"]
    assert isinstance(seed, int)
    assert found.used == {
        "seed": seed,
        "temperature": 1.0,
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }


@pytest.mark.sweep(1)
@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fields", "param"), [({"n": 17}, "n"), ({"best_of": 17}, "best_of"), ({}, "prompt")]
)
async def test_too_many_choices_are_named_by_the_field_that_asks_for_them(
    tmp_path: Path, fields: dict[str, Any], param: str
) -> None:
    settings = Settings(threads=1, parallel=1, max_queue=16, data_dir=tmp_path)
    loader = ModelLoader(settings)
    loader.start()
    loader.wait()
    exchange = Exchange(create_app(settings, loader), "/v1/completions")
    prompt = ["Once"] * (1 if fields else 18)
    await exchange.run(**{"prompt": prompt, "n": 1, "max_tokens": 1, "ignore_eos": None, **fields})
    loader.close()
    assert exchange.sent[0]["status"] == 400
    assert json.loads(exchange.sent[1]["body"])["error"]["param"] == param
