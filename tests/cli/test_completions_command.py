"""``pilotlight completions list|show|delete`` and ``pilotlight store init``, on a store."""

from __future__ import annotations

import io
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from functions.cli.__main__ import main
from shared.storage.sqlite.store import SQLiteStore
from shared.storage.types import new_id
from tests.server import command, environment
from tests.storage.conversations import TOOLS, assistant, call, chat, result, text, user
from tests.storage.sqlite_files import run as run_sql

FRANCE = chat([user("What is the capital\n of France?")], "Paris.")
OSLO = replace(
    chat(
        [user("Weather in Oslo?"), assistant(None, tool_calls=[call()]), result()],
        assistant("18 degrees."),
        assistant("Sunny."),
        number=86_400_000,
        tools=TOOLS,
        n=2,
    ),
    model="torch",
    metadata={"project": "faq", "reviewed": "yes"},
)
HALF = replace(
    chat([user("A story")], "Once", number=2 * 86_400_000),
    metadata={"project": "faq"},
    user="ada",
    is_incomplete=True,
)
SOMEBODYS = replace(FRANCE, tenant="key-0123456789abcdef", model="somebody's")
TEXT = text("Once upon", " a time", number=5)


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    """A store with completions of three days in January 2025, and of another tenant."""
    store = SQLiteStore(tmp_path / "completions.sqlite3")
    for completion in (FRANCE, OSLO, HALF, SOMEBODYS, TEXT):
        store.put(completion)
    yield store
    store.close()


