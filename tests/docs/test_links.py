"""Links between pages: that files and headings exist, and that reference links are defined."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PAGES = [_ROOT / "README.md", _ROOT / "CONTRIBUTING.md", *sorted((_ROOT / "docs").rglob("*.md"))]
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def _anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if anchor:
            assert anchor in _anchors(file), target


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_reference_links_are_defined_and_used(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    definition = re.compile(r"^\[([^\]]+)\]: \S+$", re.MULTILINE)
    defined = set(definition.findall(text))
    rest = definition.sub("", _CODE.sub("", text))
    used = set(re.findall(r"\]\[([^\]]+)\]", rest))
    used |= {name for name in re.findall(r"\[([^\]]+)\](?!\()", rest) if name in defined}
    assert used == defined
