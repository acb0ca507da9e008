"""Ctrl-C, whatever ``pilotlight`` is about: no traceback, ever."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.stub_server import StubServer, stub_server
from tests.server import command, environment
from tests.terminal import terminal

pytestmark = pytest.mark.usefixtures("processes")

INTERRUPTED = (-signal.SIGINT, 130)
"""By the signal itself, or after leaving things in order."""

_STUB = """
import os, signal, threading
os.kill(os.getpid(), signal.SIGINT)
threading.Event().wait({seconds})
"""


@pytest.fixture
def stub() -> Iterator[StubServer]:
    """A server that says "Once", and then nothing for long."""
    with stub_server() as server:
        server.is_open.clear()
        server.say("Once")
        server.body = server.body.removesuffix(b"data: [DONE]\n\n")
        yield server


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("argparse", ("serve", "--port", "0")),
        ("pydantic_settings", ("serve", "--port", "0")),
        ("pydantic_settings", ("--help",)),
        ("uvicorn", ("serve", "--port", "0")),
        ("starlette", ("serve", "--port", "0")),
        ("starlette", ("chat", "Hello")),
        ("llama_cpp", ("serve", "--port", "0")),
        ("llama_cpp", ("chat", "Hello")),
        ("httpx2", ("chat", "--url", "http://127.0.0.1:1", "Hello")),
        ("orjson", ("completions", "export")),
    ],
)
def test_while_modules_are_imported_and_models_loaded(
    tmp_path: Path, module: str, arguments: tuple[str, ...]
) -> None:
    (tmp_path / f"{module}.py").write_text(_STUB.format(seconds=""))
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        command(*arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env=environment({"PYTHONPATH": f"{tmp_path}:{root}"}),
        check=False,
    )
    assert "Traceback" not in done.stderr
    # A server that listens already ends as at any other time.
    assert done.returncode in INTERRUPTED or "stopped before the model" in done.stderr


@pytest.mark.parametrize("to_terminal", [True, False])
def test_while_an_answer_comes(stub: StubServer, tmp_path: Path, to_terminal: bool) -> None:
    arguments = ("chat", "--url", stub.url, "Hello")
    if to_terminal:
        with terminal(*arguments, environ=environment()) as person:
            person.read_until("Once")
            assert person.interrupt() in INTERRUPTED
        assert "Traceback" not in person.shown
        return
    with subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(4) == b"Once"
        process.send_signal(signal.SIGINT)
        assert process.wait(120) in INTERRUPTED
        assert b"Traceback" not in process.stderr.read()


def test_while_standard_input_is_read() -> None:
    with subprocess.Popen(
        command("chat"),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"H" * 2**17)  # twice what a pipe holds: it has been read from
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        assert process.wait(120) in INTERRUPTED
        assert process.stderr.read() == b""
        process.stdin.close()


@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_while_a_deletion_is_to_be_confirmed(stub: StubServer, key: str) -> None:
    delete = ("completions", "delete", "--url", stub.url, "chatcmpl-1")
    with terminal(*delete, environ=environment()) as person:
        person.read_until("[y/N] ")
        if key == "\x03":
            assert person.interrupt() == 130
        else:
            person.type(key)
            assert person.wait() == 1
    assert "Traceback" not in person.shown


def test_a_process_that_ignores_it_goes_on(stub: StubServer, tmp_path: Path) -> None:
    """As shells start what runs in the background."""
    (tmp_path / "httpx2.py").write_text(
        "import os, signal, sys\nos.kill(os.getpid(), signal.SIGINT)\n"
        "sys.path.remove(os.path.dirname(__file__))\ndel sys.modules['httpx2']\nimport httpx2\n"
    )
    stub.is_open.set()
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        ["sh", "-c", 'trap "" INT; "$@"', "sh", *command("chat", "--url", stub.url, "Hello")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment({"PYTHONPATH": f"{root}:{tmp_path}"}),
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "Once\n"), done.stderr
