"""Exports of what a real server stored, and exports that are killed."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import secrets
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.storage.sqlite.store import SQLiteStore
from tests.conftest import StartServer
from tests.forked_program import COMMAND, ForkedProgram, run_command
from tests.server import CAPITAL, ServerProcess, command, environment, user, wait_until
from tests.storage.conversations import chat
from tests.storage.formats import check_evaluation, check_training

pytestmark = pytest.mark.usefixtures("processes")

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get the current weather in a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "maxLength": 20}},
                "required": ["city"],
            },
        },
    }
]


def export(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``pilotlight completions export ARGUMENTS`` of the store in ``directory``."""
    return run_command(
        *("completions", "export", "--data-dir", str(directory), *arguments),
        environ=environment(),
    )


def exported(directory: Path, *arguments: str) -> list[Any]:
    """The parsed lines of an export to standard output."""
    done = export(directory, *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


class Recorded:
    """A server whose completions are stored in a directory of its own, with a label."""

    def __init__(self, server: ServerProcess, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.label = secrets.token_hex(8)

    def _kept(self, fields: dict[str, Any]) -> dict[str, Any]:
        kept = {"store": True, "metadata": {"label": self.label}, "temperature": 0}
        return {**kept, **fields}

    def chat(self, **fields: Any) -> Any:
        """A stored chat completion's response."""
        return self.server.chat(**self._kept(fields)).raise_for_status().json()

    def text(self, **fields: Any) -> Any:
        """A stored text completion's response."""
        return self.server.text(**self._kept(fields)).raise_for_status().json()

    def stream(self, **fields: Any) -> str:
        """A stored stream's text."""
        body = {"messages": CAPITAL, "stream": True, **self._kept(fields)}
        response = self.server.post("/v1/chat/completions", body).raise_for_status()
        events = [line[6:] for line in response.text.splitlines() if line.startswith("data: {")]
        chunks = [json.loads(event) for event in events]
        return "".join(c["delta"].get("content") or "" for e in chunks for c in e["choices"])

    def disconnect(self) -> None:
        """A stored stream whose client leaves after its first word."""
        body = {"messages": user("Tell me a story"), "ignore_eos": True, "stream": True}
        with (
            self.server.client() as http,
            http.stream("POST", "/v1/chat/completions", json=self._kept(body)) as response,
        ):
            next(line for line in response.iter_lines() if re.search(r'"content":"[^"]', line))

    def lines(self, *arguments: str) -> list[Any]:
        """The lines of an export of what was recorded with the label."""
        return exported(self.directory, "--metadata", f"label={self.label}", *arguments)


@pytest.fixture
def recorded(server: ServerProcess) -> Recorded:
    """The server of all tests; the label tells this test's completions from theirs."""
    return Recorded(server, server.log.parent / server.log.stem)


def test_whatever_was_answered_is_a_valid_example(recorded: Recorded) -> None:
    messages: list[dict[str, Any]] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What's the weather in Oslo?"}]},
    ]
    answers = [recorded.chat(), recorded.chat(n=2, temperature=1, seed=1, max_tokens=60)]
    called = recorded.chat(messages=messages, tools=TOOLS, tool_choice="required")
    call = called["choices"][0]["message"]
    (made,) = call["tool_calls"]
    weather = {"role": "tool", "tool_call_id": made["id"], "content": '{"temperature": 18}'}
    told = recorded.chat(messages=[*messages, call, weather], tools=TOOLS)
    streamed = recorded.stream()
    stream_of_calls = recorded.stream(messages=messages, tools=TOOLS, tool_choice="required")
    form = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    shaped = recorded.chat(
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": form}},
        max_tokens=60,
    )

    lines = recorded.lines("--include", "length")

    for line in lines:
        check_training(line)
    first = [answer["choices"][0]["message"]["content"] for answer in answers]
    assert [line["messages"][-1].get("content") for line in lines] == [
        *(*first, None),
        told["choices"][0]["message"]["content"],
        *(streamed, None),
        shaped["choices"][0]["message"]["content"],
    ]
    assert stream_of_calls == ""
    assert lines[0] == {
        "messages": [*CAPITAL, {"role": "assistant", "content": "The capital of France is Paris."}]
    }
    assert lines[2] == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What's the weather in Oslo?"},
            {"role": "assistant", "tool_calls": [made]},
        ],
        "tools": TOOLS,
    }
    assert [message["role"] for message in lines[3]["messages"]] == [
        *("system", "user", "assistant", "tool", "assistant")
    ]
    assert lines[5]["messages"][-1]["tool_calls"][0]["function"] == made["function"]
    assert len(recorded.lines("--include", "length", "--choices", "all")) == len(lines) + 1


