"""The command lines that README, docs and ``--help`` print: what they say exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.cli import commands as command_parser
from functions.cli.commands import _parser
from functions.cli.completions import options

_ROOT = Path(__file__).parents[2]
_PAGES = [_ROOT / "README.md", _ROOT / "CONTRIBUTING.md", *sorted((_ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(?:\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_GROUPS = (
    *("completions", "store", "prefixes", "projects", "keys", "limits", "alerts"),
    *("usage", "costs"),
)
"""Named without what to do."""
_SUBSTITUTION = re.compile(r"\$\((.*?)\)")
_ACTIVATE = ". .venv/bin/activate"


def commands(text: str, name: str) -> Iterator[list[str]]:
    """The arguments of each command ``name`` that ``text`` gives in full."""
    blocks = [block.replace("\\\n", " ") for block in _BLOCK.findall(text)]
    lines = [line for block in blocks for line in block.split("\n")]
    inline = _INLINE.findall(_BLOCK.sub("", text))
    for line in [*lines, *inline]:
        for part in (_SUBSTITUTION.sub("VALUE", line), *_SUBSTITUTION.findall(line)):
            match = re.search(rf"(?:^|\s|/){name} (.*)", part)
            arguments = re.split(r" [|<>#] ", match[1])[0] if match else "..."
            if "..." not in arguments and arguments not in _GROUPS:
                yield shlex.split(arguments, comments=True)


def parsed(arguments: list[str]) -> bool:
    """Whether the command line takes them."""
    try:
        _parser().parse_args(arguments)
    except SystemExit as ended:
        return ended.code == 0
    return True


@pytest.mark.sweep(2)
@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_pilotlight_takes_what_pages_say(page: Path) -> None:
    for arguments in commands(page.read_text(encoding="utf-8"), "pilotlight"):
        assert parsed(arguments), arguments


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_pages_with_commands_say_how_they_are_found(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = _BLOCK.findall(text)
    if any(re.search(r"^(?:\$ )?pilotlight ", block, re.MULTILINE) for block in blocks):
        assert _ACTIVATE in text


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_pages_with_openais_client_say_how_it_is_installed(page: Path) -> None:
    """What runs pilotlight does not bring it."""
    text = page.read_text(encoding="utf-8")
    if any("from openai import" in block for block in _BLOCK.findall(text)):
        assert re.search(r"pip install [^`]*\bopenai\b", text)


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_make_has_the_targets_that_pages_name(page: Path) -> None:
    makefile = (_ROOT / "Makefile").read_text(encoding="utf-8")
    for arguments in commands(page.read_text(encoding="utf-8"), "make"):
        for target in arguments:
            if "=" not in target:
                assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), arguments


@pytest.mark.slow
def test_help_gives_examples_that_are_taken() -> None:
    epilogs = (
        command_parser._SERVE_EPILOG,
        command_parser._CHAT_EPILOG,
        options._COMPLETIONS_EPILOG,
    )
    examples = [
        line.strip().partition(" < ")[0]
        for epilog in epilogs
        for line in epilog.split("\n")
        if line.startswith("  pilotlight ")
    ]
    assert len(examples) > 8
    for example in examples:
        assert parsed(shlex.split(example)[1:]), example
