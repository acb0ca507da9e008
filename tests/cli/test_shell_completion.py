"""Shell completion: what the script offers when bash asks it, and that only asking for it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from functions.cli.commands import run
from functions.cli.shell_completion import SHELLS
from shared.config.settings import Settings

pytestmark = pytest.mark.usefixtures("processes")

_ASK = """
eval "$1"; shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_shtab_pilotlight 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""


def _script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        run(["--print-completion", shell])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.fixture
def bash_script(capsys: pytest.CaptureFixture[str]) -> str:
    return _script("bash", capsys)


def _offered(script: str, *words: str, directory: Path) -> list[str]:
    """What bash offers after ``words``, the last of which is being written."""
    command = ["bash", "--norc", "-c", _ASK, "bash", script, "pilotlight", *words]
    ended = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, check=True, timeout=60
    )
    return ended.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["se"], ["serve"]),
        (["com"], ["completions"]),
        (["completions", ""], ["list", "show", "delete", "export"]),
        (["completions", "export", "--format", ""], ["messages", "openai-evals", "raw"]),
        (["completions", "export", "--output", "no"], ["notes.txt"]),
        (["store", "i"], ["init"]),
        (["serve", "--ctx"], ["--ctx-size"]),
        (["serve", "--model", ""], ["model.gguf", "models"]),
        (["serve", "-m", "no"], []),
        (["chat", "--model", "model."], ["model.gguf"]),
        (["serve", "--config", "no"], ["notes.txt"]),
        (["serve", "--data-dir", ""], ["models"]),
        (["serve", "--log-level", "w"], ["warning"]),
        (["serve", "--split-mode", ""], ["none", "layer", "row"]),
        (["serve", "-ctk", "q8"], ["q8_0"]),
        (["serve", "--kv-unified", ""], ["true", "false"]),
        (["serve", "--parse-special-in-content", ""], ["true", "false"]),
        (["serve", "--port", ""], []),
        (["--print-completion", "f"], ["fish"]),
    ],
    ids=" ".join,
)
def test_bash_offers_what_may_come_next(
    bash_script: str, tmp_path: Path, words: list[str], expected: list[str]
) -> None:
    (tmp_path / "models").mkdir()
    for name in ("model.gguf", "notes.txt"):
        (tmp_path / name).touch()
    assert _offered(bash_script, *words, directory=tmp_path) == expected


def test_bash_offers_every_setting(bash_script: str, tmp_path: Path) -> None:
    offered = _offered(bash_script, "serve", "--", directory=tmp_path)
    assert {f"--{name.replace('_', '-')}" for name in Settings.model_fields} <= set(offered)


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = _script(shell, capsys)
    assert "pilotlight" in script
    assert "max-content-size" in script


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["--print-completion", "basch"])
    assert ended.value.code == 2
    assert "did you mean 'bash'?" in capsys.readouterr().err


def test_help_does_not_import_what_makes_scripts() -> None:
    code = """
import sys
from functions.cli.commands import run
try:
    run(["--help"])
except SystemExit:
    sys.exit("shtab" in sys.modules)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, timeout=60
    )
    assert ended.returncode == 0