def test_what_was_cut_is_left_out_unless_asked_for(recorded: Recorded) -> None:
    whole = recorded.chat()
    recorded.chat(max_tokens=2)
    before = recorded.server.metric('stored_completions_total{stored="true"}')
    recorded.disconnect()
    wait_until(
        lambda: recorded.server.metric('stored_completions_total{stored="true"}') > before,
        "stored what was sent before the client disconnected",
    )

    label = f"label={recorded.label}"
    done = export(recorded.directory, "--metadata", label)

    assert [json.loads(line)["messages"][-1] for line in done.stdout.splitlines()] == [
        {"role": "assistant", "content": whole["choices"][0]["message"]["content"]}
    ]
    summary = "1 line, from 3 completions; left out: 1 cut by length, 1 incomplete\n"
    assert done.stderr == summary
    assert len(recorded.lines("--include", "length")) == 2
    assert len(recorded.lines("--include", "length,incomplete")) == 3


def test_texts_become_pairs(recorded: Recorded) -> None:
    response = recorded.text(
        prompt=["The capital of France is", "1, 2, 3, 4,"], n=2, max_tokens=3, echo=True
    )

    lines = recorded.lines("--kind", "text", "--include", "length", "--choices", "all")

    for line in lines:
        check_training(line)
    assert [f"{line['prompt']}{line['completion']}" for line in lines] == [
        choice["text"] for choice in response["choices"]
    ]
    assert lines[0] == {"prompt": "The capital of France is", "completion": " Paris."}


def test_evaluations_have_an_ideal_answer(recorded: Recorded) -> None:
    recorded.chat()
    recorded.chat(messages=user("What's the weather in Oslo?"), tools=TOOLS, tool_choice="required")

    (line,) = recorded.lines("--format", "openai-evals")

    check_evaluation(line)
    assert line == {"item": {"input": CAPITAL, "ideal": "The capital of France is Paris."}}


def test_raw_lines_have_request_response_and_timings(recorded: Recorded) -> None:
    response = recorded.chat(user="ada", logprobs=True)

    (line,) = recorded.lines("--format", "raw")

    assert line["request"] == {
        "messages": CAPITAL,
        "store": True,
        "metadata": {"label": recorded.label},
        "temperature": 0,
        "user": "ada",
        "logprobs": True,
    }
    assert line["response"] == response
    assert line["metadata"] == {"label": recorded.label}
    assert line["timings"]["total_seconds"] > 0


def test_a_keys_completions_are_exported_by_their_tenant(start_server: StartServer) -> None:
    server = start_server("--api-key", "one,two")
    directory = server.log.parent / server.log.stem
    for key, name in (("one", "Ada"), ("two", "Ben")):
        body = {"messages": user(f"I am {name}."), "store": True}
        headers = {"authorization": f"Bearer {key}"}
        server.post("/v1/chat/completions", body, headers=headers).raise_for_status()
    tenant = f"key-{hashlib.sha256(b'two').hexdigest()[:16]}"

    (line,) = exported(directory, "--tenant", tenant, "--include", "length")

    assert line["messages"][0] == {"role": "user", "content": "I am Ben."}
    assert exported(directory, "--include", "length") == []


