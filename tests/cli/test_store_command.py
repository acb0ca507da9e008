"""``pilotlight store init``, and what commands say where there is no store."""

from __future__ import annotations

from pathlib import Path

import pytest

from functions.cli.__main__ import main
from tests.cli.completions import FRANCE, Run


def test_without_a_store_there_is_nothing_to_list(run: Run) -> None:
    done = run("list", "--store", "none")

    assert (done.status, done.stdout) == (2, "")
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

    assert (done.status, done.stdout) == (2, "")
    assert done.stderr == (
        f"pilotlight: with --url it is the server that has the store: no {option}\n"
    )


def test_the_help_says_which_commands_ask_a_server(run: Run) -> None:
    assert "With --url, list, show and delete ask a running server" in run("--help").stdout


def test_the_store_may_be_named_in_the_configuration_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "pilotlight.toml").write_text('store = "none"\n', encoding="utf-8")

    assert run("list").status == 2
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
    assert main(["store", "init", "--store", "none"]) == 2
    assert "there is no store" in capsys.readouterr().err
