"""Write the table of settings in docs/settings.md from the settings themselves.

``python tools/render_settings_table.py`` rewrites the page, ``--check`` only says whether that is
needed, by its exit status.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from shared.config.configuration import flag, variable
from shared.config.settings import Settings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
BEGIN = "<!-- written by tools/render_settings_table.py -->\n"
END = "<!-- end of the table -->\n"


def table() -> str:
    """A row for each setting."""
    lines = [
        "| flag | environment variable | key in the file | default | meaning |",
        "|---|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        extra: Any = field.json_schema_extra
        spellings = [extra.get("short"), flag(name), *extra.get("others", ())]
        flags = ", ".join(f"`{spelling}`" for spelling in spellings if spelling)
        key = "" if name == "config" else f"`{name}`"
        default = field.get_default()
        if isinstance(default, list):
            default = ",".join(default)
        shown = "" if default in (None, "", {}) else f"`{default}`"
        meaning = (field.description or "").replace("|", "\\|")
        lines.append(f"| {flags} | `{variable(name)}` | {key} | {shown} | {meaning} |")
    return "\n".join(lines) + "\n"


def rendered(page: str) -> str:
    """``page`` with the table as it is now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


def main(arguments: list[str]) -> int:
    """Rewrite or check the page; returns the exit status."""
    page = PAGE.read_text(encoding="utf-8")
    if arguments == ["--check"]:
        if page == rendered(page):
            return 0
        print(f"{PAGE} is out of date: run python tools/render_settings_table.py", file=sys.stderr)
        return 1
    PAGE.write_text(rendered(page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
