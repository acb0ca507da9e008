"""The streaming handler: its very start script, called as the Lambda Web Adapter does."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from functions.aws_lambda.snapshot_hooks import AFTER_RESTORE, BEFORE_SNAPSHOT, SnapshotHooks
from shared.config.settings import Settings
from shared.models.sources import BUILTIN_PATH
from shared.runtime.state import ServerState
from tests.api.openai_types import chat_chunks, chat_completion
from tests.aws_lambda.events import KEY, STAGE, rest_api_event
from tests.aws_lambda.function import MARGIN
from tests.aws_lambda.streaming import StreamingServer, context_headers
from tests.models.s3_server import BUCKET, S3Server, environment
from tests.server import CAPITAL, user

StartServer = Callable[..., StreamingServer]
HOOKS = [BEFORE_SNAPSHOT, AFTER_RESTORE]
STORY: dict[str, Any] = {"messages": user("Tell me a story"), "ignore_eos": True, "stream": True}


@pytest.fixture
def start(processes: None, tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers that end with the test."""
    with ExitStack() as stack:

        def start(environ: dict[str, str] | None = None) -> StreamingServer:
            server = StreamingServer(tmp_path / "server.log", environ)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture(scope="module")
def server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamingServer]:
    """A healthy server with the built-in model."""
    log = tmp_path_factory.mktemp("streaming") / "server.log"
    environ = {"PILOTLIGHT_DEADLINE_MARGIN": f"{MARGIN}"}
    server = StreamingServer(log, environ, new_interpreter=True)
    server.await_health(200)
    yield server
    server.stop()


@pytest.fixture
def s3() -> Iterator[S3Server]:
    """A bucket with the built-in model."""
    server = S3Server()
    server.put("llms/small.gguf", BUILTIN_PATH.read_bytes())
    with server.serving():
        yield server


class TestAnswers:
    """Requests that the adapter passes on."""

    def test_a_completion(self, server: StreamingServer) -> None:
        response = server.http.request(**server.pass_on({"messages": CAPITAL, "temperature": 0}))
        assert "Paris" in (chat_completion(response.text).choices[0].message.content or "")

    def test_a_rest_api_is_answered_at_the_path_without_its_stage(
        self, server: StreamingServer
    ) -> None:
        """The adapter takes the event's ``path``, and tells of the stage in a header only."""
        arguments = server.pass_on({"messages": CAPITAL, "temperature": 0})
        arguments["headers"] |= context_headers(event_of=rest_api_event)
        response = server.http.request(**arguments)
        assert chat_completion(response.text).choices[0].message.content
        assert f'"/{STAGE}/v1/chat/completions"' in arguments["headers"]["x-amzn-request-context"]

    def test_events_come_while_the_rest_is_generated(self, server: StreamingServer) -> None:
        endless = {**STORY, "max_tokens": 2000, "n": 2}
        with server.http.stream(**server.pass_on(endless)) as response:
            parts = response.iter_text()
            first = ""
            while first.count("data: ") < 4:  # the roles come before anything is generated
                first += next(parts)
            running = server.http.get("/metrics", headers={"authorization": f"Bearer {KEY}"}).text
            text = "".join([first, *parts])
        assert "pilotlight_sequences_running 2.0" in running
        assert "[DONE]" not in first
        assert len(chat_chunks(text)) > 100
        assert text.endswith("data: [DONE]\n\n")

    def test_the_deadline_is_that_of_the_adapters_context(self, server: StreamingServer) -> None:
        arguments = server.pass_on({**STORY, "max_tokens": 3000, "n": 4}, timeout=MARGIN + 0.3)
        text = server.http.request(**arguments).text
        assert text.count('"finish_reason":"length"') == 4
        assert text.endswith(": x-deadline: reached\n\ndata: [DONE]\n\n")

    def test_callers_need_a_key(self, server: StreamingServer) -> None:
        arguments = server.pass_on({"messages": CAPITAL})
        arguments["headers"]["authorization"] = "Bearer wrong"
        assert server.http.request(**arguments).status_code == 401


