"""Examples of documentation pages: what they run, and what they are said to print."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

_DOCS = Path(__file__).parents[1] / "docs"
_ADDRESS = "http://127.0.0.1:8000"
_PART = re.compile(
    r"^## (?P<heading>[^\n]+)$"
    r"|^```(?P<language>python|sh)\n(?P<code>.*?)^```$(?:\n\n```text\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Example:
    """A block of code, and the block of text right behind it, None where there is none.

    In ``output`` the character ``…`` stands for any text.
    """

    section: str
    language: str
    code: str
    output: str | None

    def at(self, url: str) -> str:
        """The code for the server at ``url``."""
        return self.code.replace(_ADDRESS, url)

    def printed(self, text: str) -> bool:
        """Whether ``text`` is what the page says; white space at the end does not count."""
        if self.output is None:
            return True
        pattern = ".*?".join(map(re.escape, self.output.rstrip().split("…")))
        return re.fullmatch(pattern, text.rstrip(), re.DOTALL) is not None


def examples(page: str) -> dict[str, list[Example]]:
    """The examples of ``docs/PAGE``, by the heading that they stand under, in order."""
    found: list[Example] = []
    section = ""
    for part in _PART.finditer((_DOCS / page).read_text(encoding="utf-8")):
        if part["heading"]:
            section = part["heading"]
        else:
            found.append(Example(section, part["language"], part["code"], part["output"]))
    return {heading: list(group) for heading, group in groupby(found, lambda e: e.section)}
