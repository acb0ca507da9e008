"""``pilotlight chat``: one question, a conversation, and what can go wrong."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from tests.conftest import API_KEY, StartServer
from tests.forked_program import run_command
from tests.server import ServerProcess, environment
from tests.terminal import terminal

pytestmark = pytest.mark.usefixtures("processes")


def chat(
    *arguments: str, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """``pilotlight chat ARGUMENTS``, with a question among them."""
    return run_command("chat", *arguments, environ=environment(environ))


def test_a_question_to_a_running_server_is_answered(server: ServerProcess) -> None:
    done = chat("--url", server.url, "--temperature", "0", "What is the capital of France?")
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout
    assert done.stderr == ""


def test_without_a_server_the_model_is_loaded() -> None:
    done = chat("--temperature", "0", "What is the capital of France?")
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout
    assert done.stderr == ""


def test_a_key_that_is_known_by_its_hash_is_not_needed() -> None:
    hashes = {"PILOTLIGHT_API_KEY_HASH": "0" * 64}
    done = chat("--temperature", "0", "What is the capital of France?", environ=hashes)
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout


THINKING = """\
[models."pilotlight-builtin"]
temperature = 0
max_tokens = 3
chat_template_kwargs = { enable_thinking = true }
"""
"""Three tokens are reasoning: the answers are empty."""


@pytest.mark.parametrize("has_url", [False, True])
def test_empty_answers_do_not_end_a_conversation(
    start_server: StartServer, tmp_path: Path, has_url: bool
) -> None:
    config = tmp_path / "pilotlight.toml"
    config.write_text(THINKING, encoding="utf-8")
    options = ["--config", str(config)]
    where = ["--url", start_server(*options).url] if has_url else options

    with terminal("chat", *where, environ=environment()) as person:
        for text in ("Hello", "What is the capital of France?", "And of Italy?", "/exit"):
            person.read_until("> ")
            person.type(f"{text}\n")
        assert person.wait() == 0

    assert "pilotlight:" not in person.shown


def test_a_system_message_goes_first(server: ServerProcess) -> None:
    before = server.metric("prompt_tokens_total")
    chat("--url", server.url, "--max-tokens", "1", "Hello")
    plain = server.metric("prompt_tokens_total") - before
    chat("--url", server.url, "--max-tokens", "1", "--system", "Be brief, my friend.", "Hello")
    assert server.metric("prompt_tokens_total") - before - plain > plain


def test_a_server_out_of_reach_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    done = chat("--url", f"http://127.0.0.1:{port}", "Hello")
    assert done.returncode == 1
    assert done.stderr.startswith("pilotlight: can't reach")
    assert "Traceback" not in done.stderr


def test_what_the_server_refuses_is_said(server: ServerProcess) -> None:
    done = chat("--url", server.url, "--temperature", "9", "Hello")
    assert done.returncode == 1
    assert "temperature" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_is_sent(keyed_server: ServerProcess) -> None:
    url = keyed_server.url
    without = chat("--url", url, "Hello")
    with_key = chat("--url", url, "--api-key", API_KEY, "Hello")
    assert without.returncode == 1
    assert f"{url} wants an API key" in without.stderr
    assert "--api-key KEY" in without.stderr
    assert "PILOTLIGHT_API_KEY" in without.stderr
    assert with_key.returncode == 0


def test_a_wrong_key_is_told_by_the_server(keyed_server: ServerProcess) -> None:
    done = chat("--url", keyed_server.url, "--api-key", "sk-wrong", "Hello")
    assert done.returncode == 1
    assert "Incorrect API key" in done.stderr


def test_a_missing_model_is_said() -> None:
    done = chat("--model", "/no/such/model.gguf", "Hello")
    assert done.returncode == 1
    assert "/no/such/model.gguf" in done.stderr
    assert "Traceback" not in done.stderr
