"""``pilotlight chat`` on a terminal, and what it makes of pipes, files and closed ends."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from functions.cli.__main__ import main
from tests.cli.stub_server import StubServer, stub_server
from tests.forked_program import run_binary
from tests.server import command, environment
from tests.terminal import Terminal, terminal

pytestmark = pytest.mark.usefixtures("processes")

SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"
"""What Python's `str.splitlines` takes for a line's end, besides LF and CR."""


@pytest.fixture
def stub() -> Iterator[StubServer]:
    """A server that says "Paris."."""
    with stub_server() as server:
        server.say("Par", "is.")
        yield server


def piped(
    stub: StubServer, *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """``pilotlight chat --url`` of ``stub``, without a terminal; ``env`` is for a new interpreter."""
    if env is None:
        chat = ("chat", "--url", stub.url, *arguments)
        return run_binary(*chat, environ=environment(), said=stdin)
    return subprocess.run(
        command("chat", "--url", stub.url, *arguments),
        input=stdin,
        capture_output=True,
        timeout=120,
        env=environment(env),
        check=False,
    )


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs ``pilotlight ARGUMENTS`` in this process: the exit status."""

    def ended(*arguments: str) -> int:
        monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO()))
        try:
            return main(arguments)
        except SystemExit as end:
            return int(str(end.code))

    return ended


def said(stub: StubServer) -> list[list[str]]:
    """The contents of all messages of each request."""
    return [[message["content"] for message in body["messages"]] for body in stub.asked]


class TestText:
    """What models write, and terminals can show."""

    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    def test_line_separators_of_unicode_are_text(self, stub: StubServer, newline: str) -> None:
        stub.say(f"a{SEPARATORS}", "b", newline=newline)
        done = piped(stub, "Hello")
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.decode() == f"a{SEPARATORS}b\n"

    @pytest.mark.parametrize(
        ("encoding", "printed"),
        [("ascii", b"a?\n"), ("latin-1", b"a\xe4\n"), ("utf-8", b"a\xc3\xa4\n")],
    )
    def test_what_a_terminal_has_no_character_for_is_a_question_mark(
        self, stub: StubServer, encoding: str, printed: bytes
    ) -> None:
        stub.say("aä")
        done = piped(stub, "Hello", env={"PYTHONIOENCODING": encoding})
        assert (done.returncode, done.stdout, done.stderr) == (0, printed, b"")

    def test_half_a_character_is_no_failure(self, stub: StubServer) -> None:
        stub.body = b'data: {"choices": [{"delta": {"content": "a\\ud83d"}}]}\n\ndata: [DONE]\n\n'
        done = piped(stub, "Hello")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"a?\n", b"")

    @pytest.mark.parametrize("body", [b"data: nonsense\n\n", b"data: {}\n\n", b"data: []\n\n"])
    def test_what_is_no_chunk_is_said(self, stub: StubServer, body: bytes) -> None:
        stub.body = body
        done = piped(stub, "Hello")
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr.startswith(b"pilotlight: the server sent what is no chunk")


class TestWithoutATerminal:
    """Standard input is one message; standard output is the answer and nothing else."""

    @pytest.mark.parametrize("text", ["a\n\nb", "/exit", "> a", "Grüße \U0001f98a", "a\u2028b"])
    def test_all_of_standard_input_is_one_message(self, stub: StubServer, text: str) -> None:
        done = piped(stub, stdin=f"{text}\n".encode())
        assert (done.returncode, done.stdout, done.stderr) == (0, b"Paris.\n", b"")
        assert said(stub) == [[text]]

    def test_an_argument_wins_over_standard_input(self, stub: StubServer) -> None:
        assert piped(stub, "a", stdin=b"b").returncode == 0
        assert said(stub) == [["a"]]

    @pytest.mark.parametrize("stdin", [b"", b"\n", b" \t\r\n"])
    def test_nothing_on_standard_input_is_said(self, stub: StubServer, stdin: bytes) -> None:
        done = piped(stub, stdin=stdin)
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"there is no message" in done.stderr
        assert not stub.asked

    @pytest.mark.parametrize("arguments", [(), ("\udcff",), ("a", "--system", "\udcff")])
    def test_what_is_no_text_is_said(self, stub: StubServer, arguments: tuple[str, ...]) -> None:
        done = piped(stub, *arguments, stdin=b"\xff\xfe")
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr == b"pilotlight: the message is no text in the terminal's encoding\n"

    @pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
    def test_closed_ends_are_no_failure(self, stub: StubServer, closed: str) -> None:
        done = subprocess.run(
            ["sh", "-c", f'"$@" {closed}', "sh", *command("chat", "--url", stub.url, "Hello")],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            env=environment(),
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")

    def test_a_reader_that_has_seen_enough_ends_it(self, stub: StubServer) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        process = subprocess.Popen(
            command("chat", "--url", stub.url, "Hello"),
            stdout=writing,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        os.close(writing)
        assert process.communicate(timeout=120)[1] == b""
        assert process.returncode == 1

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full device")
    def test_a_full_disk_is_said(self, stub: StubServer) -> None:
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                command("chat", "--url", stub.url, "Hello"),
                stdout=full,
                stderr=subprocess.PIPE,
                timeout=120,
                env=environment(),
                check=False,
            )
        assert done.returncode == 1
        assert done.stderr == b"pilotlight: [Errno 28] No space left on device\n"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--model", "x.gguf"), "with --url it is the server that has the model: no --model"),
            (("--temperature", "nan"), "'nan' is no number"),
            (("--api-key", "a\nb"), "can't reach"),
        ],
    )
    def test_options_that_can_not_be_meant_are_said(
        self,
        stub: StubServer,
        ended: Callable[..., int],
        capsys: pytest.CaptureFixture[str],
        arguments: tuple[str, ...],
        message: str,
    ) -> None:
        status = ended("chat", "--url", stub.url, *arguments, "Hello")
        printed = capsys.readouterr().err
        assert status in (1, 2)
        assert message in printed
        assert "Traceback" not in printed

    @pytest.mark.parametrize(
        ("url", "status"),
        [
            *((url, 2) for url in ("", "localhost", "http://127.0.0.1:x", "ftp://x", "http://")),
            ("http://[", 1),  # a name that nobody has
        ],
    )
    def test_what_is_no_url_is_said(
        self, ended: Callable[..., int], capsys: pytest.CaptureFixture[str], url: str, status: int
    ) -> None:
        for arguments in (("chat", "Hello"), ("completions", "list")):
            assert ended(*arguments, "--url", url) == status
            printed = capsys.readouterr().err
            assert printed.startswith("pilotlight: ")
            assert "Traceback" not in printed