@pytest.fixture(scope="module")
def large_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with 1,000 stored completions of 10 KB each."""
    directory = tmp_path_factory.mktemp("large")
    store = SQLiteStore(directory / "completions.sqlite3")
    for number in range(1000):
        story = " ".join(f"{number * i}" for i in range(2000))
        completion = chat(user(f"Story {number}"), story, number=number * 60_000)
        store.put(replace(completion, is_incomplete=number % 7 == 3))
    store.close()
    return directory


@pytest.mark.parametrize("options", [[], ["--order", "desc", "--limit", "950", "--format", "raw"]])
def test_a_killed_export_goes_on_to_the_same_file(
    large_store: Path, tmp_path: Path, options: list[str]
) -> None:
    whole, interrupted = tmp_path / "whole.jsonl", tmp_path / "interrupted.jsonl"
    assert export(large_store, "--output", str(whole), *options).returncode == 0
    reached = [-1]
    for _ in range(3):
        reached.append(_kill_behind(reached[-1], large_store, interrupted, options))

    last = export(large_store, "--output", str(interrupted), "--resume", *options)

    assert last.returncode == 0, last.stderr
    assert interrupted.read_bytes() == whole.read_bytes()
    assert reached == sorted(set(reached))
    assert sorted(tmp_path.iterdir()) == [interrupted, whole]


def _kill_behind(reached: int, directory: Path, path: Path, options: list[str]) -> int:
    """Kill an export with SIGKILL when it has more than ``reached`` completions; how many it has."""
    state = path.with_name(f"{path.name}.state")
    with open(os.devnull, "wb") as nowhere:
        process = ForkedProgram(
            COMMAND,
            (
                *("completions", "export", "--data-dir", str(directory)),
                *("--output", str(path), "--resume", *options),
            ),
            environ=environment(),
            stdout=nowhere,
            stderr=nowhere,
        )
    deadline = time.monotonic() + 60
    while _completions(state) <= reached:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
    process.kill()
    process.wait()
    return _completions(state)


def _completions(state: Path) -> int:
    """How many completions an export's state says are in the file; -1 without one."""
    try:
        return int(json.loads(state.read_bytes())["completions"])
    except FileNotFoundError:
        return -1


def test_an_export_is_not_gone_on_with_by_mistake(large_store: Path, tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    output = ("--output", str(path))
    _kill_behind(-1, large_store, path, ["--since", "300w"])

    again = export(large_store, *output)
    other = export(large_store, *output, "--resume", "--format", "raw", "--limit", "5")
    done = export(large_store, *output, "--resume", "--since", "300w")
    finished = export(large_store, *output, "--resume")
    replaced = export(large_store, *output)
    forced = export(large_store, *output, "--overwrite", "--limit", "1")

    assert "--resume goes on with it, --overwrite begins anew" in again.stderr
    assert "was begun with another --format, --since, --limit" in other.stderr
    assert done.returncode == 0
    assert "is no interrupted export" in finished.stderr
    assert "exists: --overwrite replaces it" in replaced.stderr
    assert [again, other, finished, replaced] == [
        d for d in (again, other, finished, replaced) if d.returncode == 1
    ]
    assert forced.returncode == 0
    assert len(path.read_bytes().splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "problem", "status"),
    [
        (["--format", "raw", "--choices", "all"], "--format raw has everything", 2),
        (["--resume"], "need a file: --output FILE", 2),
        (["--overwrite", "--resume", "--output", "x"], "--overwrite begins it anew", 2),
        (["--output", "missing/lines.jsonl"], "No such file or directory", 1),
    ],
)
def test_options_without_effect_are_refused(
    large_store: Path, tmp_path: Path, options: list[str], problem: str, status: int
) -> None:
    done = export(large_store, *options)

    assert done.returncode == status
    assert problem in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_progress_is_told_in_lines_where_there_is_no_terminal(
    large_store: Path, tmp_path: Path
) -> None:
    done = export(large_store, "--output", str(tmp_path / "lines.jsonl"))

    first, last = done.stderr.splitlines()
    assert first.startswith("1000 completions, up to chatcmpl-")
    assert last == (
        f"857 lines to {tmp_path}/lines.jsonl, from 1000 completions; left out: 143 incomplete"
    )


@pytest.mark.parametrize("options", [[], ["--limit", "300"], ["--order", "desc"]])
def test_on_a_terminal_there_is_a_bar(
    large_store: Path, tmp_path: Path, options: list[str]
) -> None:
    terminal, stderr = pty.openpty()
    process = subprocess.Popen(
        command(
            *("completions", "export", "--data-dir", str(large_store)),
            *("--output", str(tmp_path / "lines.jsonl"), *options),
        ),
        stderr=stderr,
        env=environment({"TERM": "xterm", "COLUMNS": "120"}),
    )
    os.close(stderr)

    shown = _read_all(terminal)

    assert process.wait(60) == 0
    assert "exporting" in shown
    assert (
        shown.rstrip()
        .splitlines()[-1]
        .rpartition("\x1b[2K")[2]
        .startswith("257 lines to" if "300" in options else "857 lines to")
    )


def _read_all(terminal: int) -> str:
    """What a process writes to its terminal until it ends."""
    parts: list[bytes] = []
    try:
        while part := os.read(terminal, 65536):
            parts.append(part)
    except OSError:  # Linux says so when the other side is closed
        pass
    os.close(terminal)
    return b"".join(parts).decode()
