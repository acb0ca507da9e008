"""A control plane to deploy to, and processes that live as Modal's containers do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.modal_app.container_process import ContainerProcess, StartContainer
from tests.modal_app.control_plane import ControlPlane


@pytest.fixture
def control_plane(processes: None) -> Iterator[ControlPlane]:
    """What `modal deploy` talks to."""
    plane = ControlPlane()
    yield plane
    plane.close()


@pytest.fixture
def start_container(processes: None, tmp_path: Path) -> Iterator[StartContainer]:
    """Starts containers of a class with variables of the test's own; they end with it."""
    started: list[ContainerProcess] = []

    def start(class_name: str = "Inference", **variables: str) -> ContainerProcess:
        directory = tmp_path / f"container-{len(started)}"
        started.append(ContainerProcess(directory, class_name, variables))
        return started[-1]

    yield start
    for container in started:
        container.kill()
