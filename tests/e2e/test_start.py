"""Starting: the welcome text works as printed, and what is wrong is said plainly."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from shared.models.sources import BUILTIN_PATH
from tests.conftest import StartServer
from tests.forked_program import run_command
from tests.models.embedding_model import write_embedding_model
from tests.models.gguf_file import U32, GgufFile, Value
from tests.ports import free_port
from tests.server import (
    START_SECONDS,
    STOP_SECONDS,
    ServerProcess,
    command,
    environment,
    user,
    wait_until,
)

pytestmark = pytest.mark.usefixtures("processes")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``pilotlight ARGUMENTS``, which is expected to end by itself."""
    return run_command(*arguments, environ=environment())


def python(code: str) -> subprocess.CompletedProcess[str]:
    """A program in another process."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )


SERVING = """
import gc, os, signal, sys, threading, urllib.request
from functions.cli import commands
from tests.server import wait_until

url = "http://127.0.0.1:PORT/health"

def is_ready():
    try:
        return urllib.request.urlopen(url).status == 200
    except OSError:
        return False

def look():
    wait_until(is_ready, "the model is loaded")
    print("while serving:", gc.isenabled(), sys.getswitchinterval())
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=look).start()
sys.exit(commands.run(["serve", "--port", "PORT"]))
"""
"""A server that says how its interpreter is set once it has started, and ends."""


def test_what_makes_the_start_faster_is_set_back_when_it_serves() -> None:
    done = python(SERVING.replace("PORT", str(free_port())))
    assert done.returncode == 0, done.stderr
    assert "while serving: True 0.0005\n" in done.stdout


class TestWelcome:
    """What is printed at the start can be copied and works."""

    @pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
    def test_the_curl_line_answers(self, server: ServerProcess) -> None:
        match = re.search(r"^curl .*\\\n.*$", server.printed, re.MULTILINE)
        assert match
        done = subprocess.run(
            ["sh", "-c", match[0].replace("curl ", "curl -sS ", 1)],
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        assert '"chat.completion"' in done.stdout
        assert '"choices"' in done.stdout

    def test_the_python_lines_print_an_answer(self, server: ServerProcess) -> None:
        match = re.search(r"^from openai .*?^print\(.*?$", server.printed, re.MULTILINE | re.DOTALL)
        assert match
        assert len(match[0].splitlines()) == 4
        done = python(match[0])
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()

    def test_it_names_url_documentation_and_how_to_stop(self, server: ServerProcess) -> None:
        assert f"{server.url}/docs" in server.printed
        assert server.model == "pilotlight-builtin"
        assert "Ctrl-C" in server.printed
        assert "only this machine can connect" in server.printed

    def test_llama_cpp_keeps_quiet(self, server: ServerProcess) -> None:
        assert "llama_model_loader" not in server.log_text()
        assert "llama_context" not in server.printed


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_other_hosts_than_loopback_need_a_key(host: str) -> None:
    done = run("serve", "--host", host, "--port", "0")
    assert done.returncode == 2
    assert "--api-key" in done.stderr
    assert host in done.stderr
    assert "Traceback" not in done.stderr


def test_all_interfaces_are_served_with_a_key(start_server: StartServer) -> None:
    server = start_server("--host", "0.0.0.0", "--api-key", "k")
    headers = {"authorization": "Bearer k"}
    assert server.http.get("/v1/models", headers=headers).status_code == 200
    assert server.http.get("/v1/models").status_code == 401


def test_several_addresses_have_one_port(start_server: StartServer) -> None:
    server = start_server("--host", "127.0.0.1,127.0.0.2", "--host", "127.0.0.3", "--api-key", "k")
    for host in ("127.0.0.2", "127.0.0.3"):
        url = server.url.replace("127.0.0.1", host)
        assert server.http.get(f"{url}/health").status_code == 200


def test_a_port_in_use_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run("serve", "--port", str(port))
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "in use" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_that_can_not_be_listened_on_is_said(host: str) -> None:
    done = run("serve", "--host", host, "--port", "0", "--api-key", "k")
    assert done.returncode == 1
    assert host in done.stderr
    assert "Traceback" not in done.stderr


class TestModelFiles:
    """A model that can't be loaded ends the process with status 1 and the reason."""

    def check(self, model: Path, *words: str) -> None:
        """The server for ``model`` fails, saying ``words``."""
        done = run("serve", "--port", "0", "--model", str(model))
        assert done.returncode == 1
        assert done.stderr.startswith("pilotlight: ") or "\npilotlight: " in done.stderr
        assert str(model) in done.stderr
        for word in words:
            assert word in done.stderr
        assert "Traceback" not in done.stderr
        assert "serves" not in done.stdout

    def test_missing(self, tmp_path: Path) -> None:
        self.check(tmp_path / "missing.gguf", "no such model file")

    def test_a_directory(self, tmp_path: Path) -> None:
        self.check(tmp_path)

    def test_not_gguf(self, tmp_path: Path) -> None:
        path = tmp_path / "page.gguf"
        path.write_text("<html>404</html>")
        self.check(path, "not a GGUF file")

    def test_empty(self, tmp_path: Path) -> None:
        path = tmp_path / "empty.gguf"
        path.touch()
        self.check(path, "not a GGUF file")

    def test_corrupt(self, tmp_path: Path) -> None:
        path = tmp_path / "corrupt.gguf"
        path.write_bytes(b"GGUF" + bytes(range(256)) * 8)
        self.check(path, "can't load")

    def test_truncated(self, tmp_path: Path) -> None:
        path = tmp_path / "truncated.gguf"
        data = BUILTIN_PATH.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        self.check(path, "can't load")

    def test_an_embedding_model(self, tmp_path: Path) -> None:
        self.check(
            write_embedding_model(tmp_path / "bert.gguf"),
            "it is an embedding model, which generates no text: name the file of a model",
        )

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("block_count", Value(U32, 10**9), "llama.block_count is 1000000000, not from 1 to"),
            ("expert_count", Value(U32, 8), "GGML_ASSERT(n_expert_used_max > 0) failed"),
        ],
    )
    def test_numbers_that_llama_cpp_gives_up_on(
        self, tmp_path: Path, name: str, value: Value, words: str
    ) -> None:
        path = GgufFile.builtin().with_(**{f"llama.{name}": value}).write(tmp_path / "m.gguf")
        self.check(path, words)

    def test_a_copy_elsewhere_is_served_by_its_file_name(
        self, tmp_path: Path, start_server: StartServer
    ) -> None:
        path = tmp_path / "my model-v1.gguf"
        path.write_bytes(BUILTIN_PATH.read_bytes())
        server = start_server("--model", str(path))
        name = server.http.get("/v1/models").json()["data"][0]["id"]
        assert name == server.model
        assert "model-v1" in name
        answer = server.chat(model=name, temperature=0)
        assert answer.status_code == 200, "requests must be able to name the model"
        assert "Paris" in answer.text