class TestReadiness:
    """The adapter asks for ``/health`` until the answer is 200."""

    def test_it_is_503_until_the_model_is_there(self, start: StartServer, s3: S3Server) -> None:
        may_answer = threading.Event()
        s3.on_get = lambda number: (may_answer.wait(60), None)[1]
        server = start({"PILOTLIGHT_MODEL": f"s3://{BUCKET}/llms/small.gguf"} | environment(s3.url))
        server.await_health(503)
        health = server.http.get("/health").json()
        may_answer.set()
        server.await_health(200)
        assert health["error"]["code"] == "model_loading"

    def test_without_a_model_the_process_ends(self, start: StartServer, s3: S3Server) -> None:
        server = start({"PILOTLIGHT_MODEL": f"s3://{BUCKET}/none.gguf"} | environment(s3.url))
        assert server.wait() == 1
        lines = [line for line in server.log_text().splitlines() if "none.gguf" in line]
        assert len(lines) == 1
        assert "key 'none.gguf' of bucket 'models' from S3: no such key" in lines[0]
        assert "Traceback" not in server.log_text()

    def test_without_a_key_it_refuses_to_start(self, start: StartServer) -> None:
        server = start({"PILOTLIGHT_API_KEY_HASH": ""})
        assert server.wait() == 1
        assert "set PILOTLIGHT_API_KEY_HASH" in server.log_text()


class TestHooks:
    """SnapStart's hooks are for the adapter alone, which is on this machine and bears no context."""

    def test_from_inside_they_run_and_requests_are_answered_after_them(
        self, server: StreamingServer
    ) -> None:
        statuses = [server.call(path).status_code for path in HOOKS]
        response = server.http.request(**server.pass_on({"messages": CAPITAL}))
        assert statuses == [204, 204]
        assert response.status_code == 200

    @pytest.mark.parametrize("path", HOOKS)
    @pytest.mark.parametrize("name", ["x-amzn-request-context", "x-amzn-lambda-context"])
    def test_what_the_adapter_passes_on_is_refused(
        self, server: StreamingServer, path: str, name: str
    ) -> None:
        response = server.http.post(path, headers={name: context_headers()[name]})
        assert response.status_code == 403
        assert response.json()["error"]["code"] == "forbidden"

    @pytest.mark.parametrize("path", HOOKS)
    def test_other_methods_are_refused(self, server: StreamingServer, path: str) -> None:
        response = server.call(path, "GET")
        assert (response.status_code, response.headers["allow"]) == (405, "POST")

    @pytest.mark.parametrize("client", [("203.0.113.7", 1), ("2001:db8::7", 1), None])
    def test_other_machines_are_refused(self, client: tuple[str, int] | None) -> None:
        state = ServerState(Settings(store="none"), None)
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "path": BEFORE_SNAPSHOT, "method": "POST", "headers": []}
        hooks = SnapshotHooks(None, state)  # type: ignore[arg-type]
        asyncio.run(hooks({**scope, "client": client}, None, send))  # type: ignore[arg-type]
        assert sent[0]["status"] == 403
        assert json.loads(sent[1]["body"])["error"]["code"] == "forbidden"


def test_sigterm_ends_a_server_that_still_loads(start: StartServer, s3: S3Server) -> None:
    may_answer = threading.Event()
    s3.on_get = lambda number: (may_answer.wait(60), None)[1]
    server = start({"PILOTLIGHT_MODEL": f"s3://{BUCKET}/llms/small.gguf"} | environment(s3.url))
    server.await_health(503)
    server.terminate()
    assert server.wait() == 0
    may_answer.set()


def test_sigterm_lets_a_running_stream_end(start: StartServer) -> None:
    server = start()
    server.await_health(200)
    with server.http.stream(**server.pass_on({**STORY, "max_tokens": 800})) as response:
        parts = response.iter_text()
        first = next(parts)
        server.terminate()
        text = "".join([first, *parts])
    assert text.endswith("data: [DONE]\n\n")
    assert server.wait() == 0


def test_a_page_of_an_allowed_origin_streams(start: StartServer) -> None:
    origin = "https://app.example.com"
    server = start({"PILOTLIGHT_CORS_ORIGINS": origin})
    server.await_health(200)
    arguments = server.pass_on({"messages": CAPITAL, "stream": True})
    arguments["headers"] |= {"origin": origin}
    response = server.http.request(**arguments)
    assert chat_chunks(response.text)
    assert response.headers["access-control-allow-origin"] == origin
