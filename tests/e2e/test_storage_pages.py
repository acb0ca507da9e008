"""docs/storage.md: its examples print what it says, and it names every option."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from functions.cli.__main__ import main
from tests.conftest import StartServer
from tests.page_reader import Reader
from tests.pages import examples

ROOT = Path(__file__).parents[2]
STORAGE = (ROOT / "docs" / "storage.md").read_text(encoding="utf-8")


def test_the_examples_print_what_the_page_says(
    start_server: StartServer, tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server()
    reader = Reader(tmp_path, server.data_directory, programs)
    monkeypatch.chdir(reader.directory)
    steps = [example for section in examples("storage.md").values() for example in section]

    for example in steps:
        printed = reader.run(example.language, example.at(server.url))
        assert example.printed(printed), f"{example.code}\nprints\n{printed}\nnot\n{example.output}"

    assert len(steps) == 6


@pytest.mark.parametrize("action", ["list", "show", "delete", "export"])
def test_the_page_names_every_option(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completions", action, "--help"])

    options = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))

    told_elsewhere = {"--help", "--config"}
    assert not {option for option in options - told_elsewhere if option not in STORAGE}


def test_the_page_names_every_reason_to_leave_something_out() -> None:
    code = (ROOT / "shared" / "storage" / "export" / "examples.py").read_text(encoding="utf-8")

    reasons = set(re.findall(r'NoExample\("([^"]+)"\)', code))

    assert len(reasons) == 12
    assert not [reason for reason in reasons if f"`{reason}`" not in STORAGE]
