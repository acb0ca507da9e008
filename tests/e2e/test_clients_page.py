"""docs/clients.md: its examples with curl and with the installed ``openai`` print what it says.

`tests/clients` runs the whole page, with an older ``openai`` too.
"""

from __future__ import annotations

import sys

import pytest

from tests.clients.running import run_python, run_shell
from tests.pages import Example, examples
from tests.server import ServerProcess

SECTIONS = examples("clients.md")


@pytest.mark.parametrize("command", SECTIONS["curl"], ids=["whole", "stream"])
def test_the_commands_print_what_the_page_says(server: ServerProcess, command: Example) -> None:
    printed = run_shell(command, server.url)

    assert command.printed(printed), printed


def test_the_examples_of_openai_print_what_the_page_says(server: ServerProcess) -> None:
    section = SECTIONS["openai"]

    printed = run_python(sys.executable, section, server.url)

    for example, text in zip(section, printed, strict=True):
        assert example.printed(text), f"{example.code}\nprints\n{text}\nand not\n{example.output}"