@pytest.fixture
def run(
    store: SQLiteStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs ``pilotlight completions ARGUMENTS``, with ``typed`` on standard input."""
    monkeypatch.setenv("PILOTLIGHT_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, typed: str = "") -> Done:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        try:
            status = main(["completions", *arguments])
        except SystemExit as ended:
            status = int(str(ended.code))
        captured = capsys.readouterr()
        return Done(status, captured.out, captured.err)

    return run


def ids(done: Done) -> list[str]:
    """The ids that ``list --json`` has printed."""
    assert done.status == 0, done.stderr
    return [json.loads(line)["id"] for line in done.stdout.splitlines()]


def test_the_list_shows_the_newest_first_and_no_text(run: Run) -> None:
    done = run("list")

    assert done.status == 0
    heading, *rows = [line.split() for line in done.stdout.splitlines()]
    assert heading == ["created", "(UTC)", "id", "model", "metadata", "tokens"]
    assert rows == [
        ["2025-01-03", "00:00:00", HALF.id, "lamp", "project=faq", "45"],
        ["2025-01-02", "00:00:00", OSLO.id, "lamp", "project=faq", "reviewed=yes", "45"],
        ["2025-01-01", "00:00:00", FRANCE.id, "lamp", "45"],
    ]


def test_texts_are_shown_if_asked_for(run: Run) -> None:
    done = run("list", "--text")

    assert "What is the capital of France?" in done.stdout
    assert "Weather in Oslo?" in done.stdout
    assert "18 degrees." in done.stdout


def test_a_long_text_is_shown_by_its_beginning(run: Run, store: SQLiteStore) -> None:
    store.put(replace(chat([user("word " * 50)], "Yes."), tenant="long"))

    done = run("list", "--text", "--tenant", "long")

    assert f"{'word ' * 11}word…" in done.stdout


def test_json_lines_are_what_the_api_shows(run: Run) -> None:
    done = run("list", "--json", "--limit", "1")

    (shown,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert shown["id"] == HALF.id
    assert shown["metadata"] == {"project": "faq"}
    assert shown["input_user"] == "ada"
    assert shown["incomplete"] is True


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [HALF, OSLO, FRANCE]),
        (["--order", "asc"], [FRANCE, OSLO, HALF]),
        (["--order", "asc", "--limit", "2"], [FRANCE, OSLO]),
        (["--model", "torch"], [OSLO]),
        (["--metadata", "project=faq"], [HALF, OSLO]),
        (["--metadata", "project=faq", "--metadata", "reviewed=yes"], [OSLO]),
        (["--metadata", "project=a=b"], []),
        (["--since", "2025-01-02"], [HALF, OSLO]),
        (["--since", "2025-01-02T01:00:00+01:00"], [HALF, OSLO]),
        (["--since", "2025-01-02T01:00:00"], [HALF]),
        (["--until", "2025-01-02"], [FRANCE]),
        (["--since", "2025-01-02", "--until", "2025-01-03"], [OSLO]),
        (["--since", "1h"], []),
        (["--until", "4w"], [HALF, OSLO, FRANCE]),
        (["--kind", "text"], [TEXT]),
        (["--tenant", SOMEBODYS.tenant], [SOMEBODYS]),
        (["--tenant", "nobody"], []),
    ],
)
def test_the_list_is_filtered(run: Run, arguments: list[str], expected: list[Any]) -> None:
    assert ids(run("list", "--json", *arguments)) == [completion.id for completion in expected]


@pytest.mark.parametrize(("ago", "is_found"), [("90s", True), ("5s", False), ("1d", True)])
def test_a_duration_is_how_long_ago(
    run: Run, store: SQLiteStore, ago: str, is_found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    minute_ago = time.time_ns() - 60 * 10**9
    with monkeypatch.context() as patched:
        patched.setattr("time.time_ns", lambda: minute_ago)
        completion_id = new_id("chatcmpl")
    response = {**FRANCE.response, "id": completion_id}
    store.put(replace(FRANCE, id=completion_id, tenant="recent", response=response))

    assert ids(run("list", "--json", "--tenant", "recent", "--since", ago)) == (
        [completion_id] if is_found else []
    )


def test_more_than_a_page_is_listed(run: Run, store: SQLiteStore) -> None:
    for number in range(120):
        store.put(replace(chat([user("Hi")], "Hello.", number=number), tenant="many"))

    assert len(ids(run("list", "--json", "--tenant", "many", "--limit", "115"))) == 115
    assert len(ids(run("list", "--json", "--tenant", "many", "--limit", "200"))) == 120


def test_an_empty_list_says_whose_completions_there_are(run: Run) -> None:
    done = run("list", "--tenant", "nobody")

    assert (done.status, done.stdout) == (0, "")
    assert done.stderr == (
        "no stored completions of tenant 'nobody' "
        f"(--tenant NAME looks at another tenant's: 'default', '{SOMEBODYS.tenant}')\n"
    )


def test_an_empty_list_names_a_few_tenants(run: Run, store: SQLiteStore) -> None:
    for number in range(9):
        store.put(replace(FRANCE, tenant=f"a{number}"))

    done = run("list", "--kind", "text", "--tenant", "a0")

    assert "'a1', 'a2', 'a3', 'a4', 'a5', ...)" in done.stderr


def test_an_empty_list_of_the_only_tenant_names_nobody(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "one.sqlite3"
    store = SQLiteStore(path)
    store.put(FRANCE)
    store.close()

    done = run("list", "--kind", "text", "--store", f"sqlite:{path}")

    assert done.stderr == "no stored completions of tenant 'default'\n"


def test_an_empty_export_says_whose_completions_there_are(run: Run) -> None:
    done = run("export", "--tenant", "nobody")

    assert (done.status, done.stdout) == (0, "")
    assert done.stderr == (
        "0 lines, from 0 completions of tenant 'nobody' "
        f"(--tenant NAME looks at another tenant's: 'default', '{SOMEBODYS.tenant}')\n"
    )


def test_a_completion_is_shown_for_reading(run: Run) -> None:
    done = run("show", OSLO.id)

    assert (
        done.stdout
        == f"""\
id        {OSLO.id}
created   2025-01-02 00:00:00 UTC
model     lamp
metadata  project=faq reviewed=yes
tokens    45 (11 prompt, 34 completion)
finished  stop, stop

user
Weather in Oslo?

assistant
get_weather({{"city": "Oslo"}})

tool
{{"temperature": 18}}

answer 0
18 degrees.

answer 1
Sunny.
"""
    )


def test_a_text_completion_is_shown_by_its_id(run: Run) -> None:
    done = run("show", TEXT.id)

    assert done.stdout.endswith("\nuser\nOnce upon\n\nanswer\n a time\n")


def test_that_nobody_read_the_end_is_shown(run: Run) -> None:
    done = run("show", HALF.id)

    assert "incomplete  the client disconnected\n" in done.stdout
    assert "user        ada\n" in done.stdout


def test_json_has_all_that_is_stored(run: Run) -> None:
    shown = json.loads(run("show", "--json", OSLO.id).stdout)

    assert shown["request"] == OSLO.request
    assert shown["response"] == OSLO.response
    assert shown["timings"] == OSLO.timings


def test_texts_do_not_command_the_terminal(run: Run, store: SQLiteStore) -> None:
    evil = chat([user("\x1b[2J[bold]hidden[/bold]\x9b31m\u202e")], "\x07ding", number=9)
    store.put(replace(evil, metadata={"\x1b]0;title\x07": "x"}))

    shown = run("show", evil.id).stdout + run("list", "--text", "--order", "asc").stdout

    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown)
    assert "\\x1b[2J[bold]hidden[/bold]\\x9b31m\\x202e" in shown


def test_line_separators_of_unicode_end_no_line(run: Run, store: SQLiteStore) -> None:
    written = "a\u2028b\u2029c\x85d\x0be\x1cf"
    odd = replace(chat([user(written)], written, number=9), metadata={"odd": written}, tenant="odd")
    store.put(odd)

    table = run("list", "--tenant", "odd").stdout
    listed = run("list", "--json", "--tenant", "odd").stdout
    exported = run("export", "--tenant", "odd").stdout

    assert "a\\x2028b\\x2029c\\x85d\\x0be\\x1cf" in table
    assert len(table.splitlines()) == table.count("\n") == 2
    assert listed.count("\n") == exported.count("\n") == 1
    assert json.loads(listed)["metadata"] == {"odd": written}
    assert [message["content"] for message in json.loads(exported)["messages"]] == [written] * 2


def test_an_unknown_id_is_said(run: Run) -> None:
    done = run("show", "chatcmpl-nobody")

    assert done.status == 1
    assert done.stderr == (
        "pilotlight: no stored completion 'chatcmpl-nobody' of tenant 'default' was found "
        f"(--tenant NAME looks at another tenant's: '{SOMEBODYS.tenant}')\n"
    )


def test_somebody_elses_completion_is_unknown(run: Run) -> None:
    assert run("show", FRANCE.id, "--tenant", "nobody").status == 1
    assert run("delete", "--yes", FRANCE.id, "--tenant", "nobody").status == 1
    assert run("show", FRANCE.id).status == 0


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_nothing_is_deleted_without_a_yes(run: Run, answer: str) -> None:
    done = run("delete", FRANCE.id, OSLO.id, typed=answer)

    assert done.status == 1
    assert "Delete 2 stored completions for good? [y/N]" in done.stdout
    assert done.stdout.endswith("\n") or answer  # who types a line ends it
    assert "nothing was deleted" in done.stderr
    assert len(ids(run("list", "--json"))) == 3


def test_what_is_not_there_is_not_asked_about(run: Run) -> None:
    done = run("delete", "nope", typed="y\n")

    assert (done.status, done.stdout) == (1, "")
    assert "no stored completion 'nope' of tenant 'default' was found" in done.stderr


def test_what_is_there_is_asked_about_once(run: Run) -> None:
    done = run("delete", "nope", OSLO.id, OSLO.id, typed="y\n")

    assert done.status == 1
    assert done.stdout == f"Delete 1 stored completion for good? [y/N] deleted {OSLO.id}\n"
    assert done.stderr.count("'nope'") == 1


@pytest.mark.sweep(1)
@pytest.mark.parametrize(("option", "answer"), [((), "y\n"), ((), "Yes\n"), (("--yes",), "")])
def test_a_yes_deletes(run: Run, option: tuple[str, ...], answer: str) -> None:
    done = run("delete", *option, FRANCE.id, TEXT.id, typed=answer)

    assert done.status == 0
    assert done.stdout.endswith(f"deleted {FRANCE.id}\ndeleted {TEXT.id}\n")
    assert ids(run("list", "--json")) == [HALF.id, OSLO.id]
    assert ids(run("list", "--json", "--kind", "text")) == []


def test_what_is_not_there_does_not_keep_the_rest_from_being_deleted(run: Run) -> None:
    done = run("delete", "--yes", "chatcmpl-nobody", OSLO.id)

    assert done.status == 1
    assert done.stdout == f"deleted {OSLO.id}\n"
    assert "no stored completion 'chatcmpl-nobody'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["list", "--since", "yesterday"], "'yesterday' is no time"),
        (["list", "--since", "5y"], "'5y' is no time"),
        (["list", "--metadata", "project"], "'project' is not KEY=VALUE"),
        (["list", "--limit", "0"], "'0' is no number from 1 on"),
        (["list", "--limit", "-1"], "'-1' is no number from 1 on"),
        (["list", "--kind", "video"], "video"),
        (["export", "--include", "length,all"], "'all' is neither 'incomplete' nor 'length'"),
        (["export", "--format", "csv"], "csv"),
        (["delete"], "ID"),
        ([], "ACTION"),
    ],
)
def test_a_wrong_option_is_said(run: Run, arguments: list[str], problem: str) -> None:
    done = run(*arguments)

    assert done.status == 2
    assert problem in done.stderr


def test_one_key_with_two_values_is_said(run: Run) -> None:
    done = run("list", "--metadata", "a=1", "--metadata", "a=2")

    assert done.status == 1
    assert "one key with two values" in done.stderr


def test_without_a_store_there_is_nothing_to_list(run: Run) -> None:
    done = run("list", "--store", "none")

    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == "pilotlight: there is no store: the setting 'store' is 'none'\n"


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["show", FRANCE.id], ["delete", "--yes", FRANCE.id], ["export"]],
    ids=lambda arguments: arguments[0],
)
def test_a_store_that_is_not_there_is_said_and_not_created(
    run: Run, tmp_path: Path, arguments: list[str]
) -> None:
    path = tmp_path / "misspelt" / "x.db"

    done = run(*arguments, "--store", f"sqlite:{path}")

    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == f"pilotlight: there is no store at {path}\n"
    assert not path.parent.exists()


def test_an_export_of_no_store_leaves_no_file(run: Run, tmp_path: Path) -> None:
    assert run("export", "--output", "x.jsonl", "--store", "sqlite:x.db").status == 1

    assert not list(tmp_path.glob("x*"))


def test_an_empty_file_is_no_store_and_stays_empty(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()

    assert run("list", "--store", f"sqlite:{path}").status == 1

    assert path.read_bytes() == b""


def test_a_sweep_creates_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["store", "sweep", "--store", f"sqlite:{tmp_path}/x.db"])

    assert status == 1
    assert "there is no store at" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--store", "--data-dir"])
def test_a_server_knows_its_store(run: Run, option: str) -> None:
    done = run("list", "--url", "http://127.0.0.1:1", option, "none")

    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == (
        f"pilotlight: with --url it is the server that has the store: no {option}\n"
    )


def test_the_help_says_which_commands_ask_a_server(run: Run) -> None:
    assert "With --url, list, show and delete ask a running server" in run("--help").stdout


def test_the_store_may_be_named_in_the_configuration_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "pilotlight.toml").write_text('store = "none"\n', encoding="utf-8")

    assert run("list").status == 1
    assert run("list", "--store", "sqlite").status == 0


def test_a_database_of_another_program_is_said(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite3"
    other.write_bytes(b"no database at all, but long enough to be looked at by SQLite" * 100)

    done = run("list", "--store", f"sqlite:{other}")

    assert done.status == 1
    assert done.stderr.startswith(f"pilotlight: {other}")
    assert "Traceback" not in done.stderr


def test_init_creates_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "data"

    assert main(["store", "init", "--data-dir", str(directory)]) == 0
    assert main(["store", "init", "--store", f"sqlite:{tmp_path}/mine.sqlite3"]) == 0

    assert capsys.readouterr().out == (
        f"The store is ready: SQLite, in {directory}.\n"
        f"The store is ready: SQLite, {tmp_path}/mine.sqlite3.\n"
    )
    assert (directory / "completions.sqlite3").exists()
    assert (tmp_path / "mine.sqlite3").exists()


def test_init_says_what_it_may_not_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()

    status = main(["store", "init", "--data-dir", str(tmp_path / "file" / "data")])

    assert status == 1
    assert "Not a directory" in capsys.readouterr().err


def test_init_needs_a_store(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "init", "--store", "none"]) == 1
    assert "there is no store" in capsys.readouterr().err


@pytest.mark.usefixtures("processes")
def test_a_reader_that_has_seen_enough_ends_the_list(store: SQLiteStore, tmp_path: Path) -> None:
    for number in range(10, 1000):
        store.put(chat([user("Hi")], "Hello." * 20, number=number))
    process = subprocess.Popen(
        command("completions", "list", "--json", "--limit", "1000", "--data-dir", str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None

    process.stdout.readline()
    process.stdout.close()

    assert process.stderr.read() == b""
    assert process.wait(60) == 1
    process.stderr.close()


@pytest.fixture
def damaged(store: SQLiteStore, tmp_path: Path) -> str:
    """The id of a completion that is damaged."""
    run_sql(tmp_path / "completions.sqlite3", f"UPDATE completions SET body = '' {WHERE_OSLO}")
    return OSLO.id


WHERE_OSLO = f"WHERE id = '{OSLO.id}'"


@pytest.mark.parametrize("arguments", [["--json"], ["--json", "--order", "asc"]])
def test_a_list_passes_over_what_is_damaged(run: Run, damaged: str, arguments: list[str]) -> None:
    done = run("list", *arguments)

    assert sorted(ids(done)) == sorted([HALF.id, FRANCE.id])
    assert f"skipped 1 damaged completion: {damaged}\n" in done.stderr
    assert damaged not in run("list").stdout


def test_an_export_counts_and_names_what_is_damaged(
    run: Run, damaged: str, store: SQLiteStore
) -> None:
    done = run("export", "--output", "lines.jsonl", "--format", "raw")

    assert done.status == 0
    assert done.stderr.splitlines()[-1] == (
        f"2 lines to lines.jsonl, from 2 completions; skipped 1 damaged completion: {damaged}"
    )
    assert [json.loads(line)["id"] for line in Path("lines.jsonl").read_text().splitlines()] == [
        FRANCE.id,
        HALF.id,
    ]


def test_an_export_of_damaged_ones_only_says_so(run: Run, damaged: str) -> None:
    done = run("export", "--model", "torch", "--output", "-")

    assert (done.status, done.stdout) == (0, "")
    assert f"skipped 1 damaged completion: {damaged}" in done.stderr


@pytest.mark.parametrize(
    "changes", [{"request": {}}, {"response": {}}, {"response": {"choices": 5}}]
)
def test_an_export_names_what_makes_no_sense(
    run: Run, store: SQLiteStore, changes: dict[str, Any]
) -> None:
    for completion in (FRANCE, replace(FRANCE, id=HALF.id, **changes)):
        store.put(replace(completion, tenant="odd"))

    done = run("export", "--tenant", "odd", "--output", "-")

    assert len(done.stdout.splitlines()) == 1
    assert f"from 1 completion; skipped 1 damaged completion: {HALF.id}" in done.stderr
    assert sorted(ids(run("list", "--tenant", "odd", "--json"))) == [FRANCE.id, HALF.id]


def test_what_is_damaged_is_not_shown(run: Run, damaged: str) -> None:
    done = run("show", damaged)

    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith(f"pilotlight: completion {damaged} in ")
    assert "is damaged: the body can't be read: " in done.stderr


@pytest.mark.parametrize("arguments", [["--yes"], []])
def test_what_is_damaged_can_be_deleted(run: Run, damaged: str, arguments: list[str]) -> None:
    done = run("delete", *arguments, damaged, FRANCE.id, typed="y\n")

    assert done.status == 0
    assert f"deleted {damaged}\ndeleted {FRANCE.id}\n" in done.stdout
    if not arguments:
        assert (
            f"Delete 2 stored completions (1 damaged completion: {damaged}) for good?"
            in done.stdout
        )
    assert ids(run("list", "--json")) == [HALF.id]
