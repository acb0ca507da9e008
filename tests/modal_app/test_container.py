"""What a container does before a snapshot, and where none is taken."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest

from functions.modal.container import InferenceContainer
from functions.modal.deployment import Deployment


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The settings' environment, and this process as it was."""
    monkeypatch.setenv("PILOTLIGHT_API_KEY_HASH", "0" * 64)
    interval, level = sys.getswitchinterval(), logging.getLogger().level
    yield
    sys.setswitchinterval(interval)
    logging.getLogger().setLevel(level)


@pytest.mark.parametrize("memory_snapshot", [True, False])
def test_the_model_loads_beside_the_imports_unless_a_snapshot_has_these(
    monkeypatch: pytest.MonkeyPatch, memory_snapshot: bool
) -> None:
    container = InferenceContainer(
        replace(Deployment.from_environment(), memory_snapshot=memory_snapshot)
    )
    loads: list[bool] = []
    importing = SimpleNamespace(import_module=lambda _: loads.append(container._loader is not None))
    monkeypatch.setattr("functions.modal.container.importlib", importing)
    monkeypatch.setattr("functions.modal.container.gc.freeze", lambda: None)

    container.prepare()

    assert set(loads) == {not memory_snapshot}
    if container._loader is not None:
        container._loader.wait()
        container._loader.close()
