"""``pilotlight completions show|delete``, and options of all its commands, on a store."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shared.storage.sqlite.store import SQLiteStore
from tests.cli.completions import FRANCE, HALF, OSLO, SOMEBODYS, TEXT, Run, ids
from tests.storage.conversations import chat, user


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

    assert done.status == 2
    assert "one key with two values" in done.stderr
