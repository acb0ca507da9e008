"""``docs/architecture.md``: that the paths on it exist, and that it names each folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
_NAMED = set(re.findall(r"`([\w./]+)`", _PAGE))
_PATHS = sorted(
    name
    for name in _NAMED
    if re.match(r"(functions|shared|tests|tools|infra|benchmarks)/|\w+\.(py|md|yaml)$", name)
)
_FOLDERS = sorted(
    f"{file.parent.relative_to(_ROOT).as_posix()}/"
    for top in ("functions", "shared")
    for file in (_ROOT / top).glob("*/**/__init__.py")
)
_OF_THE_EXAMPLE = {"test_metrics.py"}


def test_paths_are_found_on_the_page() -> None:
    assert len(_PATHS) > 40
    assert len(_FOLDERS) > 25


@pytest.mark.parametrize("path", sorted(set(_PATHS) - _OF_THE_EXAMPLE))
def test_each_path_on_the_page_exists(path: str) -> None:
    found = _ROOT / path
    assert found.is_dir() if path.endswith("/") else found.is_file()


@pytest.mark.parametrize("folder", _FOLDERS)
def test_each_folder_is_on_the_page(folder: str) -> None:
    assert f"| `{folder}` |" in _PAGE