class TestTemplateFile:
    """``--chat-template-file`` replaces the model's template."""

    def test_is_used(self, tmp_path: Path, start_server: StartServer) -> None:
        path = tmp_path / "template.jinja"
        path.write_text(
            "{% if messages[0].content == 'no' %}{{ raise_exception('I refuse.') }}{% endif %}"
            "{{ messages[0].content }}"
        )
        server = start_server("--chat-template-file", str(path))
        prompt = "Once upon a time"
        as_chat = server.chat(
            messages=[{"role": "user", "content": prompt}], temperature=0, max_tokens=16
        )
        as_text = server.text(prompt=prompt, temperature=0)
        refused = server.chat(messages=[{"role": "user", "content": "no"}])
        assert (
            as_chat.json()["choices"][0]["message"]["content"]
            == (as_text.json()["choices"][0]["text"])
        )
        assert as_chat.json()["usage"]["prompt_tokens"] == as_text.json()["usage"]["prompt_tokens"]
        assert refused.status_code == 400
        assert "I refuse." in refused.json()["error"]["message"]
        assert refused.json()["error"]["param"] == "messages"

    def test_one_that_renders_nothing_is_refused_with_every_request(
        self, tmp_path: Path, start_server: StartServer
    ) -> None:
        path = tmp_path / "template.jinja"
        path.write_text("{{ messages[0].content if messages[0].content != 'no' }}")
        server = start_server("--chat-template-file", str(path))
        answer = server.chat(messages=user("no"))
        assert answer.status_code == 400
        assert answer.json()["error"]["message"] == "The prompt is empty: it has no tokens."
        assert answer.json()["error"]["param"] == "messages"

    def test_missing_or_broken_is_said(self, tmp_path: Path) -> None:
        missing = run("serve", "--port", "0", "--chat-template-file", str(tmp_path / "no.jinja"))
        broken = tmp_path / "broken.jinja"
        broken.write_text("{% if %}")
        unparsable = run("serve", "--port", "0", "--chat-template-file", str(broken))
        for done in (missing, unparsable):
            assert done.returncode == 1
            assert "chat template" in done.stderr
            assert "Traceback" not in done.stderr


