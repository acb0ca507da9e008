"""``pilotlight prefixes list|delete``, on a directory."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from functions.cli.__main__ import main
from shared.engine.prefixes.digests import tenant_path
from shared.engine.prefixes.prompt import COMMON
from shared.storage.prefixes.directory import DirectoryStore

LAMP, TORCH = f"{1:016x}", f"{2:016x}"
PROJECT = "proj_0123456789"


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


def paths(root: Path) -> list[str]:
    return sorted(file.path for file in store_of(root).files())


def store_of(root: Path) -> DirectoryStore:
    return DirectoryStore(root, budget=2**30, max_age=1e12)


def block(tenant: str, model: str, n: int) -> str:
    return f"{tenant_path(tenant)}/{model}/{n:064x}"


BLOCKS = [block(PROJECT, LAMP, 1), block(PROJECT, LAMP, 2), block(COMMON[0], TORCH, 3)]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``pilotlight prefixes ARGUMENTS`` on a directory with blocks of January 2025."""
    monkeypatch.setenv("PILOTLIGHT_PREFIX_STORE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for n, path in enumerate(BLOCKS):
        store_of(tmp_path).write(path, [memoryview(bytes(2**20))], lambda: False)
        at = 1735689600 + 86400 * n
        os.utime(tmp_path / path, (at, at))

    def run(*arguments: str, typed: str = "") -> Done:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        try:
            status = main(["prefixes", *arguments])
        except SystemExit as ended:
            status = int(str(ended.code))
        captured = capsys.readouterr()
        return Done(status, captured.out, captured.err)

    return run


def test_the_list_has_a_line_for_each_tenant_and_model(run: Run) -> None:
    done = run("list")

    assert done.status == 0, done.stderr
    heading, *rows = [line.split() for line in done.stdout.splitlines()]
    assert heading == ["tenant", "model", "first", "(UTC)", "last", "(UTC)", "tokens", "MiB"]
    days = ["2025-01-01", "00:00:00", "2025-01-02", "00:00:00"]
    assert rows == [
        ["everybody", TORCH, "2025-01-03", "00:00:00", "2025-01-03", "00:00:00", "256", "1.0"],
        [tenant_path(PROJECT), LAMP, *days, "512", "2.0"],
    ]


def test_the_list_as_json(run: Run) -> None:
    done = run("list", "--json", "--tenant", PROJECT)

    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {
            "tenant": PROJECT,
            "model": LAMP,
            "first": "2025-01-01T00:00:00+00:00",
            "last": "2025-01-02T00:00:00+00:00",
            "tokens": 512,
            "bytes": 2 * 2**20,
        }
    ]


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["--tenant", PROJECT], BLOCKS[2:]),
        (["--tenant", "everybody"], BLOCKS[:2]),
        (["--model", TORCH], BLOCKS[:2]),
        (["--until", "2025-01-02"], BLOCKS[1:]),
        (["--since", "2025-01-02"], BLOCKS[:1]),
        (["--all"], []),
        (["--tenant", "somebody"], BLOCKS),
    ],
)
def test_some_are_deleted(run: Run, tmp_path: Path, arguments: list[str], left: list[str]) -> None:
    done = run("delete", "--yes", *arguments)

    assert done.status == 0, done.stderr
    assert paths(tmp_path) == sorted(left)


def test_deletion_is_asked_about(run: Run, tmp_path: Path) -> None:
    kept = run("delete", "--tenant", PROJECT, typed="n\n")

    assert (kept.status, len(paths(tmp_path))) == (1, 3)
    assert "Delete 512 tokens of stored prefixes (2.0 MiB) for good?" in kept.stdout
    gone = run("delete", "--tenant", PROJECT, typed="y\n")
    assert (gone.status, len(paths(tmp_path))) == (0, 1)
    assert "deleted 512 tokens" in gone.stdout


@pytest.mark.parametrize("arguments", [[], ["--all", "--tenant", PROJECT]])
def test_which_has_to_be_said(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    done = run("delete", "--yes", *arguments)

    assert done.status == 2
    assert "--all" in done.stderr
    assert len(paths(tmp_path)) == 3


def test_an_empty_store_says_so(run: Run, tmp_path: Path) -> None:
    for action in (["list"], ["delete", "--all"]):
        done = run(*action, "--prefix-store", str(tmp_path / "nothing"))
        assert (done.status, done.stdout) == (0, "")
        assert "no stored prefixes" in done.stderr


def test_without_a_store_it_says_how_to_name_one(run: Run) -> None:
    done = run("list", "--prefix-store", "")

    assert done.status == 2
    assert "--prefix-store" in done.stderr
