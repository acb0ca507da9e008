"""Several own models in a real server process: started, watched over and ended."""

from __future__ import annotations

import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.conftest import StartServer
from tests.forked_program import COMMAND, ForkedProgram, run_command
from tests.ports import free_port
from tests.server import CAPITAL, environment, wait_until
from tests.upstreams.fake_upstream import FakeUpstream, completion, whole

pytestmark = pytest.mark.usefixtures("processes")

TOML = """
models_max = 2

[models.early]
source = "builtin"
load = "start"
ctx_size = 512

[models.late]
source = "builtin"
alias = ["l"]
defaults = { max_tokens = 2 }

[models.l]
temperature = 0
"""


def test_a_file_configures_several_models(start_server: StartServer, tmp_path: Path) -> None:
    (tmp_path / "pilotlight.toml").write_text(TOML, encoding="utf-8")
    server = start_server(directory=tmp_path)
    assert server.model == "early"
    client = server.openai()
    assert [model.id for model in client.models.list()] == ["early", "late"]
    answer = client.chat.completions.create(model="l", messages=CAPITAL)  # type: ignore[arg-type]
    assert answer.model == "late"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 2


def test_a_model_that_the_start_waits_for_and_that_is_missing_ends_it() -> None:
    models = {"gone": {"source": "nowhere.gguf", "load": "start"}}
    done = run_command(
        *("serve", "--port", "0", "--model", "builtin", "--models", json.dumps(models)),
        environ=environment(),
    )
    assert done.returncode == 1
    assert "nowhere.gguf" in done.stderr


def test_a_shutdown_ends_while_requests_wait_for_a_model(start_server: StartServer) -> None:
    server = start_server(
        *("--model", "builtin", "--alias", "first", "--models-max", "1", "--grace-period", "0"),
        *("--models", json.dumps({"second": {"source": "builtin"}})),
    )
    body = {"model": "first", "messages": CAPITAL, "ignore_eos": True, "max_tokens": 4000}
    with (
        ThreadPoolExecutor(1) as threads,
        server.http.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as stream,
    ):
        lines = stream.iter_lines()
        next(lines)
        waiting = threads.submit(lambda: server.chat(model="second", max_tokens=1))
        wait_until(lambda: '"loading"' in server.http.get("/v1/models").text, "one that waits")
        server.process.send_signal(signal.SIGTERM)
        assert waiting.result(300).status_code == 503
        assert "error" in "".join(lines)
    assert server.process.wait(300) == 0


def test_a_server_is_ready_where_another_model_answers_until_its_own_is_loaded(
    tmp_path: Path,
) -> None:
    upstream = FakeUpstream()
    upstream.answer = whole(completion())
    models = {"model": {"while_cold": "big"}, "big": upstream.section()}
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it asks the hub, which never answers
        environ = {
            "HF_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "HF_HOME": str(tmp_path),
            "FAKE_KEY": "sk-1",
            "PILOTLIGHT_MODELS": json.dumps(models),
        }
        port = free_port()
        with open(os.devnull, "wb") as nowhere:
            process = ForkedProgram(
                COMMAND,
                ("serve", "--port", str(port), "--model", "hf:owner/repo:model.gguf"),
                environ=environment(environ),
                stdout=nowhere,
                stderr=nowhere,
            )
        try:
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as http:
                wait_until(lambda: _status(http) == 200, "ready")
                for body in ({"messages": CAPITAL}, {"messages": CAPITAL, "model": "model"}):
                    answer = http.post("/v1/chat/completions", json=body)
                    assert answer.headers["x-pilotlight-served-by"] == f"127.0.0.1:{upstream.port}"
                assert http.post("/tokenize", json={"content": "x"}).status_code == 503
        finally:
            process.kill()
            process.wait()
            upstream.stop()


def _status(http: httpx2.Client) -> int:
    try:
        return http.get("/health").status_code
    except httpx2.TransportError:
        return 0
