"""docs/storage.md and docs/distillation.md: their examples print what they say."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from functions.cli.__main__ import main
from tests.conftest import StartServer
from tests.pages import examples
from tests.server import environment

ROOT = Path(__file__).parents[2]
STORAGE = (ROOT / "docs" / "storage.md").read_text(encoding="utf-8")


class Reader:
    """Somebody who tries a page's examples, one after the other, in a directory of their own."""

    def __init__(self, directory: Path, store: Path, url: str) -> None:
        self._directory = directory / "reader"
        self._url = url
        self._names: dict[str, Any] = {}
        self._directory.mkdir()
        program = directory / "programs" / "pilotlight"
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m functions.cli "$@"\n',
            encoding="utf-8",
        )
        program.chmod(0o700)
        self._environment = environment(
            {
                "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "PILOTLIGHT_DATA_DIR": str(store),
            }
        )

    def run(self, language: str, code: str) -> str:
        """What an example prints, on standard error too."""
        return self._run_python(code) if language == "python" else self._run_shell(code)

    def _run_python(self, code: str) -> str:
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(code, self._names)
        return printed.getvalue()

    def _run_shell(self, code: str) -> str:
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            cwd=self._directory,
            env=self._environment,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.mark.parametrize(("page", "n_examples"), [("storage.md", 6), ("distillation.md", 6)])
def test_the_examples_print_what_the_page_says(
    start_server: StartServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    page: str,
    n_examples: int,
) -> None:
    server = start_server()
    reader = Reader(tmp_path, server.log.parent / server.log.stem, server.url)
    monkeypatch.chdir(tmp_path / "reader")
    steps = [example for section in examples(page).values() for example in section]

    for example in steps:
        printed = reader.run(example.language, example.at(server.url))
        assert example.printed(printed), f"{example.code}\nprints\n{printed}\nnot\n{example.output}"

    assert len(steps) == n_examples


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
