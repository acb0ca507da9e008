"""How many threads may compute at the same time."""

from __future__ import annotations

import os

import pytest

from shared.host.processors import host_processors


@pytest.fixture
def six(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that shows six processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize(
    ("megabytes", "processors"),
    [(512, 1), (1769, 1), (2048, 1), (3008, 2), (3538, 2), (5307, 3), (10240, 6)],
)
def test_a_lambda_function_has_what_its_memory_pays_for(megabytes: int, processors: int) -> None:
    environment = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(megabytes)}
    assert host_processors(environment) == processors


def test_it_has_no_more_than_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert host_processors({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "10240"}) == 2


@pytest.mark.usefixtures("six")
def test_elsewhere_all_that_the_process_may_use() -> None:
    assert host_processors({}) == 6


def test_systems_without_affinity_have_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert host_processors({}) == 1
