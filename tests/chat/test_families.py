"""Prompts for model families are those of `transformers`; see ``templates/README.md``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.chat.template import ChatTemplate, TemplateError

FIXTURES = Path(__file__).parent / "templates"
CASES = json.loads((FIXTURES / "cases.json").read_text(encoding="utf-8"))


def rendered(family: str, case: str) -> tuple[str, str]:
    """The file that should have what comes out, and what comes out."""
    about, given = CASES["families"][family], CASES["cases"][case]
    template = ChatTemplate(
        (FIXTURES / f"{family}.jinja").read_text(encoding="utf-8"),
        bos_token=about["bos_token"],
        eos_token=about["eos_token"],
    )
    try:
        prompt = template.render(
            given["messages"],
            tools=CASES["tools"] if given.get("with_tools") else None,
            add_generation_prompt=given.get("add_generation_prompt"),
            continue_final_message=given.get("continue_final_message", False),
            variables=about.get("variables", {}) | given.get("variables", {}),
        )
    except TemplateError as error:
        return f"{family}.{case}.error.txt", str(error)
    return f"{family}.{case}.txt", prompt


def cases() -> list[tuple[str, str]]:
    """Every family with every one of its cases."""
    families: dict[str, Any] = CASES["families"]
    return [(family, case) for family, about in families.items() for case in about["cases"]]


@pytest.mark.sweep(21)
@pytest.mark.parametrize(("family", "case"), cases())
def test_prompts_are_those_of_transformers(family: str, case: str) -> None:
    name, text = rendered(family, case)
    assert text == (FIXTURES / name).read_bytes().decode("utf-8")


def test_every_expected_text_has_its_case() -> None:
    texts = {
        path.name.removesuffix(".txt").removesuffix(".error") for path in FIXTURES.glob("*.txt")
    }
    assert texts == {f"{family}.{case}" for family, case in cases()}
