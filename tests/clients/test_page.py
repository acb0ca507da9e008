"""docs/clients.md: its examples run, and print what it says."""

from __future__ import annotations

import pytest

from tests.clients.running import run_python
from tests.pages import examples
from tests.server import ServerProcess

SECTIONS = examples("clients.md")
PYTHON = {name: section for name, section in SECTIONS.items() if section[0].language == "python"}


@pytest.mark.parametrize("name", PYTHON)
def test_the_examples_print_what_the_page_says(
    server: ServerProcess, clients_python: str, name: str
) -> None:
    section = PYTHON[name]

    printed = run_python(clients_python, section, server.url)

    for example, text in zip(section, printed, strict=True):
        assert example.printed(text), f"{example.code}\nprints\n{text}\nand not\n{example.output}"


def test_every_example_says_what_it_prints() -> None:
    agents = "OpenAI's Agents SDK"
    assert list(SECTIONS) == ["curl", "openai", "LangChain", agents, "LiteLLM", "instructor"]
    assert all(example.output for section in SECTIONS.values() for example in section)
