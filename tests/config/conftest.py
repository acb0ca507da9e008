"""Settings of the environment and of a file that happens to be there, kept out of these tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The working directory, empty, without settings of somebody's own in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("PILOTLIGHT_"):
            monkeypatch.delenv(name)
    return tmp_path