class TestConversation:
    """On a terminal."""

    @pytest.fixture
    def person(self, stub: StubServer) -> Iterator[Terminal]:
        """Somebody to whom the prompt is shown."""
        chat = ("chat", "--url", f"{stub.url}/v1/", "--system", "Be brief.")
        with terminal(*chat, environ=environment()) as person:
            person.read_until("> ")
            yield person

    def test_remembers_until_it_is_told_to_forget(self, stub: StubServer, person: Terminal) -> None:
        for text in ("a", "b", "/clear", "c"):
            person.type(f"{text}\n")
            person.read_until("> ")
        assert said(stub) == [
            ["Be brief.", "a"],
            ["Be brief.", "a", "Paris.", "b"],
            ["Be brief.", "c"],
        ]

    @pytest.mark.parametrize("end", ["/exit\n", "/quit\n", "/EXIT \n", "/bye\n", "\x04"])
    def test_ends(self, stub: StubServer, person: Terminal, end: str) -> None:
        person.type(end)
        assert person.wait() == 0
        assert not stub.asked

    def test_commands_are_not_sent_to_the_model(self, stub: StubServer, person: Terminal) -> None:
        for typed, told in (
            ("/help", "forgets the conversation"),
            ("/?", "forgets the conversation"),
            ("/exti", "did you mean '/exit'?"),
            ("/frobnicate now", "There is no command /frobnicate."),
            ("/", "There is no command /"),
        ):
            person.type(f"{typed}\n")
            person.read_until(told)
            person.read_until("> ")
        assert not stub.asked

    def test_what_begins_otherwise_is_a_message(self, stub: StubServer, person: Terminal) -> None:
        messages = (" /help", "/etc/passwd is what?", "help", "a /exit")
        for typed in messages:
            for line in (typed, "/clear"):
                person.type(f"{line}\n")
                person.read_until("> ")
        assert said(stub) == [["Be brief.", typed.strip()] for typed in messages]

    def test_ctrl_c_stops_an_answer_and_at_the_prompt_the_conversation(
        self, stub: StubServer, person: Terminal
    ) -> None:
        stub.is_open.clear()
        stub.say("Once")
        stub.body = stub.body.removesuffix(b"data: [DONE]\n\n")
        person.type("a\n")
        person.read_until("Once")
        person.type("\x03")
        person.read_until("> ")
        stub.is_open.set()
        person.type("b\n")
        person.read_until("> ")
        assert said(stub)[1] == ["Be brief.", "a", "Once", "b"]
        assert person.interrupt() == 130
        assert "Traceback" not in person.shown

    def test_what_goes_wrong_does_not_end_it(self, stub: StubServer, person: Terminal) -> None:
        stub.body = b'data: {"error": {"message": "no luck"}}\n\n'
        person.type("a\n")
        person.read_until("pilotlight: no luck")
        person.read_until("> ")
        stub.say("Paris.")
        person.type("b\n")
        person.read_until("> ")
        assert said(stub)[1] == ["Be brief.", "b"]

    def test_whole_exchanges_are_remembered(self, stub: StubServer, person: Terminal) -> None:
        """Many templates insist that the roles alternate."""
        stub.body = b"data: [DONE]\n\n"
        person.type("a\n")
        person.read_until("> ")
        stub.is_open.clear()
        stub.has_answered.clear()
        stub.body = b""
        person.type("b\n")
        stub.has_answered.wait()
        person.type("\x03")
        person.read_until("> ")
        stub.is_open.set()
        person.type("c\n")
        person.read_until("> ")
        assert said(stub)[-1] == ["Be brief.", "a", "", "b", "", "c"]

    def test_only_answers_go_to_a_file(self, stub: StubServer, tmp_path: Path) -> None:
        path = tmp_path / "answers"
        with (
            path.open("wb") as file,
            terminal("chat", "--url", stub.url, environ=environment(), stdout=file) as person,
        ):
            person.read_until("> ")
            person.type("a\n")
            person.read_until("> ")
            person.type("/help\n")
            person.read_until("> ")
            person.type("\x04")
            assert person.wait() == 0
        assert path.read_text() == "Paris.\n"