def test_the_environment_configures_the_server(start_server: StartServer) -> None:
    server = start_server(
        "--alias",
        "from-flag",
        environ={
            "PILOTLIGHT_ALIAS": "from-environment",
            "PILOTLIGHT_CTX_SIZE": "512",
            "PILOTLIGHT_PARALLEL": "1",
        },
    )
    model = server.http.get("/v1/models").json()["data"][0]
    assert model["id"] == "from-flag"
    assert model["meta"]["n_ctx"] == 512


def test_settings_that_are_refused_end_a_process_whose_model_is_loading() -> None:
    command = [sys.executable, "-m", "functions.cli", "serve", "-m", str(BUILTIN_PATH)]
    done = subprocess.run(
        [*command, "--port", "99999"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "pilotlight: --port (PILOTLIGHT_PORT): Input should be less than or equal to 65535\n"
    )


def test_the_module_and_the_script_are_the_same_command() -> None:
    script = Path(sys.executable).with_name("pilotlight")
    from_script, from_module = (
        subprocess.run(
            [*program, "--version"], capture_output=True, text=True, timeout=300, check=True
        ).stdout
        for program in ([script], command())
    )
    assert from_script == from_module
    assert re.fullmatch(r"pilotlight \d+\.\d+\.\d+\n", from_script)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_process_that_still_fetches_its_model(
    number: signal.Signals, tmp_path: Path
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        socket.create_server(("127.0.0.1", 0)) as free,
    ):
        port = free.getsockname()[1]
        free.close()
        hub = {
            "HF_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "HF_HOME": str(tmp_path),
        }
        process = subprocess.Popen(
            command("serve", "--port", str(port), "--model", "hf:owner/repo:model.gguf"),
            env=environment(hub),
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            connection, _ = silent.accept()  # it asks the hub, which never answers
            with connection:
                wait_until(lambda: _status(port) == 503, "loading")
                process.send_signal(number)
                _, printed = process.communicate(timeout=STOP_SECONDS)
        finally:
            process.kill()

    assert process.returncode == 0
    assert "stopped before the model was loaded" in printed


def _status(port: int) -> int:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/health").status_code
    except httpx2.TransportError:
        return 0


def test_it_serves_also_where_nobody_reads_the_welcome(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(
        command("serve", "--port", str(port), "--data-dir", str(tmp_path)),
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        os.close(writing)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: is_healthy(url), "the server is healthy", START_SECONDS)
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=STOP_SECONDS)
        finally:
            process.kill()
    assert process.returncode == 0
    assert b"Traceback" not in log


def is_healthy(url: str) -> bool:
    """Whether a model is served at ``url``."""
    try:
        return httpx2.get(f"{url}/health", timeout=START_SECONDS).status_code == 200
    except httpx2.TransportError:
        return False
